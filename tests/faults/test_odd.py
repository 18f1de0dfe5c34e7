"""Trees with processes that the kernel treats specially: none survives the sidecar's end or a stop."""

from __future__ import annotations

import os
import platform
import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("namespaces, control groups, ptrace", allow_module_level=True)

from tests.children.odd import CLONE, SIZES
from tests.faults.cell import CHILDREN, Cell, service
from tests.faults.test_sweep import BOTH, freeze
from tests.faults.test_system_surroundings import can
from tests.support.command import Message

ROOT_ONLY = {"moved", "unreadable"}
"""Other users lack the rights for these trees. Unreadable processes are an exception named in guarantees.md."""


def cell_of(folder: Path, kind: str, *, contained: bool) -> Cell:
    """Return a cell with this tree and a plain one, both with all their processes."""
    if kind in ROOT_ONLY and os.geteuid() != 0:
        pytest.skip("only root may do that")
    if kind in {"namespaces", "adopted"} and not (can("--pid", "--fork") or can("--user", "--pid", "--fork")):
        pytest.skip("namespaces cannot be made here")
    if kind == "sibling" and platform.machine() not in CLONE:
        pytest.skip(f"no number of clone(2) is known for {platform.machine()}")
    command = [sys.executable, "-I", "-S", str(CHILDREN / "odd.py"), kind]
    odd: Message = {"type": "command", "command": command, "restart": {"policy": "never"}}
    cell = Cell(folder, (), contained=contained, services={kind: odd, "plain": service("plain")})
    if cell.contained != contained:
        cell.__exit__(None)
        pytest.skip("no delegated control group here")
    cell.client.start_all(cell.services)
    cell.roll.await_living(kind, SIZES[kind])
    cell.roll.await_living("plain", 3)
    return cell


OF_GROUPS = {"moved", "frozen"}

UNSEEN = {"fleeing"}
"""Never in a listing of /proc. The sidecar asks the kernel for its children, and assigns an unknown child to its only
service. The next start has no such way."""

each = pytest.mark.parametrize("kind", SIZES)


@each
@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_no_odd_tree_survives_a_single_death(tmp_path: Path, kind: str, victim: str) -> None:
    """Without a control group, which would make it easy, unless the tree itself is about control groups."""
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.strike((victim, signal.SIGKILL))
        cell.assert_nothing_left()


@pytest.mark.parametrize(
    ("kind", "contained"),
    [(kind, contained) for kind in SIZES for contained in (True, False) if contained or kind not in OF_GROUPS | UNSEEN],
)
def test_no_odd_tree_survives_a_double_kill_and_the_next_start(tmp_path: Path, kind: str, contained: bool) -> None:
    with cell_of(tmp_path, kind, contained=contained) as cell:
        freeze(cell)
        cell.strike(*BOTH)
        cell.await_ours_gone()
        cell.start_next()
        cell.assert_nothing_left_alive()


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind not in UNSEEN])
def test_a_stop_ends_an_odd_tree_and_no_other_service(tmp_path: Path, kind: str) -> None:
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.client.call("stop", service=kind)
        cell.roll.await_dead(kind)
        cell.roll.prove_alive("plain")
        assert cell.client.status("plain")["state"] == "ready"


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind not in UNSEEN])
def test_the_roots_death_ends_an_odd_tree_without_a_false_alarm(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.client.call("stop", service="plain")  # a sole tree owns all orphans, even those without the run's id
        os.kill(cell.client.status(kind)["pid"], signal.SIGKILL)  # not reaped before we ask, so the pid is not reused
        cell.client.note("service/exited", service=kind)
        cell.roll.await_dead(kind)
    assert "could not be ended" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", UNSEEN)
def test_a_stop_ends_a_process_that_no_listing_shows(tmp_path: Path, kind: str) -> None:
    with cell_of(tmp_path, kind, contained=False) as cell:
        cell.client.call("stop", service="plain")
        cell.client.call("stop", service=kind)
        cell.roll.await_dead(kind)
