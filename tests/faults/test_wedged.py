"""A supervisor that is deadlocked while the app dies: the guard sees the death itself."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.command import BINARY
from tests.faults.cell import ALL_TREES, CHILDREN, Cell, service
from tests.liveness import RollCall, until

if BINARY:
    pytest.skip("a frozen sidecar takes no code from outside", allow_module_level=True)

GRACE_MS = 300

how = pytest.mark.parametrize("wedge", ["lock", "interpreter"])


def wedged(folder: Path, wedge: str, *, decoys: RollCall | None = None, grace_ms: int = 0) -> Cell:
    """A cell whose supervisor does nothing any more."""
    note = folder / "wedged"
    env = {"PYTHONPATH": str(CHILDREN / "wedge"), "WEDGE": wedge, "WEDGED": str(note)}
    services = {kind: service(kind, stop={"appDeathGraceMs": grace_ms}) for kind in ALL_TREES}
    cell = Cell(folder, (), services=services, decoys=decoys, env=env).grow()
    cell.strike(("supervisor", signal.SIGUSR1))
    until(note.exists, "a wedged supervisor")
    return cell


@how
def test_all_ends_with_the_app(tmp_path: Path, wedge: str) -> None:
    with RollCall() as decoys, wedged(tmp_path, wedge, decoys=decoys) as cell:
        decoys.await_living("decoy", 2)
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        decoys.prove_alive("decoy")


@how
def test_and_with_the_supervisor(tmp_path: Path, wedge: str) -> None:
    with wedged(tmp_path, wedge) as cell:
        cell.strike(("supervisor", signal.SIGKILL))
        cell.assert_nothing_left()


@how
def test_a_grace_that_a_service_asked_for_is_kept_and_has_its_end(tmp_path: Path, wedge: str) -> None:
    with wedged(tmp_path, wedge, grace_ms=GRACE_MS) as cell:
        cell.roll.tell("fleeting", b"g", "root")
        began = time.monotonic()
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        assert (time.monotonic() - began) * 1000 >= GRACE_MS


@pytest.mark.parametrize("victim", ["app", "guard", "supervisor"])
def test_one_that_hangs_while_it_is_loaded_ends_with_each_of_the_others(tmp_path: Path, victim: str) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    loading = tmp_path / "loading"
    (slow / "msgspec.py").write_text(f"import signal\nopen({str(loading)!r}, 'x').close()\nsignal.pause()\n")
    with Cell(tmp_path, (), greet=False, env={"PYTHONPATH": str(slow)}) as cell:
        until(loading.exists, "a supervisor that is being loaded")
        cell.strike((victim, signal.SIGKILL))
        cell.assert_next_start_removes_the_rest()
