"""``sidecar doctor --prove``: kills what holds hostile trees, here, and counts who survives.

For each victim a stand-in app starts a sidecar with every tree of parts.py; once all of them are whole the victim gets
SIGKILL. The state folder is a private one, so no other run's record is touched; a sidecar that starts does sweep what
dead ones left in control groups beside it, as any start does.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor.parts import PART, SIZES, home, itself
from sidecar.doctor.roll import Member, Roll
from sidecar.host import bundle, cgroup, sweep
from sidecar.host.records import STATE_DIR
from sidecar.host.tree import Process, read_process
from sidecar.wire.messages import Wire

START_S = 60.0
"""For a sidecar and its trees to be whole: a hundred times what it takes on two busy cores."""

DEATH_S = 15.0
"""Deaths take milliseconds; who lives after this survived."""

NEXT_START = "guard and supervisor at once"

CLOSE_S = 5.0
"""For what is left to end by itself, before it is killed."""

PROGRAM = "the program of "
"""What a service's own program is called, to which its tree's kind is added."""

CLAIMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "the app": (("app",), ("guard", "parentWatch")),
    "the supervisor": (("supervisor",), ("guard", "subreaper")),
    "the guard": (("guard",), ("guard", "parentDeathSignal")),
    "the bootloader": (("bootloader",), ("guard",)),
    NEXT_START: (("guard", "supervisor"), ("parentDeathSignal", "controlGroup", "runCookie")),
}
"""What is killed → the processes, and the guarantees (by their names in ``initialize``) that speak of it."""


class Trial(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """One row of the table."""

    killed: str
    claims: tuple[str, ...]
    """The guarantees of ``initialize`` that speak of it, and are active here."""
    processes: int
    """So many the trees had."""
    milliseconds: float
    """From the kill to the last death (before a next start)."""
    until_next_start: int
    """So many lived until a next start: only where guard and supervisor died at once."""
    sweep_milliseconds: float | None
    """From the next start's launch to the last death."""
    survivors: tuple[str, ...]
    """Who lived in the end: all that should not have."""
    excused: tuple[str, ...]
    """Who lived in the end, as is said: without a control group, daemons that scrubbed their environment."""
    traces: tuple[str, ...]
    """Records and control groups that were left."""
    problem: str | None = None
    """Why the trial could not be made at all."""

    @property
    def held(self) -> bool:
        """Whether what is claimed is so."""
        return not (self.survivors or self.traces or self.problem)


class _CannotTryError(Exception):
    """The stand-in app or its trees could not be started; the text says why."""


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
        with Roll() as roll, _StandIn(state, roll, SIZES) as app:
            app.grow()
            return _strike(killed, app, roll, state)
    except _CannotTryError as error:
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


def _strike(killed: str, app: _StandIn, roll: Roll, state: Path) -> Trial:
    victims, claims = CLAIMS[killed]
    count = len(roll.living())
    if len(victims) > 1:
        # stopped before: neither is to see the other's death in its own last moment, and get something done
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


def _start_again(app: _StandIn, roll: Roll, state: Path) -> float:
    """The app's end, and a next start's sweep; how long it took from the launch to the last death."""
    app.end()
    begin = time.monotonic()
    with _StandIn(state, roll, {}) as second:
        second.grow()
        second.await_swept()
        roll.wait(lambda: all(_is_excused(it, app) for it in roll.living()), DEATH_S)
        elapsed = max(0.0, roll.last_death - begin)
        second.end()
        roll.wait(second.ended, DEATH_S)
    return elapsed


def _is_excused(member: Member, app: _StandIn) -> bool:
    """The exception that the README names."""
    return not app.guarantees["controlGroup"] and (member.kind, member.role) == ("scrubbed", "daemon")


def _names(members: Iterable[Member]) -> tuple[str, ...]:
    return tuple(f"{it.kind} {it.role} (pid {it.pid})" for it in members)


