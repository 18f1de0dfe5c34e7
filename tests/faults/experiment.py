"""Run one cell of the fault matrix: reach its moment, hit the victims, check what is left and who was harmed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from sidecar.host.linux import processes
from tests.e2e.support import missing
from tests.faults.cell import VITE, Cell, keeper_of
from tests.faults.moments import Scene
from tests.faults.place import Place
from tests.faults.plans import (
    ALL_LAYERS,
    ASKING,
    GROUP,
    GUARD_ALONE,
    INT,
    KILL,
    PURGED,
    SERVICE,
    STDIN,
    STOP,
    SUPERVISOR_ALONE,
    TAURI_3,
    TERM,
    WEDGED,
    Plan,
)
from tests.faults.wedge import NoWayError, wedge
from tests.support.liveness import await_end, open_pidfd, send


class NotHereError(Exception):
    """This machine lacks what the plan needs."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell that passed."""

    ms: float
    """Time from the last signal to the last death in the trees."""
    later: bool
    """Whether the next start may have ended the last survivors, as the design allows. Then ``ms`` means nothing."""


def run(plan: Plan, seed: int, place: Place, folder: Path) -> Outcome:
    """Run the cell. Raises ``AssertionError`` if it fails, ``NotHereError`` if this machine cannot run it."""
    reason = missing() if plan.tree == VITE else None
    if reason is not None:
        raise NotHereError(reason)
    place.enter()
    if place.neighbour.contained != (plan.layers == ALL_LAYERS):
        raise NotHereError("no delegated control group here")
    with Scene(plan, place, folder) as scene:
        cell = scene.cell
        root = scene.root() if SERVICE in plan.victims and not plan.shutdown else None
        if plan.layers in WEDGED:
            _wedge(cell, WEDGED[plan.layers])
        if plan.layers == PURGED:
            for unpacked in set(cell.unpacked.iterdir()) - {Path(it) for it in place.traces}:
                shutil.rmtree(unpacked)
        if plan.layers in {SUPERVISOR_ALONE, GUARD_ALONE}:
            send(cell.pidfds["guard" if plan.layers == SUPERVISOR_ALONE else "supervisor"], STOP)
        began = time.monotonic()
        cell.roll.tell("fleeting", b"g", "root")
        if plan.shutdown:
            _shut_down(plan, scene)
        else:
            _hit(plan, seed, scene, root)
        scene.pass_by()
        if plan.victims == ("keeper",) and plan.signal != STOP:
            _assert_nothing_ends_with_the_keeper(plan, scene)
            began = time.monotonic()
            send(cell.pidfds["app"], KILL)
        if plan.victims == (SERVICE,) and plan.signal != STOP:
            _assert_the_sidecar_minds_only_the_service(plan, scene)
            began = time.monotonic()
            send(cell.pidfds["app"], KILL)
        if plan.signal == STOP:
            began = time.monotonic()
            send(cell.pidfds["app"], KILL)
            if plan.hits("guard") and plan.hits("supervisor"):
                send(cell.pidfds[plan.goes_on(seed)], signal.SIGCONT)  # until then both are stopped
        later = plan.signal == KILL and plan.hits("guard") and plan.hits("supervisor")
        if not later:
            cell.roll.await_dead()
        ms = (time.monotonic() - began) * 1000
        _assert_nothing_left(plan, scene, later=later, cut_short=_may_be_cut_short(plan, seed))
        assert cell.app_lives() == (not _kills_the_app(plan))
        scene.prove_decoys_unharmed()
        place.prove_unharmed()
        return Outcome(ms, later)


def _wedge(cell: Cell, how: str) -> None:
    try:
        wedge(cell.pids["supervisor"], how)
    except NoWayError as error:
        raise NotHereError(str(error)) from None


def _hit(plan: Plan, seed: int, scene: Scene, root: int | None) -> None:
    if plan.victims == (STDIN,):
        scene.cell.order("close")
        return
    if plan.victims == (GROUP,):
        os.killpg(scene.cell.app.pid, plan.signal)  # not reaped yet, so the group's number is not reused
        return
    if plan.victims == (TAURI_3,):
        _kill_as_tauri_3(scene)
        return
    pidfds = scene.cell.pidfds if root is None else {**scene.cell.pidfds, SERVICE: root}
    for victim in plan.in_order(seed):
        send(pidfds[victim], plan.signal)
    if plan.signal in ASKING and plan.moment == "stopping":
        # the service's stop timeout never ends; a second signal skips it
        for victim in set(plan.victims) - {"app", SERVICE}:
            send(pidfds[victim], TERM if plan.signal == INT else INT)


