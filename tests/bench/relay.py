"""The throughput of a child's output: 64 MB of 100-byte lines, as log notifications and as plain prefixed text."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, replace

import msgspec

from tests.bench import contenders
from tests.bench.client import tail
from tests.bench.contenders import CONCURRENTLY, SIDECAR, Launch, Tools
from tests.bench.flood import LINE_BYTES
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Goal, Report, Row, ratios
from tests.bench.rollcall import RollCall
from tests.bench.sink import Sink

BENCH = "logs"
TOTAL_BYTES = 64_000_000
LINES = TOTAL_BYTES // LINE_BYTES
RELAY_SECONDS = 60.0
"""Bound on a pass in seconds. One megabyte a second would be enough."""
QUIET_SECONDS = 3.0
"""A relay that outputs nothing for this many seconds will not output the last line any more."""
NUMBER = slice(0, 8)
"""The place of a line's number."""
SHOWN = 200
"""Characters of a damaged line to quote."""
FILLER = b"x" * (LINE_BYTES - 10)
"""The end of every line."""
LAST = b"%08d x" % (LINES - 1)
"""The start of the last line. A relay that drops lines drops the oldest, so this one always arrives."""
END_BYTES = 1000
"""The last payload line, or our notification with it, begins within this many bytes of the end."""
RAW = f"{CONCURRENTLY} --raw"


class _Params(msgspec.Struct):
    service: str = ""
    stream: str = ""
    lines: list[str] = []
    dropped: int = 0


class _Message(msgspec.Struct):
    method: str = ""
    params: _Params | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Relayed:
    """The result of one pass."""

    seconds: float
    """Time from the first to the last read with payload."""
    lines: int
    dropped: int
    """Lines that the relay reports as dropped."""
    gaps: int
    """Missing line numbers."""

    @property
    def rate(self) -> float:
        """The delivered payload, in MB/s (10⁶ bytes)."""
        return self.lines * LINE_BYTES / 1e6 / self.seconds

    @property
    def lost(self) -> int:
        """Lines that were neither delivered nor reported as dropped, or both."""
        return abs(self.gaps - self.dropped)


def _collect(stdout: int, sink: Sink, until: bytes | None) -> None:
    """Read until the line with ``until`` is complete, until EOF, or until nothing more comes."""
    deadline = time.perf_counter() + RELAY_SECONDS
    while until is None or not ((end := sink.last(END_BYTES)).endswith(b"\n") and until in end):
        left = deadline - time.perf_counter()
        if left <= 0 or not sink.read(stdout, left if sink.empty else min(left, QUIET_SECONDS)):
            return


