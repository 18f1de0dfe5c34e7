"""The supervisor hangs when another process dies: guard and keeper end the tree without it."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults.cell import ALL_TREES, Cell, keeper_of, service
from tests.faults.wedge import wedge_or_skip
from tests.support.command import BINARY
from tests.support.liveness import RollCall, await_end, state_of
from tests.support.waiting import until

GRACE_MS = 300

how = pytest.mark.parametrize("kind", ["loop", "interpreter"])


def wedged(
    folder: Path, kind: str, *, decoys: RollCall | None = None, grace_ms: int = 0, contained: bool = False
) -> Cell:
    """Return a cell whose supervisor hangs."""
    services = {tree: service(tree, stop={"appDeathGraceMs": grace_ms}) for tree in ALL_TREES}
    with ExitStack() as stack:
        cell = stack.enter_context(Cell(folder, (), contained=contained, services=services, decoys=decoys))
        cell.grow()
        wedge_or_skip(cell.pids["supervisor"], kind)
        stack.pop_all()
    return cell


@how
def test_a_wedged_supervisors_tree_ends_with_the_app(tmp_path: Path, kind: str) -> None:
    with RollCall() as decoys, wedged(tmp_path, kind, decoys=decoys) as cell:
        decoys.await_living("decoy", 2)
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        decoys.prove_alive("decoy")


@how
def test_a_wedged_supervisors_tree_ends_with_the_supervisor(tmp_path: Path, kind: str) -> None:
    with wedged(tmp_path, kind) as cell:
        cell.strike(("supervisor", signal.SIGKILL))
        cell.assert_nothing_left()


@how
@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "without"])
def test_a_wedged_supervisors_tree_ends_with_the_guard(tmp_path: Path, kind: str, contained: bool) -> None:
    """The supervisor cannot see the guard's death, and PDEATHSIG alone would end only direct children."""
    with RollCall() as decoys, wedged(tmp_path, kind, decoys=decoys, contained=contained) as cell:
        decoys.await_living("decoy", 2)
        cell.strike(("guard", signal.SIGKILL))
        cell.assert_nothing_left()
        assert cell.app_lives()
        decoys.prove_alive("decoy")


@how
def test_a_wedged_supervisors_tree_ends_when_stdin_is_closed(tmp_path: Path, kind: str) -> None:
    with wedged(tmp_path, kind) as cell:
        cell.order("close")
        cell.assert_nothing_left()
        assert cell.app_lives()


@how
def test_a_grace_that_a_service_asked_for_is_kept_and_has_its_end(tmp_path: Path, kind: str) -> None:
    with wedged(tmp_path, kind, grace_ms=GRACE_MS) as cell:
        cell.roll.tell("fleeting", b"g", "root")
        began = time.monotonic()
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        assert (time.monotonic() - began) * 1000 >= GRACE_MS


@how
def test_a_second_keeper_ends_the_tree_after_the_guards_death(tmp_path: Path, kind: str) -> None:
    """The guard has forked a new keeper with the same orders. So nothing is left, not even the record."""
    with wedged(tmp_path, kind, grace_ms=GRACE_MS) as cell:
        cell.strike(("keeper", signal.SIGKILL))
        await_end(cell.pidfds["keeper"], "the keeper")
        second = keeper_of(cell.pids["guard"])
        assert second != cell.pids["keeper"]
        until(lambda: state_of(cell.pids["guard"]) == "S", "the guard's wait: it has sent the orders")
        cell.pidfds["second keeper"] = os.pidfd_open(second)  # it removes the record after the last death
        cell.roll.tell("fleeting", b"g", "root")
        began = time.monotonic()
        cell.strike(("guard", signal.SIGKILL))
        cell.assert_nothing_left()
        assert (time.monotonic() - began) * 1000 >= GRACE_MS


def test_a_keeper_that_was_stopped_ends_all_the_same(tmp_path: Path) -> None:
    with wedged(tmp_path, "interpreter") as cell:
        cell.strike(("keeper", signal.SIGSTOP), ("guard", signal.SIGKILL))
        cell.assert_nothing_left()


@pytest.mark.skipif(bool(BINARY), reason="a frozen sidecar ignores PYTHONPATH")
@pytest.mark.parametrize("victim", ["app", "guard", "supervisor"])
def test_a_supervisor_that_hangs_in_an_import_ends_with_each_other_process(tmp_path: Path, victim: str) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    loading = tmp_path / "loading"
    (slow / "msgspec.py").write_text(f"import signal\nopen({str(loading)!r}, 'x').close()\nsignal.pause()\n")
    with Cell(tmp_path, (), greet=False, env={"PYTHONPATH": str(slow)}) as cell:
        until(loading.exists, "a supervisor that hangs in an import")
        cell.strike((victim, signal.SIGKILL))
        cell.assert_next_start_removes_the_rest()
