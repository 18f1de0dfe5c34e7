"""A pattern of the user's that would take hours is given up, and the loop goes on."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

if sys.platform == "win32":
    pytest.skip("there a pattern that is too slow ends the sidecar", allow_module_level=True)

from sidecar.host.patterns import matches_in_time

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


def test_an_honest_pattern_is_matched_in_the_longest_piece_of_output() -> None:
    lines = ("x" * 200,) * 1_300
    assert not matches_in_time(r"ready in \d+ ms", lines)
    assert matches_in_time(r"ready in \d+ ms", (*lines, "ready in 12 ms"))


def test_only_the_begin_of_a_line_is_compared() -> None:
    assert matches_in_time("end$", ("end",))
    assert not matches_in_time("end", (f"{'x' * 3_000}end",))


def test_a_pattern_that_ran_out_of_time_leaves_other_threads_alone() -> None:
    seen = threading.Event()
    thread = threading.Thread(target=seen.set)
    with pytest.raises(TimeoutError):
        matches_in_time(*[(pattern, (line,)) for pattern, line in SLOW][1])
    thread.start()
    thread.join()
    assert seen.is_set()
