"""macOS: no subreaper, no parent-death signal, no container.

``kin`` knows who belongs to a tree, and why; kqueue tells of deaths and forks (``notices``). Everything here works on
what it is given (``System``, ``Notices``). So the tests run it on Linux, on real processes, with a kqueue made of
pidfds and the kernel's process events.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: sessions and groups

from msgspec import Struct

from sidecar.diagnostics import say
from sidecar.events import Launch, Owner
from sidecar.host import posix
from sidecar.host.base import Child, Ended, refuse_pid_namespace
from sidecar.host.darwin.ending import end_all, send
from sidecar.host.darwin.family import Branch, Family
from sidecar.host.darwin.kin import Kin, Process, System
from sidecar.host.darwin.lsof import hides, holder_of, listeners, listeners_of
from sidecar.host.darwin.notices import NOTE_EXIT, Notices
from sidecar.host.programs import has_stdin_guard
from sidecar.host.shared import RUN_ID, SERVICE, reached_at
from sidecar.threads import start_thread
from sidecar.wire.messages import Guarantees, Holder


class _Tree(Struct):
    """A service's program, and who descends from it."""

    program: posix.Program
    kin: Kin


class DarwinHost:
    """See ``sidecar.host.base.Host``."""

    def __init__(self, run_id: str, *, guarded: bool, parent_watched: bool, system: System, notices: Notices) -> None:
        """Begin to follow whom we start."""
        self._run_id = run_id
        self._guarded = guarded
        self._parent_watched = parent_watched
        self._system = system
        self._trees: dict[str, _Tree] = {}
        self._lock = threading.RLock()
        """A look changes what is known; the main thread, the one that follows, and probes look."""
        self._notices = notices
        self._family = Family(system, notices, run_id)
        start_thread("kin", self._follow)

    def guarantees(self) -> Guarantees:
        """See ``Host``."""
        return claims(guarded=self._guarded, parent_watched=self._parent_watched)

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program leads a session of its own; its stdin is a pipe that ends when we do."""
        refuse_pid_namespace(service, launch)
        program, child = posix.start(service, launch, {RUN_ID: self._run_id, SERVICE: service})
        with self._lock:
            me = self._family.me
            root = self._system.read(child.pid)  # nobody else can have its pid: it is ours to reap
            self._trees[service] = _Tree(program, Kin(root, since=me.birth, outside=me.sid))
            self._family.meet(child.pid, self._branches())
        return child

    def terminate(self, service: str, signal_name: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            posix.ask(tree.program, signal.Signals[signal_name])

    def kill(self, service: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            tree.program.asked = None
            self._end_tree(service, tree)

    def reap(self) -> list[Ended]:
        """See ``Host``."""
        with self._lock:
            self._family.look(self._branches())  # while the dead hold their pids, and so their sessions' numbers
            dead = [service for service, tree in self._trees.items() if posix.collect(tree.program)]
        for service in dead:
            tree = self._trees[service]
            if tree.program.asked is not None:
                self._ask_others(service, tree, tree.program.asked)
        gone = self._dead_trees()
        with self._lock:
            return [posix.ended(service, self._trees.pop(service).program) for service in gone]

    def kill_all(self) -> None:
        """See ``Host``."""
        with self._lock:
            trees, self._trees = self._trees, {}
        for tree in trees.values():
            posix.let_go(tree.program)

        def everybody() -> list[Process]:
            with self._lock:
                return self._family.everybody()

        self._end(everybody)

    def owns(self, service: str, address: str, port: int) -> Owner:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return "foreign"
        table = listeners(port)
        if table is None:
            return "unknown"
        pids = {pid for _, pid in reached_at(table, address)}
        members = {it.pid for it in self._members(service, tree)}
        if not pids:
            return "unknown" if hides(self._system, members) else "foreign"
        return "ours" if pids <= members else "foreign"

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return ()
        try:
            members = [it.pid for it in self._members(service, tree)]
            table = listeners_of(members)
        except OSError:
            return None  # EAGAIN, EMFILE: nothing can be looked at now
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
            except psutil.Error:
                continue  # it went since the look
        return total

    def _follow(self) -> None:
        """A thread's body: look whenever somebody forks, so that his children are known before he is dead."""
        patience = None
        while True:
            told = self._notices.wait(patience)
            with self._lock:
                looked = self._family.follow(told, self._branches())
                patience = self._family.patience()
                awaited = any(tree.program.asked is not None for tree in self._trees.values())
            if awaited and (looked or any(event.fflags & NOTE_EXIT for event in told)):
                # launchd collects the orphans, so their deaths send us no SIGCHLD: ``reap`` is called as if they did.
                # A notice may come before its process is seen to be dead, so once more when we have looked again.
                os.kill(os.getpid(), signal.SIGCHLD)

    def _branches(self) -> list[Branch]:
        """Called with the lock held."""
        return [(tree.kin, _session(tree)) for tree in self._trees.values()]

    def _members(self, service: str, tree: _Tree) -> list[Process]:
        """The program, and what it started, by all that is known and by the cookie."""

        def marked(it: Process) -> bool:
            return self._family.has_cookie(it) and self._system.variable(it.pid, SERVICE) == service

        with self._lock:
            members = tree.kin.look(self._system.processes(), marked, session=_session(tree))
        return [it for it in members if not it.dead]

    def _ask_others(self, service: str, tree: _Tree, number: signal.Signals) -> None:
        """The program is dead, as asked. What it left in other sessions heard nothing, and nobody else tells it."""
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
                # it ended by itself, or was killed: nothing of it may live on
                self._end_tree(service, tree)
                dead.append(service)
        return dead

    def _end_tree(self, service: str, tree: _Tree) -> None:
        tree.program.left = self._end(lambda: self._members(service, tree))

    def _end(self, look: Callable[[], list[Process]]) -> tuple[int, ...]:
        left = end_all(self._system, look)
        for process in left:
            say("error", f"process {process.pid} could not be ended; it is in the kernel, or another user's")
        return tuple(process.pid for process in left)


def claims(*, guarded: bool, parent_watched: bool) -> Guarantees:
    """What ``initialize`` says, here and where ``sidecar doctor`` looks what it would."""
    return Guarantees(
        platform="darwin",
        guard=guarded,
        subreaper=False,
        parent_death_signal=False,
        parent_watch="kqueue" if parent_watched else "none",
        control_group=False,
        job_object=False,
        run_cookie=True,
        stdin_guard=has_stdin_guard(),
    )


def _session(tree: _Tree) -> int | None:
    """The program's session, as long as its number is surely its own."""
    return tree.program.popen.pid if tree.program.status is None else None
