"""How fast a child's output goes through: 64 MB of 100-byte lines, as log notifications against plain prefixed text."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tests.bench import contenders
from tests.bench.client import READ_BYTES, Sidecar, tail
from tests.bench.contenders import CONCURRENTLY, SIDECAR, Launch, Tools
from tests.bench.flood import LINE_BYTES
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Check, Report, Row, ratios

BENCH = "logs"
TOTAL_BYTES = 64_000_000
LINES = TOTAL_BYTES // LINE_BYTES
RELAY_SECONDS = 120.0
"""Half a megabyte a second would still get through in that time."""
NUMBER = slice(0, 8)
"""Where each line has its number."""
MARK = b"x" * (LINE_BYTES - 10)
"""What every line ends with."""


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
    """What one pass brought."""

    seconds: float
    """From the first to the last read that had payload in it."""
    lines: int
    dropped: int
    """Lines that the relay itself says it dropped."""
    gaps: int
    """Lines missing in the numbering."""

    @property
    def rate(self) -> float:
        """Payload delivered, in MB/s (10⁶ bytes)."""
        return self.lines * LINE_BYTES / 1e6 / self.seconds


Reads = list[tuple[float, bytes]]
"""Each read with its time (``time.perf_counter``, seconds)."""


def _span(reads: Reads) -> float:
    """Seconds between the first and the last read that carry payload."""
    times = [when for when, data in reads if MARK[:40] in data]
    if len(times) < 2:
        raise BenchError("the output came in one read or not at all")
    return times[-1] - times[0]


def _relayed(reads: Reads, numbers: list[int], dropped: int) -> Relayed:
    if sorted(numbers) != numbers:
        raise BenchError("lines came in another order than they were written in")
    return Relayed(_span(reads), len(numbers), dropped, LINES - len(set(numbers)))


def _numbers(lines: Iterable[str]) -> list[int]:
    """The number of each line, which must also be whole."""
    found = []
    for line in lines:
        if len(line) != LINE_BYTES - 1:
            raise BenchError(f"a line came mangled: {line!r}")
        found.append(int(line[NUMBER]))
    return found


def _ours(pen: Pen, how: Launch) -> Relayed:
    """Read the notifications as fast as they come; look into them only afterwards."""
    sidecar = Sidecar.launch(pen, how)
    reads: Reads = []
    deadline = time.perf_counter() + RELAY_SECONDS
    end = b""
    try:
        while b'"service/exited"' not in end:
            data = sidecar.read(deadline)
            reads.append((time.perf_counter(), data))
            end = end[-64:] + data
    finally:
        pen.empty(sidecar.process)
    decoder = msgspec.json.Decoder(_Message)
    numbers: list[int] = []
    dropped = 0
    whole = b"".join(data for _, data in reads)
    for line in whole[: whole.rfind(b"\n")].split(b"\n"):
        if b'"service/log"' not in line:
            continue
        params = decoder.decode(line).params
        if params is not msgspec.UNSET:
            dropped += params.dropped
            if params.stream == "stdout":
                numbers += _numbers(params.lines)
    return _relayed(reads, numbers, dropped)


def _peer(pen: Pen, how: Launch) -> Relayed:
    """The same for a peer that prefixes each line on its stdout."""
    errors = pen.folder / "relay.stderr"
    with errors.open("wb") as sink:
        process = pen.spawn(how.argv, cwd=how.cwd, env=how.env, stdout=subprocess.PIPE, stderr=sink)
    reads: Reads = []
    deadline = time.perf_counter() + RELAY_SECONDS
    assert process.stdout is not None
    try:
        while select.select([process.stdout], [], [], max(0.0, deadline - time.perf_counter()))[0]:
            data = os.read(process.stdout.fileno(), READ_BYTES)
            if not data:
                break
            reads.append((time.perf_counter(), data))
        else:
            raise BenchError(f"no end of the output within {RELAY_SECONDS:g} s: {tail(errors)}")
    finally:
        pen.empty(process)
    whole = b"".join(data for _, data in reads).decode()
    mark = MARK.decode()
    texts = (line[-(LINE_BYTES - 1) :] for line in whole.split("\n") if line.endswith(mark))
    return _relayed(reads, _numbers(texts), 0)


def run(report: Report, pen: Pen, tools: Tools, rounds: int) -> None:
    """Take ``rounds`` rounds, each contender once a round."""
    folder = pen.folder / "relay"
    folder.mkdir(exist_ok=True)
    launches = contenders.wrap(tools, folder, contenders.script("flood.py", str(TOTAL_BYTES)))
    taken: dict[str, list[Relayed]] = {name: [] for name in (SIDECAR, CONCURRENTLY) if name in launches}
    for turn in range(rounds):
        names = list(taken)
        for name in names if turn % 2 else reversed(names):
            taken[name].append((_ours if name == SIDECAR else _peer)(pen, launches[name]))
    for name, passes in taken.items():
        worst = max(passes, key=lambda one: one.dropped)
        note = f"{worst.lines} of {LINES} lines came, {worst.dropped} counted as dropped, {worst.gaps} missing"
        report.rows.append(Row(BENCH, "payload", name, "MB/s", tuple(one.rate for one in passes), note))
    mine = taken[SIDECAR]
    lost = [float(abs(one.gaps - one.dropped)) for one in mine]
    report.rows.append(Row(BENCH, "lines dropped", SIDECAR, "", tuple(float(one.dropped) for one in mine)))
    report.checks.append(Check(BENCH, "lines neither delivered nor counted", "", max(lost), 0))
    value = None
    if CONCURRENTLY in taken:
        quotient = ratios([one.rate for one in mine], [one.rate for one in taken[CONCURRENTLY]])
        row = Row(BENCH, f"sidecar / {CONCURRENTLY}", SIDECAR, "×", quotient, "round by round")
        report.rows.append(row)
        value = row.median
    note = report.skipped.get(CONCURRENTLY, "")
    report.checks.append(Check(BENCH, f"payload, against {CONCURRENTLY}", "×", value, 2.0, at_least=True, note=note))
