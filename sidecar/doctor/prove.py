"""``sidecar doctor --prove``: kills what holds hostile trees, here, and counts who survives.

For each victim a stand-in app starts a sidecar with every tree of this ground; once all of them are whole the victim is
killed. The state folder is a private one, so no other run's record is touched; a sidecar that starts does sweep what
dead ones left in control groups beside it, as any start does.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.doctor.ground import CannotTryError, Ground, Plan, Roll
from sidecar.doctor.standin import StandIn, names
from sidecar.doctor.trial import Trial
from sidecar.host import bundle

DEATH_S = 15.0
"""Deaths take milliseconds; who lives after this survived."""

BOOTLOADER = "bootloader"


def prove(ground: Ground, progress: Callable[[str], None]) -> list[Trial]:
    """Make every trial. Nothing is left of them, whatever happened."""
    trials = []
    frozen = bundle.unpacked_folder() is not None
    for killed, plan in ground.PLANS.items():
        if frozen or plan.victims != (BOOTLOADER,):
            progress(f"killing {killed}")
            trials.append(_try(ground, killed, plan))
    if frozen:
        for folder in bundle.left_behind():
            bundle.remove(folder)  # each of the killed parts had one
    return trials


def _try(ground: Ground, killed: str, plan: Plan) -> Trial:
    state = Path(tempfile.mkdtemp(prefix="sidecar-doctor-"))
    try:
        with ground.make_roll() as roll, StandIn(state, ground, roll, ground.SIZES) as app:
            app.grow()
            return _strike(ground, killed, plan, app, roll, state)
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


def _strike(ground: Ground, killed: str, plan: Plan, app: StandIn, roll: Roll, state: Path) -> Trial:
    def overdue() -> tuple[str, ...]:
        return ground.overdue(app) if plan.leaves_rest else app.living_members()

    count = len(roll.living())
    begin = app.kill(plan.victims)
    roll.wait(lambda: app.ended() and not overdue(), DEATH_S)
    late = overdue()
    elapsed = roll.last_death - begin
    waiting = len(roll.living()) if plan.leaves_rest else 0
    swept = _start_again(ground, app, roll, state) if plan.leaves_rest else None
    excused = [it for it in roll.living() if plan.leaves_rest and ground.is_excused(it, app.guarantees)]
    survivors = [it for it in roll.living() if it not in excused]
    return Trial(
        killed=killed,
        claims=tuple(name for name in plan.claims if app.guarantees.get(name) not in {False, None, "none"}),
        processes=count,
        milliseconds=max(0.0, round(elapsed * 1000, 1)),
        until_next_start=waiting,
        sweep_milliseconds=round(swept * 1000, 1) if swept is not None and waiting else None,
        survivors=tuple(dict.fromkeys((*late, *names(survivors), *app.living_ours()))),
        excused=names(excused),
        traces=app.traces(),
    )


def _start_again(ground: Ground, app: StandIn, roll: Roll, state: Path) -> float:
    """The app's end, and a next start's sweep; how long it took from the launch to the last death."""
    app.end()
    begin = time.monotonic()
    with StandIn(state, ground, roll, {}) as second:
        second.grow()
        second.await_swept()
        roll.wait(lambda: all(ground.is_excused(it, app.guarantees) for it in roll.living()), DEATH_S)
        elapsed = max(0.0, roll.last_death - begin)
        second.end()
        roll.wait(second.ended, DEATH_S)
    return elapsed
