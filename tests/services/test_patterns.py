"""A match of a user's pattern that would take hours is given up, and the loop goes on. Our own patterns are fast."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

if sys.platform == "win32":
    pytest.skip("on Windows a pattern that is too slow ends the sidecar", allow_module_level=True)

from sidecar.core.events import Endpoint
from sidecar.core.readiness import hopeless, out_of_watches, port_is_taken, told_address
from sidecar.protocol.framing import MAX_OUTPUT_LINE_BYTES
from sidecar.services import patterns
from sidecar.services.patterns import matches_in_time
from tests.support.waiting import WAIT_S

CPU_S = 20.0

SLOW = [
    (r"ready.*in.*ms.*$x", "ready in ms " * 200),
    (r"(a+)+$", "a" * 40 + "b"),
    (r"(\w+\s?)*!", "many words and no exclamation mark at all, none, never"),
]


@pytest.mark.parametrize(("pattern", "line"), SLOW, ids=[pattern for pattern, _ in SLOW])
def test_a_pattern_that_backtracks_runs_out_of_time(pattern: str, line: str) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError):
        matches_in_time(pattern, (line,))
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_one_that_takes_seconds_to_compile_does_so_too() -> None:
    with pytest.raises(TimeoutError):
        matches_in_time("(?i)" + "[\x01-\U0010ffff]" * 190, ())


def test_an_honest_pattern_is_matched_in_the_longest_piece_of_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", WAIT_S)
    lines = ("x" * 200,) * 1_300
    assert matches_in_time(r"ready in \d+ ms", lines) is None
    assert matches_in_time(r"ready in \d+ ms", (*lines, "ready in 12 ms")) == {}


def test_only_the_begin_of_a_line_is_compared() -> None:
    assert matches_in_time("end$", ("end",)) == {}
    assert matches_in_time("end", (f"{'x' * 3_000}end",)) is None


def test_a_pattern_that_ran_out_of_time_leaves_other_threads_alone() -> None:
    seen = threading.Event()
    thread = threading.Thread(target=seen.set)
    with pytest.raises(TimeoutError):
        matches_in_time(*[(pattern, (line,)) for pattern, line in SLOW][1])
    thread.start()
    thread.join()
    assert seen.is_set()


HOSTILE = (
    "ENOSPC ",
    "EMFILE ",
    "SyntaxError ",
    "requires Node.js ",
    "Found another Vite ",
    "Local: http://a",
    "port 1 ",
)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_line_of_a_program_takes_long_to_judge(word: str) -> None:
    """A match holds the GIL, so a slow one would block all threads, for example with lines full of ENOSPC."""

    def never(_number: int, _frame: object) -> None:
        raise AssertionError("it goes on for ever")

    lines = [f"EADDRINUSE {word * (MAX_OUTPUT_LINE_BYTES // len(word))}"] * 200
    before = signal.signal(signal.SIGVTALRM, never)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
        assert hopeless(lines, 1) is None
        assert not out_of_watches(lines)
        assert told_address(lines, Endpoint("127.0.0.1", 5173)) is None
        port_is_taken(lines, 5173)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
