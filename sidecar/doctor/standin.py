"""A stand-in app with its sidecar and its trees, as ``prove`` needs it: started whole, held by pidfds, ended whole."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor import DOCTOR_PART
from sidecar.doctor.parts import home, itself
from sidecar.doctor.roll import Roll
from sidecar.host import bundle
from sidecar.host.leftovers import DeadGroup, Leftovers
from sidecar.host.linux import cgroup, sweep
from sidecar.host.linux.tree import Process, read_process
from sidecar.host.records import STATE_DIR

START_S = 60.0
"""For a sidecar and its trees to be whole: a hundred times what it takes on two busy cores."""

CLOSE_S = 5.0
"""For what is left to end by itself, before it is killed."""

PROGRAM = "the program of "
"""What a service's own program is called, to which its tree's kind is added."""


class CannotTryError(Exception):
    """The stand-in app or its trees could not be started; the text says why."""


class StandIn:
    """A stand-in app with its sidecar; all of ours is held by pidfds."""

    def __init__(self, state: Path, roll: Roll, trees: dict[str, int]) -> None:
        """Start it; ``trees`` has how many processes each kind of tree has. ``state`` is its state folder."""
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
                "command": itself(DOCTOR_PART, "tree", kind, roll.name),
                "cwd": home(),
                "restart": {"policy": "never"},
            }
            for kind in trees
        }
        env = {**os.environ, STATE_DIR: str(state)}
        self._process = subprocess.Popen(
            itself(DOCTOR_PART, "app", msgspec.json.encode(services).decode()),
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
        """Wait until the sidecar has answered and every tree is whole. Raises ``CannotTryError``."""
        deadline = time.monotonic() + START_S
        app = self._await("app", deadline)
        result = self._await("hello", deadline)
        self.guarantees = result["guarantees"]
        supervisor = read_process(result["pid"])
        guard = None if supervisor is None else read_process(supervisor.ppid)
        if supervisor is None or guard is None:
            raise CannotTryError("the sidecar has ended before anything was done to it")
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
            raise CannotTryError(f"only {len(self._roll.living())} of {whole} processes have appeared")
        if not self._roll.wait_stopped((it for it in self._roll.living() if it.kind == "stopped"), START_S):
            raise CannotTryError("the tree that is to be stopped is not")

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
            raise CannotTryError(f"the {name} has ended before anything was done to it") from None
        self.pidfds[name] = pidfd
        self._living.add(name)
        self._roll.watch(pidfd, lambda: self._note_death(name))

    def _note_death(self, name: str) -> None:
        self._living.discard(name)
        if name.startswith(PROGRAM):
            self._roll.last_death = time.monotonic()

    def await_swept(self) -> None:
        """Wait until it has dealt with what the run before has left. Raises ``CannotTryError``."""
        self._await("swept", time.monotonic() + START_S)

    def _await(self, what: str, deadline: float) -> Any:
        """What the stand-in tells of this; what it tells before of something else is no news."""
        while what not in (told := self._hear(deadline)):
            if "error" in told:
                raise CannotTryError(f"the sidecar does not do as it should: {told['error']['message']}")
        return told[what]

    def _hear(self, deadline: float) -> dict[str, Any]:
        """The next thing that the stand-in tells."""
        stdout = self._process.stdout
        while b"\n" not in self._rest and stdout is not None:
            ready = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
            data = os.read(stdout.fileno(), 65_536) if ready else b""
            if not data:
                raise CannotTryError("the stand-in app " + ("has ended" if ready else "says nothing"))
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
            sweep.end(Leftovers(groups=(DeadGroup(self._group, ()),)))


def _group_of(guard: Process) -> str | None:
    """The control group that this guard has made: beside its own, which is ours, too."""
    parent = cgroup.own_folder()
    return None if parent is None else cgroup.folder_of(guard, parent)
