"""One cell of the fault matrix: come to its moment, strike, and see that nothing is left, and nobody else harmed."""

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
    """What the plan wants cannot be had on this machine."""


@dataclass(frozen=True)
class Outcome:
    """A cell that held."""

    ms: float
    """From the last blow to the last death of the trees."""
    later: bool
    """The last of them may have lived until the next start ended it, as the design says: then ``ms`` says nothing."""


def run(plan: Plan, seed: int, place: Place, folder: Path) -> Outcome:
    """Raises ``AssertionError`` where something is left, or somebody was harmed; ``NotHereError``."""
    reason = missing() if plan.tree == VITE else None
    if reason is not None:
        raise NotHereError(reason)
    place.enter()
    if place.neighbour.contained != (plan.layers == ALL_LAYERS):
        raise NotHereError("control groups are not ours to divide here")
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
                send(cell.pidfds[plan.goes_on(seed)], signal.SIGCONT)  # till then nobody is there to do anything
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
        os.killpg(scene.cell.app.pid, plan.signal)  # not reaped yet, so the number is its own
        return
    if plan.victims == (TAURI_3,):
        _kill_as_tauri_3(scene)
        return
    pidfds = scene.cell.pidfds if root is None else {**scene.cell.pidfds, SERVICE: root}
    for victim in plan.in_order(seed):
        send(pidfds[victim], plan.signal)
    if plan.signal in ASKING and plan.moment == "stopping":
        # what stops has all the time in the world; a second signal does not wait for it
        for victim in set(plan.victims) - {"app", SERVICE}:
            send(pidfds[victim], TERM if plan.signal == INT else INT)


def _kill_as_tauri_3(scene: Scene) -> None:
    """As the ``dev`` command of tauri-cli 3.0.0-alpha.5 does (its src/interface/rust/desktop.rs).

    It lists everything below the app, each process before its own children, and then kills: first the app, then the
    list in its order, each with SIGKILL. It would kill our decoys as well, which this app has started; here they show
    that nobody else does.
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
    """As an init does: SIGTERM to everything, and then SIGKILL, if the plan says that it does not wait."""
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
    """It is asked in vain; killed, it is followed by another one."""
    cell = scene.cell
    if plan.signal == KILL:
        await_end(cell.pidfds["keeper"], "the keeper")
    assert (keeper_of(cell.pids["guard"]) == cell.pids["keeper"]) == (plan.signal != KILL)
    states = {name: cell.client.status(name)["state"] for name in cell.services}
    assert all(state == "ready" or name == "fleeting" for name, state in states.items()), states


def _assert_the_sidecar_minds_only_the_service(plan: Plan, scene: Scene) -> None:
    cell = scene.cell
    # what stops has all its time to stop; of several services, a scrubbed daemon belongs to none: see guarantees.md
    if plan.signal == KILL and plan.moment != "stopping" and plan.tree != "scrubbed":
        cell.roll.await_dead(scene.tree)
    states = {name: cell.client.status(name)["state"] for name in cell.services}
    wanted = "starting" if plan.moment == "starting" else "ready"
    assert all(state == wanted or name in {scene.tree, "fleeting"} for name, state in states.items()), states


def _may_be_cut_short(plan: Plan, seed: int) -> bool:
    """Whether one of ours may be killed in the middle of tidying up: then a file or a folder may be left."""
    if plan.signal == KILL and plan.hits("guard"):
        # while it ends the tree, or while it still makes its control group, which it then cannot tell of
        return plan.victims != ("guard",) or plan.moment == "before initialize"
    if plan.signal == STOP or "bootloader" not in plan.victims:
        return False
    # While it removes its folder: by then it passes no signal on any more. The one hit first may be seen to die last.
    # Once the app is dead it has no folder to remove.
    order = plan.in_order(seed)
    again = plan.signal in ASKING and plan.moment == "stopping"
    with_another = bool({"guard", "supervisor"} & set(order))
    return "app" not in order[: order.index("bootloader")] and (again or with_another)


def _assert_nothing_left(plan: Plan, scene: Scene, *, later: bool, cut_short: bool) -> None:
    """Nothing of this run, nor of one that it sweeps."""
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
