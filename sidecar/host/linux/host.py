"""Linux: subreaper, parent-death signal, process trees from /proc, socket owners from /proc/net and /proc/<pid>/fd."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.events import Launch, Owner
from sidecar.host import posix
from sidecar.host.base import Child, Ended
from sidecar.host.linux.guard import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG
from sidecar.host.linux.sockets import all_listeners, holder_of, possibly_of, sockets_of
from sidecar.host.linux.tree import (
    Process,
    all_processes,
    below,
    has_children,
    is_gone,
    kill_until_empty,
    once_seen,
    sees_itself,
    send,
    still_alive,
    variable,
)
from sidecar.host.programs import has_stdin_guard
from sidecar.host.shared import RUN_ID, SERVICE, reached_at
from sidecar.wire.messages import Guarantees, Holder


class LinuxHost:
    """The real host; see ``sidecar.host.base.Host``."""

    def __init__(self, run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> None:
        """Become a subreaper, so that what our children leave behind stays below us."""
        self._run_id = run_id
        self._guarded = guarded
        self._parent_watched = parent_watched
        self._contained = contained
        self._trees: dict[str, posix.Program] = {}
        self._given_up: set[tuple[int, int]] = set()
        """Who has outlived a kill: pid and start. A later service's stop is not to wait for them once more."""
        self._before_exec = _death_with_parent(os.getpid())
        self._sees = sees_itself()
        self._subreaper = _become_subreaper()
        if not self._sees:
            say(
                "warning",
                "/proc is missing, or another pid namespace's: what leaves a service's process group is not found "
                "there. Mount it in the sandbox that this runs in (unshare --mount-proc, bwrap --proc /proc)",
            )

    def guarantees(self) -> Guarantees:
        """See ``Host``."""
        return Guarantees(
            platform="linux",
            guard=self._guarded and self._sees,
            subreaper=self._subreaper and self._sees,
            parent_death_signal=True,
            parent_watch="pidfd" if self._parent_watched else "none",
            control_group=self._contained,
            job_object=False,
            run_cookie=True,
            stdin_guard=has_stdin_guard(),
        )

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program leads a session of its own; its stdin is a pipe that ends when we do."""
        marks = {RUN_ID: self._run_id, SERVICE: service}
        if launch.pid_namespace:
            from sidecar.host.linux import pidns

            self._trees[service], child = pidns.start(service, launch, marks, self._before_exec)
        else:
            self._trees[service], child = posix.start(service, launch, marks, self._before_exec)
        return child

    def terminate(self, service: str, signal_name: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            posix.ask(tree, signal.Signals[signal_name])

    def kill(self, service: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            tree.asked = None
            _kill_group(tree)
            self._kill_members(service, tree)

    def reap(self) -> list[Ended]:
        """See ``Host``."""
        self._bury()
        return [posix.ended(service, self._trees.pop(service)) for service in self._dead_trees()]

    def _bury(self) -> None:
        """Collect the dead, and keep how programs ended.

        Also in the middle of a kill: the first process of a pid namespace dies only after all that are in it, and some
        may be ours to bury.
        """
        statuses: dict[int, int] = {}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break  # no child is left at all
            if pid == 0:
                break
            statuses[pid] = status
        for service, tree in self._trees.items():
            if tree.status is None and tree.popen.pid in statuses:
                tree.status = statuses[tree.popen.pid]
                tree.popen.returncode = os.waitstatus_to_exitcode(tree.status)  # Popen must not wait for it again
                if tree.asked is not None:
                    self._ask_others(service, tree, tree.asked)

    def kill_all(self) -> None:
        """See ``Host``."""
        trees, self._trees = self._trees, {}  # reaped below, their pids are no longer ours to signal
        for tree in trees.values():
            _kill_group(tree)
            tree.popen.returncode = -signal.SIGKILL  # Popen must not wait for it
            os.close(tree.stdin)

        def everything() -> list[Process]:
            self._bury()
            return below([os.getpid()], all_processes())

        _report(kill_until_empty(everything, is_empty=self._is_alone))

    def _is_alone(self) -> bool:
        self._bury()
        return not has_children()

    def owns(self, service: str, address: str, port: int) -> Owner:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return "foreign"
        table = all_listeners()
        if table is None:
            return "unknown"
        users = {it[2]: it[3] for it in reached_at((it for it in table if it[1] == port), address)}
        if not users:
            return "foreign"  # no socket listens there
        if not self._sees:
            return "unknown"  # /proc is another pid namespace's: our pids are other processes' there
        if tree.status is None and users.keys() <= sockets_of(tree.popen.pid):
            return "ours"  # nearly always the program itself listens: then no other process has to be looked at
        pids = [it.pid for it in self._members(service, tree, all_processes())]
        for pid in pids:
            theirs = sockets_of(pid)
            users = {inode: uid for inode, uid in users.items() if inode not in theirs}
            if not users:
                return "ours"
        return "unknown" if possibly_of(pids, users) == users.keys() else "foreign"

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return ()
        try:
            table = all_listeners()
            if table is None or not self._sees:
                return None
            pids = [it.pid for it in self._members(service, tree, all_processes())]
            theirs = set().union(*map(sockets_of, pids))
            found = {(address, port) for address, port, inode, _ in table if inode in theirs}
            if not found and possibly_of(pids, {inode: uid for _, _, inode, uid in table}):
                return None
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: nothing can be looked at now
        return tuple(sorted(found))

    def holder(self, port: int) -> Holder | None:
        """See ``Host``."""
        try:
            return holder_of(port, self._run_id)
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: nobody can be looked for now, and it is only to be named

    def memory(self, service: str) -> int | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return None
        import psutil

        try:
            members = self._members(service, tree, all_processes())
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: nothing can be looked at now
        total = 0
        for process in members:
            try:
                total += psutil.Process(process.pid).memory_info().rss
            except psutil.Error:
                continue  # it went since the scan
        return total

    def _ask_others(self, service: str, tree: posix.Program, number: signal.Signals) -> None:
        """The program is dead, as asked. What it left in other sessions heard nothing, and nobody else tells it."""
        for process in once_seen(lambda: self._members(service, tree, all_processes())):
            if process.sid != tree.popen.pid:
                try:
                    send(process, number)
                    send(process, signal.SIGCONT)
                except OSError:
                    pass  # EPERM: another user's (set-id) process; EMFILE: it is killed after the grace

    def _dead_trees(self) -> list[str]:
        dead: list[str] = []
        processes: dict[int, Process] | None = None
        for service, tree in self._trees.items():
            if tree.left:
                dead.append(service)
                continue
            if tree.status is None:
                continue
            processes = once_seen(all_processes) if processes is None else processes
            members = once_seen(lambda s=service, t=tree, p=processes: self._members(s, t, p))  # type: ignore[misc]
            if all(process.dead for process in members) and self._holds_nobody():
                dead.append(service)
            elif not tree.asked:
                # it ended by itself, or was killed: nothing of it may live on. Our next child signal looks again.
                self._kill_members(service, tree)
                dead.append(service)
        return dead

    def _kill_members(self, service: str, tree: posix.Program) -> None:
        def members() -> list[Process]:
            self._bury()
            return self._members(service, tree, all_processes())

        left = kill_until_empty(members, is_empty=self._holds_nobody)
        _report(left)
        tree.left = tuple(process.pid for process in left)
        self._given_up |= {(process.pid, process.start) for process in left}

    def _holds_nobody(self) -> bool:
        """Whether the kernel agrees that a dead program has left nobody: of several services it cannot say whose."""
        # of whom nothing is waited for any more, the kernel says "somebody" too, until they are dead
        self._given_up = {it for it in self._given_up if not once_seen(lambda who=it: is_gone(*who))}  # type: ignore[misc]
        return len(self._trees) > 1 or bool(self._given_up) or self._is_alone()

    def _members(self, service: str, tree: posix.Program, processes: dict[int, Process]) -> list[Process]:
        """The program, its descendants, and the orphans that it left to us."""
        me = os.getpid()
        root = tree.popen.pid
        # a copy: probes call this from their threads while the main thread starts and ends services
        roots = {other.popen.pid for other in list(self._trees.values()) if other.status is None}
        orphans = [
            process
            for process in processes.values()
            if process.ppid == me
            and process.pid not in roots
            and (process.pid, process.start) not in self._given_up
            and self._left_by(process, service, root)
        ]
        own = [processes[root]] if tree.status is None and root in processes else []
        top = [*own, *orphans]
        return [*top, *below([process.pid for process in top], processes)]

    def _left_by(self, orphan: Process, service: str, root: int) -> bool:
        if orphan.sid == root or len(self._trees) == 1:
            return True
        return variable(orphan.pid, SERVICE) == service


def _become_subreaper() -> bool:
    from sidecar.host.linux.guard import prctl

    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        say("warning", f"this process cannot be a subreaper: {error.strerror}")
        return False
    return True


def _death_with_parent(parent: int) -> Callable[[], None]:
    """What a child does before exec: ask the kernel for SIGKILL when our main thread dies."""
    import ctypes

    libc = ctypes.CDLL(None)
    number = int(signal.SIGKILL)

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)  # we died before the kernel knew of the wish

    return before_exec


def _kill_group(tree: posix.Program) -> None:
    """Most of a tree, by one system call, before the scan that finds the rest."""
    if tree.status is None:  # else the group's number may be somebody else's by now
        try:
            os.killpg(tree.popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # all of the group are zombies, or have become another user's


def _report(left: list[Process]) -> None:
    for process in left:
        say("error", still_alive(process))
