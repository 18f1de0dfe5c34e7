"""Trees whose processes the kernel treats in a way of its own: none of them outlives us, nor a stop."""

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
"""Another user may do that only in a group that is his; what he may not look into is the exception in guarantees.md."""


def cell_of(folder: Path, kind: str, *, contained: bool) -> Cell:
    """A cell with this tree and an ordinary one, both whole."""
    if kind in ROOT_ONLY and os.geteuid() != 0:
        pytest.skip("only root may do that")
    if kind in {"namespaces", "adopted"} and not (can("--pid", "--fork") or can("--user", "--pid", "--fork")):
        pytest.skip("namespaces cannot be made here")
    if kind == "sibling" and platform.machine() not in CLONE:
        pytest.skip("the number of clone(2) is not known here")
    command = [sys.executable, "-I", "-S", str(CHILDREN / "odd.py"), kind]
    odd: Message = {"type": "command", "command": command, "restart": {"policy": "never"}}
    cell = Cell(folder, (), contained=contained, services={kind: odd, "plain": service("plain")})
    if cell.contained != contained:
        cell.__exit__(None)
        pytest.skip("control groups are not ours to divide here")
    cell.client.start_all(cell.services)
    cell.roll.await_living(kind, SIZES[kind])
    cell.roll.await_living("plain", 3)
    return cell


OF_GROUPS = {"moved", "frozen"}

UNSEEN = {"fleeing"}
"""Only the kernel knows of it, and tells who is above it (nobody, once we are all dead) and has no other service."""

each = pytest.mark.parametrize("kind", SIZES)


@each
@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_nothing_of_it_survives_one_of_us(tmp_path: Path, kind: str, victim: str) -> None:
    """Without a control group of ours, whose kill asks nobody, unless it is about that."""
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.strike((victim, signal.SIGKILL))
        cell.assert_nothing_left()


@pytest.mark.parametrize(
    ("kind", "contained"),
    [(kind, contained) for kind in SIZES for contained in (True, False) if contained or kind not in OF_GROUPS | UNSEEN],
)
def test_nor_guard_and_supervisor_and_a_next_start(tmp_path: Path, kind: str, contained: bool) -> None:
    with cell_of(tmp_path, kind, contained=contained) as cell:
        freeze(cell)
        cell.strike(*BOTH)
        cell.await_ours_gone()
        cell.start_next()
        cell.assert_nothing_left_alive()


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind not in UNSEEN])
def test_nor_a_stop_which_touches_no_other_service(tmp_path: Path, kind: str) -> None:
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.client.call("stop", service=kind)
        cell.roll.await_dead(kind)
        cell.roll.prove_alive("plain")
        assert cell.client.status("plain")["state"] == "ready"


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind not in UNSEEN])
def test_nor_the_death_of_its_program_and_nobody_is_called_immortal(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with cell_of(tmp_path, kind, contained=kind in OF_GROUPS) as cell:
        cell.client.call("stop", service="plain")  # an only tree has all orphans, also those without a mark
        os.kill(cell.client.status(kind)["pid"], signal.SIGKILL)  # we are told of its end before the pid is free
        cell.client.note("service/exited", service=kind)
        cell.roll.await_dead(kind)
    assert "could not be ended" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", UNSEEN)
def test_nor_a_stop_of_one_that_is_never_where_it_is_looked_for(tmp_path: Path, kind: str) -> None:
    with cell_of(tmp_path, kind, contained=False) as cell:
        cell.client.call("stop", service="plain")
        cell.client.call("stop", service=kind)
        cell.roll.await_dead(kind)
