"""A stand-in app with its sidecar and its trees, as ``prove`` needs it: started whole, held, ended whole."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec

from sidecar.doctor.again import as_part
from sidecar.doctor.ground import VITE, CannotTryError, Ground, Member, Roll
from sidecar.doctor.vite import vite_command
from sidecar.host import bundle
from sidecar.host.records import STATE_DIR

START_S = 120.0
"""For a sidecar and its trees to be whole: a hundred times what it takes on two busy cores, ten times under Wine."""

CLOSE_S = 5.0
"""For what is left to end by itself, before it is killed."""

PROGRAM = "the program of "
"""What a service's own program is called, to which its tree's kind is added."""

APP = "app"


class StandIn:
    """A stand-in app with its sidecar; all of ours is held."""

    def __init__(
        self, state: Path, ground: Ground, roll: Roll, trees: dict[str, int], node: str | None, *, grouped: bool
    ) -> None:
        """Start it; ``trees`` has how many processes each kind of tree has. ``state`` is its state folder.

        ``node`` is for the tree of Vite. Unless ``grouped``, the sidecar can make no control group.
        """
        self._ground = ground
        self._roll = roll
        self._trees = trees
        self._state = state
        self._stack = ExitStack()
        self._rest = b""
        self._told: list[dict[str, Any]] = []
        self._silent = False
        self._living: set[str] = set()
        self._held: dict[str, int] = {}
        self._ours: tuple[str, ...] = ()
        self.guarantees: dict[str, Any] = {}
        self._group: str | None = None
        services = {
            kind: {
                "type": "command",
                "command": as_part("tree", kind, roll.name, *(vite_command(state, node) if kind == VITE else ())),
                "cwd": bundle.HOME,
                "restart": {"policy": "never"},
            }
            for kind in trees
        }
        env = {**os.environ, STATE_DIR: str(state)}
        self._process = roll.launch(as_part("app", str(len(services))), env, grouped=grouped)
        self._stack.callback(self._close)
        if self._process.stdout is None:
            raise AssertionError  # for mypy: it is a pipe
        roll.read(self._process.stdout, self._hear)
        self._ask(0, "initialize", protocolVersion=1, client={"name": "sidecar doctor"}, services=services)
        for number, name in enumerate(services, 1):
            self._ask(number, "start", service=name)

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
        try:
            ours = self._ground.find_ours(app, result["pid"])
        except ProcessLookupError:
            raise CannotTryError("the sidecar has ended before anything was done to it") from None
        self._ours = tuple(ours)
        self._group = self._ground.find_group(self.guarantees, ours)
        for name, pid in {APP: app, **ours}.items():
            self._hold(name, pid)
        if not self._trees:
            return
        for kind, pid in self._await("started", deadline).items():
            self._hold(f"{PROGRAM}{kind}", pid)
        whole = sum(self._trees.values())
        if not self._roll.wait(lambda: len(self._roll.living()) >= whole, START_S):
            raise CannotTryError(f"only {len(self._roll.living())} of {whole} processes have appeared")
        if not self._roll.wait_stopped(START_S):
            raise CannotTryError("the tree that is to be stopped is not")

    def stop(self, names: tuple[str, ...]) -> None:
        """Stop each, so that it does nothing more."""
        self._roll.stop([self._held[name] for name in names])

    def kill(self, names: tuple[str, ...]) -> float:
        """Kill each, in the same instant, which is returned."""
        return self._roll.kill([self._held[name] for name in names if name in self._held])

    def end(self) -> None:
        """As an app that is quit: the end of the sidecar's stdin, which is ours, ends it."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def ended(self) -> bool:
        """Whether all of ours are gone: guard and supervisor, or what stands for them here."""
        return not self.living_ours()

    def living_programs(self) -> tuple[str, ...]:
        """See ``ground.Run``."""
        return tuple(name for name in sorted(self._living) if name.startswith(PROGRAM))

    def living_members(self, kind: str | None = None) -> tuple[str, ...]:
        """See ``ground.Run``."""
        return names(it for it in self._roll.living() if kind in {None, it.kind})

    def living_ours(self) -> tuple[str, ...]:
        """Those of ours that live."""
        return tuple(f"the {name}" for name in sorted(self._living & set(self._ours)))

    def traces(self) -> tuple[str, ...]:
        """What is left of the run in the file system."""
        runs = self._state / "runs"
        found = [f"record {path.name}" for path in runs.iterdir()] if runs.is_dir() else []
        if self._group is not None and os.path.isdir(self._group):
            found.append(f"control group {self._group}")
        return tuple(found)

    def await_swept(self) -> None:
        """Wait until it has dealt with what the run before has left. Raises ``CannotTryError``."""
        self._await("swept", time.monotonic() + START_S)

    def _ask(self, number: int, method: str, **params: object) -> None:
        if self._process.stdin is None:
            raise AssertionError  # for mypy: it is a pipe
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        except OSError:
            pass  # EPIPE, which is EINVAL on Windows: it has died, which the kernel tells us

    def _hold(self, name: str, pid: int) -> None:
        try:
            self._held[name] = self._roll.hold(pid, lambda at: self._note_death(name, at))
        except ProcessLookupError:
            raise CannotTryError(f"the {name} has ended before anything was done to it") from None
        self._living.add(name)

    def _note_death(self, name: str, at: float) -> None:
        self._living.discard(name)
        if name.startswith(PROGRAM):
            self._roll.last_death = max(self._roll.last_death, at)

    def _await(self, what: str, deadline: float) -> Any:
        """What the stand-in tells of this; what it tells before of something else is no news."""
        while True:
            self._roll.wait(lambda: bool(self._told) or self._silent, max(0.0, deadline - time.monotonic()))
            if not self._told:
                raise CannotTryError("the stand-in app " + ("has ended" if self._silent else "says nothing"))
            told = self._told.pop(0)
            if what in told:
                return told[what]
            if "error" in told:
                raise CannotTryError(f"the sidecar does not do as it should: {told['error']['message']}")

    def _hear(self, data: bytes) -> None:
        self._silent = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._told += map(msgspec.json.decode, lines)

    def _close(self) -> None:
        """Nothing of this one lives on: it may end by itself first, as the app's end asks it to."""
        self.end()
        self._roll.wait(self.ended, CLOSE_S)
        self.kill(tuple(name for name in self._held if name != APP))
        self._roll.wait(self.ended, CLOSE_S)  # else the group would still look like a living guard's
        for held in self._held.values():
            self._roll.let_go(held)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # not reaped yet, so the pid is its own
            self._process.wait()
        if self._group is not None:
            self._ground.end_group(self._group)


def names(members: Iterable[Member]) -> tuple[str, ...]:
    """What they are called in a report."""
    return tuple(f"{it.kind} {it.role} (pid {it.pid})" for it in members)
