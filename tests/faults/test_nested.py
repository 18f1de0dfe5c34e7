"""A sidecar inside a service of another sidecar, and a sidecar started by an orphan of a dead run."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.children.trees import SIZES
from tests.faults.cell import CHILDREN, ROOT, Cell, own_groups, service
from tests.faults.test_sweep import ALL, BOTH, freeze, swept
from tests.support.command import SIDECAR, Message
from tests.support.liveness import control_group

KILL = signal.SIGKILL


def nest(*kinds: str) -> Message:
    """Return a service that runs a sidecar with these trees."""
    order = {"argv": list(SIDECAR), "cwd": str(ROOT), "services": {kind: service(kind) for kind in kinds}}
    command = [sys.executable, "-I", "-S", str(CHILDREN / "nest.py"), json.dumps(order)]
    return {"type": "command", "command": command, "restart": {"policy": "never"}}


def grow(cell: Cell, *kinds: str) -> None:
    """Start the outer services, and wait until the inner trees are whole."""
    cell.client.start_all(cell.services)
    for kind in kinds:
        cell.roll.await_living(kind, SIZES[kind])


def start_next(cell: Cell) -> None:
    """Start another sidecar, and assert that its sweep reports no problem."""
    with Cell(cell.state.parent, ("plain",), group=cell.group) as second:
        second.grow()  # nothing is started before the sweep is over
        told = second.client.notes("supervisor/swept")
        second.order("exit")
        second.assert_nothing_left()
    assert all(not it.get("problems") for it in told)


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "in none"])
@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_the_inner_tree_dies_when_an_outer_process_dies(tmp_path: Path, victim: str, contained: bool) -> None:
    with Cell(tmp_path, (), contained=contained, services={"nest": nest("plain", "daemon")}) as cell:
        grow(cell, "plain", "daemon")
        cell.strike((victim, KILL))
        cell.assert_nothing_left_alive()
        assert own_groups(cell.group) == []
        # the inner guard may have been killed before it could remove its run's record
        start_next(cell)


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "in none"])
@pytest.mark.parametrize("hits", [BOTH, ALL], ids=["guard and supervisor", "the app, too"])
def test_the_inner_tree_dies_when_the_outer_sidecar_is_killed_at_once(
    tmp_path: Path, hits: list[tuple[str, int]], contained: bool
) -> None:
    """The inner guard sees its app, the outer service's program, die with the outer supervisor."""
    with Cell(tmp_path, (), contained=contained, services={"nest": nest("plain", "daemon")}) as cell:
        grow(cell, "plain", "daemon")
        freeze(cell)
        cell.strike(*hits)
        cell.assert_nothing_left_alive()
        start_next(cell)


def test_the_end_of_an_inner_sidecar_leaves_the_outer_services_alone(tmp_path: Path) -> None:
    with Cell(tmp_path, (), contained=True, services={"nest": nest("plain"), "daemon": service("daemon")}) as cell:
        grow(cell, "plain", "daemon")
        before = own_groups(cell.group)
        cell.client.call("stop", service="nest")
        cell.roll.await_dead("plain")
        cell.roll.prove_alive("daemon")
        assert cell.client.status("daemon")["state"] == "ready"
        assert own_groups(cell.group) == before
        cell.order("exit")
        cell.assert_nothing_left_alive()


def test_a_sidecar_inside_a_dead_runs_group_does_not_kill_itself(tmp_path: Path) -> None:
    """For example, a service opened an editor, and the new sidecar starts in that editor's terminal.

    The new sidecar is then inside the dead run's control group, which its sweep would kill.
    """
    with control_group(divisible=True) as group, Cell(tmp_path, ("daemon",), group=group) as cell:
        if not cell.contained:
            pytest.skip("no delegated control group here")
        cell.grow()
        freeze(cell)
        cell.strike(*ALL)
        cell.await_ours_gone()
        [dead] = own_groups(group)
        with Cell(tmp_path, ("plain",), group=f"{group}/{dead}") as inside:
            inside.grow()
            assert all(not it.get("problems") for it in inside.client.notes("supervisor/swept"))
            cell.roll.await_dead()  # found by the run's id in its environment
            inside.roll.prove_alive("plain")
            inside.order("exit")
            inside.assert_nothing_left()
        with Cell(tmp_path, (), group=group) as outside:
            assert swept(outside)["groups"] == 1
            outside.order("exit")
            outside.assert_nothing_left()
