"""One experiment: an app, its sidecar, hostile trees below it, and the roll call that knows which processes live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from sidecar.host.linux import processes, sockets
from tests.children.trees import DECOY, SIZES
from tests.support.client import Client
from tests.support.command import BINARY, SIDECAR, Message
from tests.support.liveness import LIFE_S, RollCall, await_end, control_group, lives, marked, name_of, send, state_of
from tests.support.waiting import WAIT_S, until

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = ROOT / "tests" / "children"

VITE = "vite"
"""The only tree that is not made by tests/children/trees.py: see tests/faults/vite.py."""
KEEPER = "sidecar-keeper"
"""Name of the process that ends the tree if the guard is dead and the supervisor hangs."""
ALL_TREES = tuple(kind for kind in SIZES if kind != VITE)
WITH_PORTS = ("listener", VITE)


def tree(kind: str, *words: str) -> list[str]:
    """Return the command that starts a hostile tree."""
    return [sys.executable, "-I", "-S", str(CHILDREN / "trees.py"), kind, *words]


def is_being_written(file: Path) -> bool:
    """Return whether the file is a draft that a living process has yet to rename."""
    return file.suffix == ".tmp" and Path("/proc", file.stem.rpartition(".")[2]).exists()


def service(kind: str, **more: object) -> Message:
    """Return a tree as a service without restarts that is ready once it runs."""
    once = {"policy": "never"}
    if kind == "listener":
        return {"type": "command", "command": tree(kind, "{port}"), "port": {"sticky": False}, "restart": once, **more}
    return {"type": "command", "command": tree(kind), "restart": once, **more}


class Cell:
    """A stand-in app and its sidecar. A pidfd is kept of the app and of each of the sidecar's processes."""

    def __init__(
        self,
        folder: Path,
        trees: Iterable[str],
        *,
        contained: bool = False,
        group: str | None = None,
        decoys: RollCall | None = None,
        decoy: Sequence[str] | None = None,
        services: Message | None = None,
        heir: bool = False,
        near: bool = True,
        apart: bool = True,
        greet: bool = True,
        beside: frozenset[str] = frozenset(),
        env: dict[str, str] | None = None,
        life_s: int = LIFE_S,
        sidecar: Sequence[str] = SIDECAR,
    ) -> None:
        """Launch ``sidecar``, and initialize it if ``greet``.

        ``group`` is a control group shared with another cell; that cell's traces, ``beside``, may stay. If a roll call
        for ``decoys`` is given, the app also starts decoys: siblings of the sidecar that must not be harmed. Their
        command is ``decoy``, or else exactly that of the first tree. ``near`` adds a decoy in the app's process group,
        ``heir`` one that also inherits the sidecar's stdin pipe.

        An app that is ``apart`` gets its own session. Otherwise its death orphans its process group. If a process in
        an orphaned group is stopped, the kernel sends the group SIGHUP and SIGCONT. That would wake a stopped guard,
        and kill a decoy.
        """
        self._stack = ExitStack()
        self.state = folder / "state"
        self.unpacked = folder / "unpacked"
        """Where a frozen binary unpacks itself."""
        self.services = services or {kind: service(kind) for kind in trees}
        self.beside = beside
        self.unpacked.mkdir(exist_ok=True)
        first = next(iter(self.services.values()), {"command": tree("decoy")})
        with self._stack:
            self.group = group or self._stack.enter_context(control_group(divisible=contained))
            self.roll = self._stack.enter_context(RollCall(life_s))
            order = {
                "argv": list(sidecar),
                "cwd": str(ROOT),
                "group": self.group,
                "seconds": life_s,
                "siblings": [] if decoys is None else [list(decoy or first["command"])],
                "near": near,
                "heir": heir,
                "siblings_env": {} if decoys is None else {**decoys.env, DECOY: "1"},
            }
            self.app = subprocess.Popen(
                [sys.executable, "-I", "-S", str(CHILDREN / "app.py"), json.dumps(order)],
                env={
                    **os.environ,
                    **self.roll.env,
                    "SIDECAR_STATE_DIR": str(self.state),
                    "TMPDIR": str(self.unpacked),
                    **(env or {}),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=apart,
                process_group=None if apart else 0,
                bufsize=0,
            )
            self._stack.callback(self._end_app)
            assert self.app.stdin is not None
            assert self.app.stdout is not None
            self.client = Client(self.app.stdin.fileno(), self.app.stdout.fileno())
            launched = self.client.find(lambda it: "launched" in it, "the sidecar's launch")["launched"]
            self.pids = {"app": self.app.pid, **_ours(launched)}
            self.pidfds: dict[str, int] = {}
            self._stack.callback(self._end_ours)
            for name, pid in self.pids.items():
                self.pidfds[name] = os.pidfd_open(pid)
            self.sockets: set[str] = set()
            """The inodes of the trees' listening sockets."""
            self.whole = False
            """Whether every tree has had all its processes."""
            if greet:
                self.greet()
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end_app(self) -> None:
        self.app.kill()  # not reaped yet, so the pid is not reused
        self.app.wait(WAIT_S)
        assert self.app.stdin is not None
        assert self.app.stdout is not None
        self.app.stdin.close()
        self.app.stdout.close()

    def _end_ours(self) -> None:
        for pidfd in self.pidfds.values():
            send(pidfd, signal.SIGKILL)
            os.close(pidfd)

    def greet(self) -> Message:
        """Initialize the sidecar."""
        self.hello = self.client.hello(self.services)
        assert self.hello["pid"] == self.pids["supervisor"]
        self.contained = bool(self.hello["guarantees"]["controlGroup"])
        self.pids["keeper"] = keeper_of(self.pids["guard"])
        self.pidfds["keeper"] = os.pidfd_open(self.pids["keeper"])
        return self.hello

    def grow(self) -> Self:
        """Start every tree, and wait until each has all its processes."""
        self.client.start_all(self.services)
        self.await_whole()
        return self

    def await_whole(self) -> None:
        """Wait until each tree has all its processes."""
        for kind in self.services:
            members = self.roll.await_living(kind, SIZES[kind])
            if kind == "stopped":
                until(lambda: all(state_of(it.pid) == "T" for it in members), "a stopped tree")  # noqa: B023  at once
            if kind in WITH_PORTS:
                found = {inode for _, inode, _ in sockets.listeners(self.client.status(kind)["port"])}
                assert found or kind == VITE, "a listener listens before it is whole; Vite may still be starting"
                self.sockets |= found
        self.whole = True

    def strike(self, *hits: tuple[str, int]) -> None:
        """Send the signals back to back. At the same moment, the roots of ``fleeting`` trees exit."""
        self.roll.tell("fleeting", b"g", "root")
        for victim, number in hits:
            send(self.pidfds[victim], number)

    def order(self, word: str) -> None:
        """Tell the app to ``exit``, or to ``close`` the sidecar's stdin."""
        self.roll.tell("fleeting", b"g", "root")
        assert self.app.stdin is not None
        self.app.stdin.write(f"!{word}\n".encode())

    def await_ours_gone(self) -> None:
        """Wait until all of the sidecar's processes have ended."""
        for name, pidfd in self.pidfds.items():
            if name != "app":
                await_end(pidfd, f"the {name}")

    def assert_nothing_left(self) -> None:
        """Assert that no process of the trees or the sidecar is alive, and that the run has left no trace."""
        self.assert_nothing_left_alive()
        assert self.traces() == self.beside, sorted(self.traces() ^ self.beside)

    def assert_next_start_removes_the_rest(self) -> None:
        """Assert that nothing is alive, and that the next start removes a record, group or folder that may be left."""
        self.assert_nothing_left_alive()
        self.start_next()

    def start_next(self) -> None:
        """Start a second sidecar, which sweeps before it starts a service. Assert that no run leaves anything."""
        with Cell(self.state.parent, ("plain",), group=self.group, beside=self.beside) as second:
            second.grow().order("exit")
            second.assert_nothing_left()

    def traces(self) -> frozenset[str]:
        """Return the existing files and control groups of runs."""
        records, unpacked = (list(it.iterdir()) if it.exists() else [] for it in (self.state / "runs", self.unpacked))
        files = (str(it) for it in (*records, *unpacked) if not is_being_written(it))
        return frozenset(files) | frozenset(own_groups(self.group))

    def assert_nothing_left_alive(self) -> None:
        """Assert that the trees and all processes with the roll call's name are dead, and their sockets closed."""
        self.roll.await_dead()
        self.await_ours_gone()
        assert not self.whole or self.roll.seen >= sum(SIZES.get(kind, 0) for kind in self.services)
        until(
            lambda: set(marked(self.roll.name)) <= {self.app.pid},
            "the end of all processes with the roll call in their environment",
        )
        # the port itself may have been given to another program by now
        assert not self.sockets & {inode for _, _, inode, _ in sockets.all_listeners() or ()}

    def app_lives(self) -> bool:
        """Return whether the app lives."""
        return lives(self.pidfds["app"])


def _ours(launched: int) -> dict[str, int]:
    """Return the pids of the sidecar's processes. Each is the only child of the one before, apart from the keeper."""
    names = ["bootloader", "guard", "supervisor"] if BINARY else ["guard", "supervisor"]
    found = {names[0]: launched}
    for parent, name in pairwise(names):
        seen: list[int] = []

        def is_there(of: int = found[parent], seen: list[int] = seen) -> bool:
            """Return whether one child is not named keeper. A new keeper gets its name only after its fork."""
            all_of_it = [it.pid for it in processes.all_processes().values() if it.ppid == of]
            seen[:] = [pid for pid in all_of_it if name_of(pid) != KEEPER]
            return len(seen) == 1

        until(is_there, f"the {name}")
        [found[name]] = seen
    return found


def keeper_of(guard: int) -> int:
    """Wait for this guard's keeper; return its pid."""

    def keepers() -> list[int]:
        alive = [it.pid for it in processes.all_processes().values() if it.ppid == guard and not it.dead]
        return [pid for pid in alive if name_of(pid) == KEEPER]

    found: list[int] = []

    def is_there() -> bool:
        found[:] = keepers()
        return len(found) == 1

    until(is_there, "the keeper")
    return found[0]


def own_groups(group: str | None) -> list[str]:
    """Return the sidecars' control groups within the test's."""
    return [] if group is None else [it.name for it in Path(group).iterdir() if it.is_dir()]
