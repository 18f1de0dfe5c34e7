"""A short soak; a long one is ``python3 build/dev.py soak --cycles 1000``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults import soak
from tests.faults.soak import MORE_KB, WARM, Soak

SEED = 5
CYCLES = 10
FIRST = 7
"""Number of the first cycle. It is not 0, so a replay must repeat it."""


def test_whatever_befalls_three_apps_nothing_is_left_and_nothing_grows(tmp_path: Path) -> None:
    with Soak(tmp_path, SEED, CYCLES) as it:
        for number in range(CYCLES):
            it.cycle(number)
            it.assert_nothing_grows()


# ── failures can be replayed ──────────────────────────────────────────────────────────────────────────────────────────


Grow = Callable[[int], None]
"""A stand-in for a cycle, called with its number."""


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Grow], None]:
    """Replace what a cycle does. The resident sidecar stays a real one."""

    def instead(grow: Grow) -> None:
        monkeypatch.setattr(Soak, "cycle", lambda _, number: grow(number))
        monkeypatch.setattr(soak, "end_on_signal", lambda: None)  # pytest handles the signals

    return instead


@pytest.fixture
def leaked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collect leaked descriptors, and close them at the end of the test."""
    monkeypatch.setattr(soak, "SETTLE_S", 2.0)  # the leak is permanent, so a long wait is useless
    leaked: list[int] = []
    yield leaked
    for fd in leaked:
        os.close(fd)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Run a soak that must fail; return the number of the failed cycle and the arguments of the printed command."""
    with pytest.raises(AssertionError):
        soak.main(arguments)
    cycle, command = capsys.readouterr().out.splitlines()[-1].split(" failed; replay: python3 build/dev.py soak ")
    return int(cycle.removeprefix("cycle ")), command.split()


def test_printed_command_finds_the_leaked_descriptor_again(
    instead: Callable[[Grow], None], leaked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    instead(lambda _: leaked.append(os.open(os.devnull, os.O_RDONLY)))
    cycle, replay = failure(capsys, "--seed", "5", "--first", str(FIRST))
    assert cycle == FIRST + 1
    assert failure(capsys, *replay) == (cycle, replay)


def test_memory_that_grows_slowly_is_found_again_by_the_replay(
    instead: Callable[[Grow], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory of all measured processes grows."""
    had_kb = 0

    def grow(number: int) -> None:
        nonlocal had_kb
        had_kb = (number - FIRST) * (MORE_KB // 2)

    instead(grow)
    monkeypatch.setattr(soak, "_resident_kb", lambda _: had_kb)
    cycle, replay = failure(capsys, "--seed", "5", "--first", str(FIRST))
    assert cycle == FIRST + WARM + 2
    assert failure(capsys, *replay) == (cycle, replay)


def test_what_one_cycle_leaves_is_found_again_by_that_cycle_alone(
    instead: Callable[[Grow], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(number: int) -> None:
        assert number < FIRST

    instead(leave)
    assert failure(capsys, "--seed", "5", "--first", str(FIRST - 2)) == (
        FIRST,
        ["--seed", "5", "--first", str(FIRST), "--cycles", "1"],
    )


def test_a_descriptor_more_fails_even_if_another_process_has_fewer(
    instead: Callable[[Grow], None],
    leaked: list[int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process, which is measured first, has fewer, and each other measured process has more."""
    real, less = soak._descriptors, os.getpid()

    def grow(number: int) -> None:
        more = number
        monkeypatch.setattr(soak, "_descriptors", lambda pid: real(pid) + (-more if pid == less else more))

    instead(grow)
    assert failure(capsys, "--cycles", "2")[0] == 1
