"""The host on macOS, which has no subreaper, parent-death signal or container.

``lineage`` decides which processes belong to a tree. ``kernel_events`` (kqueue) reports deaths and forks.
This module reaches the system only through ``System`` and ``KernelEvents``. So the tests run it on Linux, on real
processes, with a kqueue made of pidfds and the kernel's process events.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: sessions and groups

from msgspec import Struct

from sidecar.core.events import Launch, Owner
from sidecar.diagnostics import say
from sidecar.host import stdin_guard
from sidecar.host.base import (
    FOREIGN,
    NOBODY,
    UNKNOWN,
    Child,
    Claim,
    Ended,
    Members,
    as_owner,
    joined,
    of_services,
    refuse_pid_namespace,
)
from sidecar.host.darwin.descendants import Branch, Descendants
from sidecar.host.darwin.kernel_events import NOTE_EXIT, KernelEvents
from sidecar.host.darwin.kill import end_all, send
from sidecar.host.darwin.lineage import Lineage, Process, System
from sidecar.host.darwin.lsof import hides, listeners
from sidecar.host.darwin.sockets import holder_of, last_of, listeners_of, lives
from sidecar.host.posix import host
from sidecar.host.shared import RUN_ID, SERVICE, could_take, reached_at, takes_connections
from sidecar.protocol.messages import Guarantees, Holder
from sidecar.threads import start_thread


class _Tree(Struct):
    """A service's program and its descendants."""

    program: host.Program
    lineage: Lineage