def _relayed(sink: Sink, numbers: list[int], dropped: int) -> Relayed:
    times = sink.times_of(FILLER[: LINE_BYTES // 2])
    if len(times) < 2:
        raise BenchError("the output came in one read or not at all")
    if sorted(numbers) != numbers:
        raise BenchError("lines came in another order than they were written in")
    return Relayed(times[-1] - times[0], len(numbers), dropped, LINES - len(set(numbers)))


def _number(line: str) -> int:
    """Return a line's number. The line must be complete."""
    if len(line) != LINE_BYTES - 1:
        raise BenchError(f"a line was damaged: {line[:SHOWN]!r}")
    return int(line[NUMBER])


def _from_json(sink: Sink) -> Relayed:
    """Decode our notifications."""
    decoder = msgspec.json.Decoder(_Message)
    numbers: list[int] = []
    dropped = 0
    whole = sink.whole()
    for line in whole[: whole.rfind(b"\n")].split(b"\n"):
        if b'"service/log"' not in line:
            continue
        params = decoder.decode(line).params
        if params is not msgspec.UNSET:
            dropped += params.dropped
            if params.stream == "stdout":
                numbers += [_number(text) for text in params.lines]
    return _relayed(sink, numbers, dropped)


def _from_text(sink: Sink) -> Relayed:
    """Decode plain lines, with or without a prefix."""
    filler = FILLER.decode()
    texts = sink.whole().decode().split("\n")
    return _relayed(sink, [_number(text[1 - LINE_BYTES :]) for text in texts if text.endswith(filler)], 0)


def _once(pen: Pen, name: str, how: Launch, sink: Sink, *, stay: bool) -> Relayed:
    """Read as fast as possible, and decode only afterwards."""
    errors = pen.folder / "relay.stderr"
    sink.clear()
    with RollCall() as bench, errors.open("wb") as stderr:
        env = {**how.env, "BENCH_SOCKET": bench.name}
        pipe = subprocess.PIPE
        process = pen.spawn(how.argv, cwd=how.cwd, env=env, stdin=pipe, stdout=pipe, stderr=stderr)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write("".join(f"{line}\n" for line in how.send).encode())
            exited = b'"service/exited"' if name == SIDECAR else None
            _collect(process.stdout.fileno(), sink, LAST if stay else exited)
        finally:
            if name == SIDECAR:
                pen.let_go(process)
            else:
                pen.empty(process)
    try:
        return _from_json(sink) if name == SIDECAR else _from_text(sink)
    except BenchError as error:
        raise BenchError(f"{name}: {error}: {tail(errors)}") from None


def _launches(pen: Pen, tools: Tools, last: str) -> dict[str, Launch]:
    """Return the relays around a flood that stays or leaves, and concurrently also without prefixes."""
    folder = pen.folder / f"relay-{last}"
    folder.mkdir(exist_ok=True)
    all_of_them = contenders.wrap(tools, folder, contenders.script("flood.py", str(TOTAL_BYTES), last))
    found = {SIDECAR: all_of_them[SIDECAR]}
    if CONCURRENTLY in all_of_them:
        plain = all_of_them[CONCURRENTLY]
        found[CONCURRENTLY] = plain
        found[RAW] = replace(plain, argv=[plain.argv[0], "--raw", *plain.argv[1:]])
    return found


def _take(pen: Pen, launches: dict[str, Launch], sink: Sink, rounds: int, *, stay: bool) -> dict[str, list[Relayed]]:
    taken: dict[str, list[Relayed]] = {name: [] for name in launches}
    for turn in range(rounds):
        for name in contenders.in_turn(launches, turn):
            taken[name].append(_once(pen, name, launches[name], sink, stay=stay))
    return taken


def run(report: Report, pen: Pen, tools: Tools, rounds: int) -> None:
    """Measure ``rounds`` rounds of each, each contender once a round."""
    sink = Sink(2 * TOTAL_BYTES)
    stayed = _take(pen, _launches(pen, tools, "stay"), sink, rounds, stay=True)
    left = _take(pen, _launches(pen, tools, "leave"), sink, rounds, stay=False)
    for name, passes in stayed.items():
        worst = max(passes, key=lambda one: one.gaps)
        note = f"at worst {worst.lines / LINES:.0%} of all lines came"
        report.rows.append(Row(BENCH, "payload", name, "MB/s", tuple(one.rate for one in passes), note))
    note = report.skipped.get(CONCURRENTLY, "round by round")
    quotient: tuple[float, ...] = ()
    if CONCURRENTLY in stayed:
        quotient = ratios(*([one.rate for one in stayed[name]] for name in (SIDECAR, CONCURRENTLY)))
    goals = (Goal(2.0, at_least=True),)
    report.rows.append(Row(BENCH, f"sidecar / {CONCURRENTLY}", SIDECAR, "×", quotient, note, goals))
    for what, taken in (("lines missing", stayed), ("missing after an exit at once", left)):
        for name, passes in taken.items():
            report.rows.append(Row(BENCH, what, name, "", tuple(float(one.gaps) for one in passes)))
    lost = tuple(float(one.lost) for one in (*stayed[SIDECAR], *left[SIDECAR]))
    report.rows.append(Row(BENCH, "neither delivered nor counted", SIDECAR, "", lost, "", (Goal(0),), worst=True))
