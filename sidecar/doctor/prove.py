"""``sidecar doctor --prove``: kills what holds hostile trees, here, and counts who survives.

For each victim a stand-in app starts a sidecar with every tree of parts.py; once all of them are whole the victim gets
SIGKILL. The state folder is a private one, so no other run's record is touched; a sidecar that starts does sweep what
dead ones left in control groups beside it, as any start does.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor.parts import SIZES
from sidecar.doctor.roll import Member, Roll
from sidecar.doctor.standin import CannotTryError, StandIn
from sidecar.doctor.trial import Trial
from sidecar.host import bundle

DEATH_S = 15.0
"""Deaths take milliseconds; who lives after this survived."""

NEXT_START = "guard and supervisor at once"

CLAIMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "the app": (("app",), ("guard", "parentWatch")),
    "the supervisor": (("supervisor",), ("guard", "subreaper")),
    "the guard": (("guard",), ("guard", "parentDeathSignal")),
    "the bootloader": (("bootloader",), ("guard",)),
    NEXT_START: (("supervisor", "guard"), ("parentDeathSignal", "controlGroup", "runCookie")),
}
"""What is killed → the processes, and the guarantees (by their names in ``initialize``) that speak of it."""


def prove(progress: Callable[[str], None]) -> list[Trial]:
    """Make every trial. Nothing is left of them, whatever happened."""
    trials = []
    frozen = bundle.unpacked_folder() is not None
    for killed in CLAIMS:
        if frozen or killed != "the bootloader":
            progress(f"killing {killed}")
            trials.append(_try(killed))
    if frozen:
        for folder in bundle.left_behind():
            bundle.remove(folder)  # each of the killed parts had one
    return trials


def _try(killed: str) -> Trial:
    state = Path(tempfile.mkdtemp(prefix="sidecar-doctor-"))
    try:
        with Roll() as roll, StandIn(state, roll, SIZES) as app:
            app.grow()
            return _strike(killed, app, roll, state)
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


def _strike(killed: str, app: StandIn, roll: Roll, state: Path) -> Trial:
    victims, claims = CLAIMS[killed]
    count = len(roll.living())
    if len(victims) > 1:
        # stopped before, and killed from below: neither is to see the other's death in its own last moment, and get
        # something done; the guard's wakes a stopped supervisor
        app.signal(victims, signal.SIGSTOP)
    begin = time.monotonic()
    app.signal(victims, signal.SIGKILL)
    waiting = 0
    programs: tuple[str, ...] = ()
    swept: float | None = None
    if killed == NEXT_START:
        if app.guarantees["parentDeathSignal"]:
            roll.wait(lambda: app.ended() and not app.programs(), DEATH_S)
            programs = app.programs()
        elapsed = roll.last_death - begin
        waiting = len(roll.living())
        swept = _start_again(app, roll, state)
    else:
        roll.wait(lambda: app.ended() and not roll.living(), DEATH_S)
        elapsed = roll.last_death - begin
    excused = [it for it in roll.living() if _is_excused(it, app)] if killed == NEXT_START else []
    survivors = [it for it in roll.living() if it not in excused]
    return Trial(
        killed=killed,
        claims=tuple(name for name in claims if app.guarantees.get(name) not in {False, None, "none"}),
        processes=count,
        milliseconds=max(0.0, round(elapsed * 1000, 1)),
        until_next_start=waiting,
        sweep_milliseconds=None if swept is None else round(swept * 1000, 1),
        survivors=tuple(dict.fromkeys((*programs, *_names(survivors), *app.own_survivors()))),
        excused=_names(excused),
        traces=app.traces(),
    )


def _start_again(app: StandIn, roll: Roll, state: Path) -> float:
    """The app's end, and a next start's sweep; how long it took from the launch to the last death."""
    app.end()
    begin = time.monotonic()
    with StandIn(state, roll, {}) as second:
        second.grow()
        second.await_swept()
        roll.wait(lambda: all(_is_excused(it, app) for it in roll.living()), DEATH_S)
        elapsed = max(0.0, roll.last_death - begin)
        second.end()
        roll.wait(second.ended, DEATH_S)
    return elapsed


def _is_excused(member: Member, app: StandIn) -> bool:
    """The exception that the README names."""
    return not app.guarantees["controlGroup"] and (member.kind, member.role) == ("scrubbed", "daemon")


def _names(members: Iterable[Member]) -> tuple[str, ...]:
    return tuple(f"{it.kind} {it.role} (pid {it.pid})" for it in members)
