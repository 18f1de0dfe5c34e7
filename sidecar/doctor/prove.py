"""``sidecar doctor --prove``: kills what holds hostile trees, here, and counts who survives.

For each victim a stand-in app starts a sidecar with every tree of this ground; once all of them are whole the victim is
killed. The state folder is a private one, so no other run's record is touched; a sidecar that starts does sweep what
dead ones left in control groups beside it, as any start does.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sidecar.doctor.ground import VITE, CannotTryError, Ground, Plan, Roll
from sidecar.doctor.standin import APP, StandIn, names
from sidecar.doctor.trial import Trial, Untried
from sidecar.host import bundle

DEATH_S = 15.0
"""Deaths take milliseconds; who lives after this survived."""

BOOTLOADER = "bootloader"
PARENT_WATCH = "parentWatch"
CONTROL_GROUP = "controlGroup"
STDIN_GUARD = "stdinGuard"

NOT_TRIED = "no trial here could find it broken"


def prove(ground: Ground, active: Collection[str], node: str | None, progress: Callable[[str], None]) -> list[Trial]:
    """Make every trial. Nothing is left of them, whatever happened.

    ``active`` are the layers that hold here; ``node`` is one that works, if there is one.
    """
    frozen = bundle.unpacked_folder() is not None
    active = {name for name in active if node is not None or name != STDIN_GUARD}
    trials = []
    for killed, plan in ground.PLANS.items():
        if (frozen or plan.victims != (BOOTLOADER,)) and (plan.needs is None or plan.needs in active):
            progress(f"killing {killed}")
            trials.append(_try(ground, killed, plan, active, node))
    if frozen:
        for folder in bundle.left_behind():
            bundle.remove(folder)  # each of the killed parts had one
    return trials


def name_untried(ground: Ground, active: Collection[str], trials: Iterable[Trial]) -> list[Untried]:
    """Which of the layers that hold here no trial could have found broken."""
    tried = {name for trial in trials for name in trial.claims}
    return [Untried(name, ground.UNTRIED.get(name, NOT_TRIED)) for name in active if name not in tried]


def _try(ground: Ground, killed: str, plan: Plan, active: Collection[str], node: str | None) -> Trial:
    state = Path(tempfile.mkdtemp(prefix="sidecar-doctor-"))
    sizes = {kind: size for kind, size in ground.SIZES.items() if node is not None or kind != VITE}
    try:
        with ground.make_roll() as roll, StandIn(state, ground, roll, sizes, node, grouped=plan.grouped) as app:
            app.grow()
            if not plan.grouped and app.guarantees[CONTROL_GROUP]:
                raise CannotTryError("the sidecar has made a control group where it should not be able to")  # noqa: TRY301
            return _strike(ground, killed, plan, active, app, roll, state)
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
    ground: Ground, killed: str, plan: Plan, active: Collection[str], app: StandIn, roll: Roll, state: Path
) -> Trial:
    def overdue() -> tuple[str, ...]:
        return ground.overdue(app) if plan.leaves_rest else app.living_members()

    claimed = {name for name, value in app.guarantees.items() if value not in {False, None, "none"}}
    count = len(roll.living())
    app.stop(plan.stopped)
    begin = app.kill(plan.victims)
    if APP in plan.victims and PARENT_WATCH not in claimed:
        app.end()  # then its death is seen by the end of its pipe alone, which we hold, too
    roll.wait(lambda: app.ended() and not overdue(), DEATH_S)
    late = overdue()
    elapsed = roll.last_death - begin
    waiting = len(roll.living()) if plan.leaves_rest else 0
    swept = _start_again(ground, plan, app, roll, state) if plan.leaves_rest else None
    excused = [it for it in roll.living() if plan.leaves_rest and ground.is_excused(it, app.guarantees)]
    survivors = [it for it in roll.living() if it not in excused]
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


def _start_again(ground: Ground, plan: Plan, app: StandIn, roll: Roll, state: Path) -> float:
    """The app's end, and a next start's sweep; how long it took from the launch to the last death."""
    app.end()
    begin = time.monotonic()
    with StandIn(state, ground, roll, {}, None, grouped=plan.grouped) as second:
        second.grow()
        second.await_swept()
        roll.wait(lambda: all(ground.is_excused(it, app.guarantees) for it in roll.living()), DEATH_S)
        elapsed = max(0.0, roll.last_death - begin)
        second.end()
        roll.wait(second.ended, DEATH_S)
    return elapsed