def _kill_as_tauri_3(scene: Scene) -> None:
    """Kill as the ``dev`` command of tauri-cli 3.0.0-alpha.5 does (src/interface/rust/desktop.rs).

    It lists all descendants of the app, parents before their children. Then it sends SIGKILL to the app, and to the
    list in order. It would also kill our decoys, which this app has started. We spare them, so that they show whether
    the sidecar harms them.
    """
    spared = {it.pid for it in scene.decoys.living()}
    children: dict[int, list[int]] = {}
    for process in sorted(processes.all_processes().values(), key=lambda it: it.pid):
        children.setdefault(process.ppid, []).append(process.pid)

    def below(pid: int) -> Iterator[int]:
        for child in children.get(pid, ()):
            if child not in spared:
                yield child
                yield from below(child)

    listed = [pidfd for pid in below(scene.cell.app.pid) if (pidfd := open_pidfd(pid)) is not None]
    for pidfd in (scene.cell.pidfds["app"], *listed):
        send(pidfd, KILL)
    for pidfd in listed:
        os.close(pidfd)


def _shut_down(plan: Plan, scene: Scene) -> None:
    """Signal as an init does at shutdown: SIGTERM to everything, then SIGKILL at once if the plan says so."""
    cell = scene.cell
    members = [pidfd for it in cell.roll.living() if (pidfd := open_pidfd(it.pid)) is not None]
    for number in dict.fromkeys((TERM, plan.signal)):
        for victim in plan.victims:
            for pidfd in members if victim == SERVICE else [cell.pidfds[victim]]:
                send(pidfd, number)
    for pidfd in members:
        os.close(pidfd)


def _kills_the_app(plan: Plan) -> bool:
    return plan.hits("app") or plan.signal == STOP or plan.victims in {(SERVICE,), ("keeper",)}


def _assert_nothing_ends_with_the_keeper(plan: Plan, scene: Scene) -> None:
    """Assert that the services run on, that the keeper ignores a signal to end, and that a killed one is replaced."""
    cell = scene.cell
    if plan.signal == KILL:
        await_end(cell.pidfds["keeper"], "the keeper")
    assert (keeper_of(cell.pids["guard"]) == cell.pids["keeper"]) == (plan.signal != KILL)
    states = {name: cell.client.status(name)["state"] for name in cell.services}
    assert all(state == "ready" or name == "fleeting" for name, state in states.items()), states


def _assert_the_sidecar_minds_only_the_service(plan: Plan, scene: Scene) -> None:
    cell = scene.cell
    # while stopping, the timeout never ends; a scrubbed daemon cannot be assigned to one of several services: see
    # guarantees.md
    if plan.signal == KILL and plan.moment != "stopping" and plan.tree != "scrubbed":
        cell.roll.await_dead(scene.tree)
    states = {name: cell.client.status(name)["state"] for name in cell.services}
    wanted = "starting" if plan.moment == "starting" else "ready"
    assert all(state == wanted or name in {scene.tree, "fleeting"} for name, state in states.items()), states


def _may_be_cut_short(plan: Plan, seed: int) -> bool:
    """Return whether one of our processes may be killed during cleanup, so that a file or folder may be left."""
    if plan.signal == KILL and plan.hits("guard"):
        # it dies while it kills the tree, or right after it made a control group that nothing has recorded yet
        return plan.victims != ("guard",) or plan.moment == "before initialize"
    if plan.signal == STOP or "bootloader" not in plan.victims:
        return False
    # The bootloader may be killed while it removes its folder: by then it forwards no signals. The process that is hit
    # first may die last. If the app dies first, the bootloader has no folder to remove.
    order = plan.in_order(seed)
    again = plan.signal in ASKING and plan.moment == "stopping"
    with_another = bool({"guard", "supervisor"} & set(order))
    return "app" not in order[: order.index("bootloader")] and (again or with_another)


def _assert_nothing_left(plan: Plan, scene: Scene, *, later: bool, cut_short: bool) -> None:
    """Assert that nothing is left of this run, or of the earlier run that it sweeps."""
    cell = scene.cell
    if later:
        cell.await_ours_gone()
        cell.start_next()
        cell.assert_nothing_left()
    elif scene.before is not None or cut_short:
        cell.assert_next_start_removes_the_rest()
    else:
        cell.assert_nothing_left()
    if scene.before is not None:
        scene.before.assert_nothing_left_alive()
