"""The trials of ``sidecar doctor --prove``.

For each victim a stand-in app starts a sidecar with every tree of this platform. Once all trees are complete, doctor
kills the victim and counts survivors. The state folder is private, so no record of another run is touched. But like any
start, these sidecars end what dead runs left in control groups beside their own.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sidecar.commands.doctor.prove.harness import APP, StandIn, names
from sidecar.commands.doctor.prove.outcome import Trial, Untried
from sidecar.commands.doctor.prove.platform import VITE, CannotTryError, Liveness, Plan, Platform
from sidecar.host import frozen

DEATH_S = 15.0
"""Deaths take milliseconds. A process that lives after this has survived."""

BOOTLOADER = "bootloader"
PARENT_WATCH = "parentWatch"
CONTROL_GROUP = "controlGroup"
STDIN_GUARD = "stdinGuard"

NOT_TRIED = "no trial on this system could detect its failure"


def prove(
    platform: Platform, active: Collection[str], node: str | None, progress: Callable[[str], None]
) -> list[Trial]:
    """Run every trial. Leave nothing of them behind, whatever happens.

    ``active`` are the active layers; ``node`` is a node that works, if there is one.
    """
    has_bootloader = frozen.unpacked_folder() is not None
    active = {name for name in active if node is not None or name != STDIN_GUARD}
    trials = []
    for killed, plan in platform.PLANS.items():
        if (has_bootloader or plan.victims != (BOOTLOADER,)) and (plan.needs is None or plan.needs in active):
            progress(f"killing {killed}")
            trials.append(_try(platform, killed, plan, active, node))
    if has_bootloader:
        for folder in frozen.left_behind():
            frozen.remove(folder)  # each killed part had unpacked itself into one
    return trials


def name_untried(platform: Platform, active: Collection[str], trials: Iterable[Trial]) -> list[Untried]:
    """Return the active layers that no trial tested."""
    tried = {name for trial in trials for name in trial.claims}
    return [Untried(name, platform.UNTRIED.get(name, NOT_TRIED)) for name in active if name not in tried]


def _try(platform: Platform, killed: str, plan: Plan, active: Collection[str], node: str | None) -> Trial:
    state = Path(tempfile.mkdtemp(prefix="sidecar-doctor-"))
    sizes = {kind: size for kind, size in platform.SIZES.items() if node is not None or kind != VITE}
    try:
        with (
            platform.make_liveness() as liveness,
            StandIn(state, platform, liveness, sizes, node, grouped=plan.grouped) as app,
        ):
            app.grow()
            if not plan.grouped and app.guarantees[CONTROL_GROUP]:
                raise CannotTryError("the sidecar has made a control group where it should not be able to")  # noqa: TRY301
            return _strike(platform, killed, plan, active, app, liveness, state)
    except CannotTryError as error:
        return Trial(
            killed=killed,
            claims=(),
            processes=0,
            milliseconds=0,
            until_next_start=0,
            sweep_milliseconds=None,
            survivors=(),
            excused=(),
            traces=(),
            problem=str(error),
        )
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _strike(
    platform: Platform, killed: str, plan: Plan, active: Collection[str], app: StandIn, liveness: Liveness, state: Path
) -> Trial:
    def overdue() -> tuple[str, ...]:
        return platform.overdue(app) if plan.leaves_rest else app.living_members()

    claimed = {name for name, value in app.guarantees.items() if value not in {False, None, "none"}}
    count = len(liveness.living())
    app.stop(plan.stopped)
    begin = app.kill(plan.victims)
    if APP in plan.victims and PARENT_WATCH not in claimed:
        app.end()  # without the watch, only the end of stdin reports the app's death; we hold that pipe, so we close it
    liveness.wait(lambda: app.ended() and not overdue(), DEATH_S)
    late = overdue()
    elapsed = liveness.last_death - begin
    waiting = len(liveness.living()) if plan.leaves_rest else 0
    swept = _start_again(platform, plan, app, liveness, state) if plan.leaves_rest else None
    excused = [it for it in liveness.living() if plan.leaves_rest and platform.is_excused(it, app.guarantees)]
    survivors = [it for it in liveness.living() if it not in excused]
    return Trial(
        killed=killed,
        claims=tuple(name for name in plan.claims if name in active and name in claimed),
        processes=count,
        milliseconds=max(0.0, round(elapsed * 1000, 1)),
        until_next_start=waiting,
        sweep_milliseconds=round(swept * 1000, 1) if swept is not None and waiting else None,
        survivors=tuple(dict.fromkeys((*late, *names(survivors), *app.living_ours()))),
        excused=names(excused),
        traces=app.traces(),
    )


def _start_again(platform: Platform, plan: Plan, app: StandIn, liveness: Liveness, state: Path) -> float:
    """End the app and start a second one; return the time from its launch to the last death."""
    app.end()
    begin = time.monotonic()
    with StandIn(state, platform, liveness, {}, None, grouped=plan.grouped) as second:
        second.grow()
        second.await_swept()
        liveness.wait(lambda: all(platform.is_excused(it, app.guarantees) for it in liveness.living()), DEATH_S)
        elapsed = max(0.0, liveness.last_death - begin)
        second.end()
        liveness.wait(second.ended, DEATH_S)
    return elapsed