class _StandIn:
    """A stand-in app with its sidecar; all of ours is held by pidfds."""

    def __init__(self, state: Path, roll: Roll, trees: dict[str, int]) -> None:
        self._roll = roll
        self._trees = trees
        self._state = state
        self._stack = ExitStack()
        self._rest = b""
        self._living: set[str] = set()
        self.pidfds: dict[str, int] = {}
        self.guarantees: dict[str, Any] = {}
        self._group: str | None = None
        services = {
            kind: {
                "type": "command",
                "command": itself(PART, "tree", kind, roll.name),
                "cwd": home(),
                "restart": {"policy": "never"},
            }
            for kind in trees
        }
        env = {**bundle.outer_environment(os.environ), STATE_DIR: str(state)}
        if getattr(sys, "frozen", False):
            env["PYINSTALLER_RESET_ENVIRONMENT"] = (
                "1"  # else the parts would be run from our folder, and lose it with us
            )
        self._process = subprocess.Popen(
            itself(PART, "app", msgspec.json.encode(services).decode()),
            cwd=home(),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        self._stack.callback(self._close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def grow(self) -> None:
        """Wait until the sidecar has answered and every tree is whole. Raises ``_CannotTryError``."""
        deadline = time.monotonic() + START_S
        app = self._await("app", deadline)
        result = self._await("hello", deadline)
        self.guarantees = result["guarantees"]
        supervisor = read_process(result["pid"])
        guard = None if supervisor is None else read_process(supervisor.ppid)
        if supervisor is None or guard is None:
            raise _CannotTryError("the sidecar has ended before anything was done to it")
        self._group = _group_of(guard) if self.guarantees["controlGroup"] else None
        pids = {"app": app, "supervisor": supervisor.pid, "guard": guard.pid}
        if bundle.unpacked_folder() is not None:
            pids["bootloader"] = guard.ppid
        for name, pid in pids.items():
            self._hold(name, pid)
        if not self._trees:
            return
        for kind, pid in self._await("started", deadline).items():
            self._hold(f"{PROGRAM}{kind}", pid)
        whole = sum(self._trees.values())
        if not self._roll.wait(lambda: len(self._roll.living()) >= whole, START_S):
            raise _CannotTryError(f"only {len(self._roll.living())} of {whole} processes have appeared")
        if not self._roll.wait_stopped((it for it in self._roll.living() if it.kind == "stopped"), START_S):
            raise _CannotTryError("the tree that is to be stopped is not")

    def signal(self, names: tuple[str, ...], number: int) -> None:
        """Send it to each, back to back."""
        for name in names:
            try:
                signal.pidfd_send_signal(self.pidfds[name], number)
            except ProcessLookupError:
                pass  # it is dead already

    def end(self) -> None:
        """As an app that is quit: its end of stdin ends it."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def ended(self) -> bool:
        """Whether guard and supervisor are gone."""
        return not self._living & {"guard", "supervisor"}

    def programs(self) -> tuple[str, ...]:
        """The services' own programs that live: the supervisor's direct children."""
        return tuple(name for name in sorted(self._living) if name.startswith(PROGRAM))

    def own_survivors(self) -> tuple[str, ...]:
        """Those of guard and supervisor that live."""
        return tuple(f"the {name}" for name in sorted(self._living & {"guard", "supervisor"}))

    def traces(self) -> tuple[str, ...]:
        """What is left of the run in the file system."""
        runs = self._state / "runs"
        found = [f"record {path.name}" for path in runs.iterdir()] if runs.is_dir() else []
        if self._group is not None and os.path.isdir(self._group):
            found.append(f"control group {self._group}")
        return tuple(found)

    def _hold(self, name: str, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise _CannotTryError(f"the {name} has ended before anything was done to it") from None
        self.pidfds[name] = pidfd
        self._living.add(name)
        self._roll.watch(pidfd, lambda: self._note_death(name))

    def _note_death(self, name: str) -> None:
        self._living.discard(name)
        if name.startswith(PROGRAM):
            self._roll.last_death = time.monotonic()

    def await_swept(self) -> None:
        """Wait until it has dealt with what the run before has left. Raises ``_CannotTryError``."""
        self._await("swept", time.monotonic() + START_S)

    def _await(self, what: str, deadline: float) -> Any:
        """What the stand-in tells of this; what it tells before of something else is no news."""
        while what not in (told := self._hear(deadline)):
            if "error" in told:
                raise _CannotTryError(f"the sidecar does not do as it should: {told['error']['message']}")
        return told[what]

    def _hear(self, deadline: float) -> dict[str, Any]:
        """The next thing that the stand-in tells."""
        stdout = self._process.stdout
        while b"\n" not in self._rest and stdout is not None:
            ready = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
            data = os.read(stdout.fileno(), 65_536) if ready else b""
            if not data:
                raise _CannotTryError("the stand-in app " + ("has ended" if ready else "says nothing"))
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        told: dict[str, Any] = msgspec.json.decode(line)
        return told

    def _close(self) -> None:
        """Nothing of this one lives on: it may end by itself first, as the app's end asks it to."""
        self.end()
        self._roll.wait(self.ended, CLOSE_S)
        self.signal(tuple(name for name in self.pidfds if name != "app"), signal.SIGKILL)
        for pidfd in self.pidfds.values():
            self._roll.forget(pidfd)
            os.close(pidfd)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # not reaped yet, so the pid is its own
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._group is not None and cgroup.is_orphaned(self._group):
            sweep.end(sweep.Leftovers(groups=(sweep.DeadGroup(self._group, ()),)))


def _group_of(guard: Process) -> str | None:
    """The control group that this guard has made: beside its own, which is ours, too."""
    parent = cgroup.own_folder()
    return None if parent is None else cgroup.folder_of(guard, parent)
