"""A stand-in app with its sidecar and trees, for one trial of ``prove``: start it, hold its processes, end it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec

from sidecar.commands.doctor.prove.platform import VITE, CannotTryError, Liveness, Member, Platform, as_part
from sidecar.commands.doctor.prove.vite import vite_command
from sidecar.host import frozen
from sidecar.state.run_record import STATE_DIR

START_S = 120.0
"""Time for a sidecar and its trees to be complete: 100 times what two busy cores need, 10 times what Wine needs."""

CLOSE_S = 5.0
"""Time for the rest to end by itself before it is killed."""

PROGRAM = "the program of "
"""The name of a service's own program is this and the kind of its tree."""

APP = "app"


class StandIn:
    """A stand-in app with its sidecar. It holds each process of the sidecar, and each service's own program."""

    def __init__(
        self,
        state: Path,
        platform: Platform,
        liveness: Liveness,
        trees: dict[str, int],
        node: str | None,
        *,
        grouped: bool,
    ) -> None:
        """Start the app with the state folder ``state``. ``trees`` says how many processes each kind of tree has.

        ``node`` is for the tree of Vite. Unless ``grouped``, the sidecar can make no control group.
        """
        self._platform = platform
        self._liveness = liveness
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
                "command": as_part("tree", kind, liveness.name, *(vite_command(state, node) if kind == VITE else ())),
                "cwd": frozen.HOME,
                "restart": {"policy": "never"},
            }
            for kind in trees
        }
        env = {**os.environ, STATE_DIR: str(state)}
        self._process = liveness.launch(as_part("app", str(len(services))), env, grouped=grouped)
        self._stack.callback(self._close)
        if self._process.stdout is None:
            raise AssertionError  # for mypy: it is a pipe
        liveness.read(self._process.stdout, self._hear)
        self._ask(0, "initialize", protocolVersion=1, client={"name": "sidecar doctor"}, services=services)
        for number, name in enumerate(services, 1):
            self._ask(number, "start", service=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def grow(self) -> None:
        """Wait until the sidecar has answered and every tree is complete. Raises ``CannotTryError``."""
        deadline = time.monotonic() + START_S
        app = self._await("app", deadline)
        result = self._await("hello", deadline)
        self.guarantees = result["guarantees"]
        try:
            ours = self._platform.find_ours(app, result["pid"])
        except ProcessLookupError:
            raise CannotTryError("the sidecar ended before the trial began") from None
        self._ours = tuple(ours)
        self._group = self._platform.find_group(self.guarantees, ours)
        for name, pid in {APP: app, **ours}.items():
            self._hold(name, pid)
        if not self._trees:
            return
        for kind, pid in self._await("started", deadline).items():
            self._hold(f"{PROGRAM}{kind}", pid)
        whole = sum(self._trees.values())
        if not self._liveness.wait(lambda: len(self._liveness.living()) >= whole, START_S):
            raise CannotTryError(f"only {len(self._liveness.living())} of {whole} processes have appeared")
        if not self._liveness.wait_stopped(START_S):
            raise CannotTryError("the tree that stops itself has not stopped")

    def stop(self, names: tuple[str, ...]) -> None:
        """Stop the processes (SIGSTOP), so that they do nothing more."""
        self._liveness.stop([self._held[name] for name in names])

    def kill(self, names: tuple[str, ...]) -> float:
        """Kill all of them in the same instant; return that instant."""
        return self._liveness.kill([self._held[name] for name in names if name in self._held])

    def end(self) -> None:
        """End the sidecar as an app that quits does: close its stdin, which is our pipe."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def ended(self) -> bool:
        """Tell whether all processes of the sidecar (supervisor, guard, bootloader) are gone."""
        return not self.living_ours()

    def living_programs(self) -> tuple[str, ...]:
        """See ``platform.Run``."""
        return tuple(name for name in sorted(self._living) if name.startswith(PROGRAM))

    def living_members(self, kind: str | None = None) -> tuple[str, ...]:
        """See ``platform.Run``."""
        return names(it for it in self._liveness.living() if kind in {None, it.kind})

    def living_ours(self) -> tuple[str, ...]:
        """Return the sidecar's processes that live."""
        return tuple(f"the {name}" for name in sorted(self._living & set(self._ours)))

    def traces(self) -> tuple[str, ...]:
        """Return what the run has left in the file system."""
        runs = self._state / "runs"
        found = [f"record {path.name}" for path in runs.glob("*") if not _awaits_next_start(path)]
        if self._group is not None and os.path.isdir(self._group):
            found.append(f"control group {self._group}")
        return tuple(found)

    def await_swept(self) -> None:
        """Wait until the sidecar has cleaned up after the previous run. Raises ``CannotTryError``."""
        self._await("swept", time.monotonic() + START_S)

    def _ask(self, number: int, method: str, **params: object) -> None:
        if self._process.stdin is None:
            raise AssertionError  # for mypy: it is a pipe
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        except OSError:
            pass  # EPIPE, on Windows EINVAL: it has died, and the kernel tells us that

    def _hold(self, name: str, pid: int) -> None:
        try:
            self._held[name] = self._liveness.hold(pid, lambda at: self._note_death(name, at))
        except ProcessLookupError:
            raise CannotTryError(f"the {name} ended before the trial began") from None
        self._living.add(name)

    def _note_death(self, name: str, at: float) -> None:
        self._living.discard(name)
        if name.startswith(PROGRAM):
            self._liveness.last_death = max(self._liveness.last_death, at)

    def _await(self, what: str, deadline: float) -> Any:
        """Return the stand-in's next message about ``what``; skip its other messages."""
        while True:
            self._liveness.wait(lambda: bool(self._told) or self._silent, max(0.0, deadline - time.monotonic()))
            if not self._told:
                raise CannotTryError("the stand-in app " + ("has ended" if self._silent else "says nothing"))
            told = self._told.pop(0)
            if what in told:
                return told[what]
            if "error" in told:
                raise CannotTryError(f"the sidecar failed: {told['error']['message']}")

    def _hear(self, data: bytes) -> None:
        self._silent = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._told += map(msgspec.json.decode, lines)

    def _close(self) -> None:
        """End everything: close stdin, wait for the processes to end by themselves, then kill the rest."""
        self.end()
        self._liveness.wait(self.ended, CLOSE_S)
        self.kill(tuple(name for name in self._held if name != APP))
        self._liveness.wait(self.ended, CLOSE_S)  # else end_group would take the group for a living guard's
        for held in self._held.values():
            self._liveness.let_go(held)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # it is not reaped yet, so no other process has its pid
            self._process.wait()
        if self._group is not None:
            self._platform.end_group(self._group)


def names(members: Iterable[Member]) -> tuple[str, ...]:
    """Return the names of processes for a report."""
    return tuple(f"{it.kind} {it.role} (pid {it.pid})" for it in members)


def _awaits_next_start(path: Path) -> bool:
    """Tell whether a record stays on purpose: it names a folder that a service has unpacked."""
    try:
        return bool(msgspec.json.decode(path.read_bytes()).get("unpacked"))
    except (OSError, msgspec.DecodeError, AttributeError):
        return False  # ENOENT: it is gone by now; otherwise it is not a record, so it counts as a trace
