"""The tests' own waiting functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import waiting
from tests.support.waiting import AT_GATE, make_gate, open_gate, until


def late_at_the_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 100.0])
    fake = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(waiting, "time", fake)


def test_waiting_ends_with_what_was_found() -> None:
    looks = iter([None, "", "found"])
    assert until(lambda: next(looks), "a find") == "found"


def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(AssertionError, match="timed out waiting for a fish"):
        until(lambda: None, "a fish", 0)


def test_what_comes_true_during_a_slow_look_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a slow machine delays us beyond the deadline, one more poll prevents a false failure."""
    looks = iter([False, True])
    late_at_the_second_look(monkeypatch)
    assert until(lambda: next(looks), "a find", 10)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_a_gate_holds_a_program_until_it_opens_and_no_later_one(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    command = [sys.executable, "-I", "-S", "-c", f"print('there', flush=True); {AT_GATE}; print('through')"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "there\n"
        assert first.poll() is None
        open_gate(gate)
        assert first.stdout.read() == "through\n"
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.endswith(
        "through\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_a_gate_with_no_program_at_it_fails_instead_of_hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late_at_the_second_look(monkeypatch)
    with pytest.raises(AssertionError, match="a program at the gate"):
        open_gate(make_gate(tmp_path))
