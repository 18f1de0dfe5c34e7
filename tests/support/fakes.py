"""A host in memory. It passes the same contract suite as the real ones (tests/host/test_contract.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count

from msgspec import Struct

from sidecar.core.events import Launch, Owner
from sidecar.errors import ProcessSpawnFailedError
from sidecar.host.base import FOREIGN, UNKNOWN, Child, Claim, Ended, joined
from sidecar.host.shared import could_take, plain_address
from sidecar.protocol.messages import Guarantees, Holder

PROGRAM = "program"
"""The only program here. It takes the words of tests/children/program.py."""

RESIDENT = 1 << 20
"""The resident memory of each process."""


class _Process(Struct):
    pid: int
    in_group: bool = True
    ignores: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    listens: tuple[tuple[str, int], ...] = ()


class _Tree(Struct):
    """A service's processes. The first one is the root."""

    root: int
    stdout: int
    stderr: int
    living: dict[int, _Process]
    code: int | None = None
    signal: str | None = None
    reaped: bool = False
    """The root has died, and ``reap`` has seen that."""
    asked: str | None = None


class FakeHost:
    """See ``sidecar.host.base.Host``. A program does at once what its words say, then lives until it is killed."""

    def __init__(self, child_signal: Callable[[], None] = lambda: None) -> None:
        """Call ``child_signal`` when a process dies. It stands for the kernel's SIGCHLD."""
        self._child_signal = child_signal
        self._pids = count(1000)
        self.trees: dict[str, _Tree] = {}
        self.foreign: dict[tuple[str, int], Holder] = {}
        """Listeners of other programs, by address and port."""
        self.blind = False
        """Whether this system hides the owners of sockets."""
        self.done: list[tuple[str, str]] = []
        """The calls so far, in order: (what, service)."""

    def guarantees(self) -> Guarantees:
        """Claim no guarantee: nothing here is real."""
        return Guarantees("fake", False, False, False, "none", False, False, False, False)

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``."""
        self.done.append(("spawn", service))
        if launch.argv[0] != PROGRAM:
            raise ProcessSpawnFailedError(f"{launch.argv[0]} is no program here.", service=service)
        stdout, out = os.pipe()
        stderr, err = os.pipe()
        root = _Process(next(self._pids))
        tree = self.trees[service] = _Tree(root.pid, out, err, {root.pid: root})
        self._live(tree, root, iter(launch.argv[1:]))
        return Child(root.pid, stdout, stderr)

    def terminate(self, service: str, signal: str) -> None:
        """See ``Host``."""
        self.done.append((signal, service))
        tree = self.trees.get(service)
        if tree is None:
            return
        tree.asked = signal
        if not tree.reaped:
            self._ask(tree, signal, in_group=True)

    def kill(self, service: str) -> None:
        """See ``Host``."""
        self.done.append(("kill", service))
        tree = self.trees.get(service)
        if tree is not None:
            tree.asked = None
            self._kill(tree)

    def reap(self) -> list[Ended]:
        """See ``Host``."""
        ended = []
        for service, tree in list(self.trees.items()):
            if not tree.reaped and tree.root not in tree.living:
                tree.reaped = True
                if tree.asked is not None:
                    self._ask(tree, tree.asked, in_group=False)
            if tree.reaped and tree.asked is None:
                self._kill(tree)
            if not tree.living:
                del self.trees[service]
                ended.append(Ended(service, tree.code, tree.signal))
        return ended

    def kill_all(self) -> None:
        """See ``Host``."""
        self.done.append(("kill all", ""))
        for tree in self.trees.values():
            self._kill(tree)
        self.trees.clear()

    def owns(self, service: str, address: str, port: int) -> Owner:
        """See ``Host``."""
        tree = self.trees.get(service)
        if tree is None:
            return "foreign"
        if self.blind:
            return "unknown"
        wildcards = {"::"} if ":" in address else {"0.0.0.0", "::"}
        own = [at for it in tree.living.values() for at, number in it.listens if number == port]
        reached = address in own or ((address, port) not in self.foreign and bool(wildcards & set(own)))
        return "ours" if reached else "foreign"

    def owner_of(self, address: str, port: int) -> Claim:
        """See ``Host``."""
        self.done.append(("owner", f"{address} {port}"))
        ours = [
            (*where, Claim("service", service))
            for service, tree in list(self.trees.items())
            for it in list(tree.living.values())
            for where in it.listens
        ]
        sockets = [*ours, *((*where, FOREIGN) for where in self.foreign)]
        claims = [it[2] for it in could_take((it for it in sockets if it[1] == port), address)]
        return UNKNOWN if self.blind and claims else joined(claims)

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """See ``Host``."""
        tree = self.trees.get(service)
        if tree is None:
            return ()
        if self.blind:
            return None
        return tuple(sorted({where for it in tree.living.values() for where in it.listens}))

    def holder(self, port: int) -> Holder | None:
        """See ``Host``."""
        for tree in self.trees.values():
            for process in tree.living.values():
                if any(number == port for _, number in process.listens):
                    return Holder(process.pid, PROGRAM, "fake", ours=False)
        return next((holder for (_, number), holder in self.foreign.items() if number == port), None)

    def memory(self, service: str) -> int | None:
        """See ``Host``."""
        tree = self.trees.get(service)
        return None if tree is None else len(tree.living) * RESIDENT

    def _live(self, tree: _Tree, process: _Process, words: Iterator[str]) -> None:
        rest = list(words)
        while rest:
            word, _, value = rest.pop(0).partition(":")
            match word:
                case "print":
                    os.write(tree.stdout, value.encode() + b"\n")
                case "err":
                    os.write(tree.stderr, value.encode() + b"\n")
                case "exit":
                    self._die(tree, process, code=int(value))
                    return
                case "die":
                    self._die(tree, process, signal=value)
                    return
                case "ignore":
                    process.ignores += (value,)
                case "report":
                    process.reports += (value,)
                case "child":
                    child = _Process(next(self._pids), True, process.ignores, process.reports)
                    tree.living[child.pid] = child
                    self._live(tree, child, iter(rest))
                case "daemon":
                    daemon = _Process(next(self._pids), False, process.ignores, process.reports)
                    tree.living[daemon.pid] = daemon
                case "listen":
                    address, _, port = value.partition("=")
                    process.listens += ((plain_address(address), int(port)),)
                case "grandchild":
                    address, _, port = value.partition("=")
                    below = _Process(next(self._pids), listens=((plain_address(address), int(port)),))
                    tree.living[below.pid] = below
                case "hold":
                    return
        self._die(tree, process, code=0)

    def _ask(self, tree: _Tree, signal: str, *, in_group: bool) -> None:
        for process in [it for it in tree.living.values() if it.in_group == in_group]:
            if signal in process.reports:
                os.write(tree.stdout, f"got {signal}\n".encode())
                self._die(tree, process, code=0)
            elif signal not in process.ignores:
                self._die(tree, process, signal=signal)

    def _die(self, tree: _Tree, process: _Process, code: int | None = None, signal: str | None = None) -> None:
        del tree.living[process.pid]
        if process.pid == tree.root:
            tree.code, tree.signal = code, signal
        if not tree.living:
            os.close(tree.stdout)
            os.close(tree.stderr)
        self._child_signal()

    def _kill(self, tree: _Tree) -> None:
        for process in list(tree.living.values()):
            self._die(tree, process, signal="SIGKILL")