class DarwinHost:
    """See ``sidecar.host.base.Host``."""

    def __init__(
        self, run_id: str, *, guarded: bool, parent_watched: bool, system: System, kernel_events: KernelEvents
    ) -> None:
        """Begin to follow the processes that we start."""
        self._run_id = run_id
        self._guarded = guarded
        self._parent_watched = parent_watched
        self._system = system
        self._trees: dict[str, _Tree] = {}
        self._lock = threading.RLock()
        """Held for each look, because a look changes the lineages. The main thread, ``_follow`` and probes look."""
        self._kernel_events = kernel_events
        self._descendants = Descendants(system, kernel_events, run_id)
        start_thread("lineage", self._follow)

    def guarantees(self) -> Guarantees:
        """See ``Host``."""
        return claims(guarded=self._guarded, parent_watched=self._parent_watched)

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program leads its own session. Its stdin is a pipe that ends when we die."""
        refuse_pid_namespace(service, launch)
        program, child = host.start(service, launch, {RUN_ID: self._run_id, SERVICE: service})
        with self._lock:
            me = self._descendants.me
            root = self._system.read(child.pid)  # no other process can have the pid before we reap the child
            self._trees[service] = _Tree(program, Lineage(root, since=me.birth, outside=me.sid))
            self._descendants.meet(child.pid, self._branches())
        return child

    def terminate(self, service: str, signal_name: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            host.ask(tree.program, signal.Signals[signal_name])

    def kill(self, service: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            tree.program.asked = None
            self._end_tree(service, tree)

    def reap(self) -> list[Ended]:
        """See ``Host``."""
        with self._lock:
            self._descendants.look(self._branches())  # before reaping: a zombie keeps its pid and its session's number
            dead = [service for service, tree in self._trees.items() if host.collect(tree.program)]
        for service in dead:
            tree = self._trees[service]
            if tree.program.asked is not None:
                self._ask_others(service, tree, tree.program.asked)
        gone = self._dead_trees()
        with self._lock:
            return [host.ended(service, self._trees.pop(service).program) for service in gone]

    def kill_all(self) -> None:
        """See ``Host``."""
        with self._lock:
            trees, self._trees = self._trees, {}
        for tree in trees.values():
            host.let_go(tree.program)

        def everybody() -> list[Process]:
            with self._lock:
                return self._descendants.everybody()

        self._end(everybody)

    def owns(self, service: str, address: str, port: int) -> Owner:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return "foreign"
        return as_owner(self._claim({service: tree}, None, port, lambda table: reached_at(table, address)))

    def owner_of(self, address: str, port: int) -> Claim:
        """See ``Host``. lsof does not show another user's listener, so we try to connect."""
        trees = dict(self._trees)
        claim = self._claim(trees, self._members_of(trees), port, lambda table: could_take(table, address))
        return FOREIGN if claim == NOBODY and takes_connections(address, port) else claim

    def _claim(
        self,
        trees: dict[str, _Tree],
        before: Members | None,
        port: int,
        choose: Callable[[list[tuple[str, int]]], list[tuple[str, int]]],
    ) -> Claim:
        """Tell who owns the sockets on the port that ``choose`` picks. Ask lsof if the kernel's table is not enough.

        ``before`` are the members before this call; ``None`` if a process that joins meanwhile may count as a member.
        """
        table = self._system.listeners()
        left: set[int] = set()
        if table is not None:
            last = {pid for _, pid in choose(last_of(table, port))}
            after = self._members_of(trees)
            claims, left = of_services(last, before or after, after)
            if not left:
                return joined(claims)
        shown = listeners(port)
        if shown is None:
            return FOREIGN if left and all(lives(self._system, it) for it in left) else UNKNOWN
        pids = {pid for _, pid in choose(shown)}
        after = self._members_of(trees)
        if not pids and hides(self._system, {pid for members in after.values() for pid, _ in members}):
            return UNKNOWN
        claims, others = of_services(pids, before or after, after)
        return joined({*claims, FOREIGN} if others or (left and not pids) else claims)

    def _members_of(self, trees: dict[str, _Tree]) -> Members:
        return {service: {(it.pid, it.birth) for it in self._members(service, tree)} for service, tree in trees.items()}

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return ()
        try:
            members = [it.pid for it in self._members(service, tree)]
            table = listeners_of(self._system, members)
        except OSError:
            return None  # EAGAIN, EMFILE: no look is possible now
        if table is None or (not table and hides(self._system, members)):
            return None
        return tuple(sorted({(address, port) for address, port, _ in table}))

    def holder(self, port: int) -> Holder | None:
        """See ``Host``."""
        return holder_of(self._system, port, self._run_id)

    def memory(self, service: str) -> int | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return None
        import psutil

        total = 0
        for process in self._members(service, tree):
            try:
                total += psutil.Process(process.pid).memory_info().rss
            except (psutil.Error, OSError):
                continue  # it has ended since; OSError: psutil passes on errors that it does not know (ENOMEM)
        return total

    def _follow(self) -> None:
        """A thread's body: look after each fork, so we know a process's children before it dies."""
        patience = None
        while True:
            told = self._kernel_events.wait(patience)
            with self._lock:
                looked = self._descendants.follow(told, self._branches())
                patience = self._descendants.patience()
                awaited = any(tree.program.asked is not None for tree in self._trees.values())
            if awaited and (looked or any(event.fflags & NOTE_EXIT for event in told)):
                # launchd reaps the orphans, so the kernel sends us no SIGCHLD for them. We send it to ourselves, and
                # the loop calls ``reap``. An event may come before its process shows as dead, so we repeat this after a
                # look.
                os.kill(os.getpid(), signal.SIGCHLD)

    def _branches(self) -> list[Branch]:
        """Return lineage and session of each tree. The caller holds the lock."""
        return [(tree.lineage, _session(tree)) for tree in self._trees.values()]

    def _members(self, service: str, tree: _Tree) -> list[Process]:
        """Return the program and what it started, by birth, session and cookie."""

        def marked(it: Process) -> bool:
            return self._descendants.has_cookie(it) and self._system.variable(it.pid, SERVICE) == service

        with self._lock:
            members = tree.lineage.look(self._system.processes(), marked, session=_session(tree))
        return [it for it in members if not it.dead]

    def _ask_others(self, service: str, tree: _Tree, number: signal.Signals) -> None:
        """Signal the processes of other sessions. The program ended as asked, but its signal did not reach these."""
        for process in self._members(service, tree):
            if process.sid != tree.program.popen.pid:
                try:
                    send(self._system, process, number)
                    send(self._system, process, signal.SIGCONT)
                except PermissionError:
                    pass  # another user's (set-id) process

    def _dead_trees(self) -> list[str]:
        dead = []
        for service, tree in self._trees.items():
            if tree.program.left:
                dead.append(service)
            elif tree.program.status is None:
                continue
            elif not self._members(service, tree):
                dead.append(service)
            elif not tree.program.asked:
                # it ended by itself, or was killed, so all of its tree must die
                self._end_tree(service, tree)
                dead.append(service)
        return dead

    def _end_tree(self, service: str, tree: _Tree) -> None:
        tree.program.left = self._end(lambda: self._members(service, tree))

    def _end(self, look: Callable[[], list[Process]]) -> tuple[int, ...]:
        left = end_all(self._system, look)
        for process in left:
            say("error", f"process {process.pid} could not be ended; it hangs in the kernel, or is another user's")
        return tuple(process.pid for process in left)


def claims(*, guarded: bool, parent_watched: bool) -> Guarantees:
    """Return what ``initialize`` claims. ``sidecar doctor`` uses this, too."""
    return Guarantees(
        platform="darwin",
        guard=guarded,
        subreaper=False,
        parent_death_signal=False,
        parent_watch="kqueue" if parent_watched else "none",
        control_group=False,
        job_object=False,
        run_cookie=True,
        stdin_guard=stdin_guard.exists(),
    )


def _session(tree: _Tree) -> int | None:
    """Return the program's session while its number is certain: until we reap the program."""
    return tree.program.popen.pid if tree.program.status is None else None
