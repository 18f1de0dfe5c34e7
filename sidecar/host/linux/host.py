"""The host on Linux: subreaper, parent-death signal, trees and socket owners from /proc."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.core.events import Launch, Owner
from sidecar.diagnostics import say
from sidecar.host import stdin_guard
from sidecar.host.base import FOREIGN, NOBODY, UNKNOWN, Child, Claim, Ended, as_owner, joined
from sidecar.host.linux.processes import (
    Process,
    all_processes,
    belonging,
    below,
    has_children,
    is_gone,
    kill_until_empty,
    once_seen,
    read_process,
    sees_itself,
    send,
    still_alive,
    variable,
)
from sidecar.host.linux.sockets import all_listeners, holder_of, possibly_of, sockets_of
from sidecar.host.linux.syscalls import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from sidecar.host.posix import host
from sidecar.host.shared import RUN_ID, SERVICE, could_take, reached_at
from sidecar.protocol.messages import Guarantees, Holder

LOOKS = 3
"""How often to look for a socket's owner. If the socket closes during one look, no process shows it, and it may have
been a service's. If that happens in each look, it is a stranger's: otherwise another user could hide behind sockets
that it opens and closes."""


class LinuxHost:
    """The real host; see ``sidecar.host.base.Host``."""

    def __init__(self, run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> None:
        """Become a subreaper, so orphans of our children become our children."""
        self._run_id = run_id
        self._guarded = guarded
        self._parent_watched = parent_watched
        self._contained = contained
        self._trees: dict[str, host.Program] = {}
        self._given_up: set[tuple[int, int]] = set()
        """Pid and start of each process that survived a kill. A later stop does not wait for it again."""
        self._before_exec = _death_with_parent(os.getpid())
        self._sees = sees_itself()
        self._subreaper = _become_subreaper()
        if not self._sees:
            say(
                "warning",
                "/proc is missing, or another pid namespace's: processes that leave a service's process group cannot "
                "be found. Mount /proc in the sandbox that this runs in (unshare --mount-proc, bwrap --proc /proc)",
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
            stdin_guard=stdin_guard.exists(),
        )

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program leads its own session. Its stdin is a pipe that ends when we die."""
        marks = {RUN_ID: self._run_id, SERVICE: service}
        if launch.pid_namespace:
            from sidecar.host.linux import pidns

            self._trees[service], child = pidns.start(service, launch, marks, self._before_exec)
        else:
            self._trees[service], child = host.start(service, launch, marks, self._before_exec)
        return child

    def terminate(self, service: str, signal_name: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            host.ask(tree, signal.Signals[signal_name])

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
        return [host.ended(service, self._trees.pop(service)) for service in self._dead_trees()]

    def _bury(self) -> None:
        """Reap the dead, and keep the status of each program.

        This also runs in the middle of a kill. The first process of a pid namespace dies only after all others in it
        are gone, and we may have to reap some of them.
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
        trees, self._trees = self._trees, {}  # once they are reaped below, we must not signal their pids
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
        return as_owner(self._whose({service: tree}, reached_at((it for it in table if it[1] == port), address)))

    def owner_of(self, address: str, port: int) -> Claim:
        """See ``Host``."""
        for _ in range(LOOKS):
            found = _could_take(address, port)
            if found is None:
                return UNKNOWN
            # a copy, because the main thread starts and ends services meanwhile; made after the table was read, so it
            # has every service with a socket in the table
            claim = self._whose(dict(self._trees), found)
            if claim != FOREIGN or {it[2] for it in found} <= {it[2] for it in _could_take(address, port) or ()}:
                return claim
        return FOREIGN

    def _whose(self, trees: dict[str, host.Program], listeners: list[tuple[str, int, str, int]]) -> Claim:
        """Tell which owner has all of these sockets.

        The kernel never reuses an inode, so the tree that has it now had it when the table was read. But it reuses
        pids: the sockets of a process count only if it is still the same process afterwards.
        """
        users = {inode: uid for _, _, inode, uid in listeners}
        if not users:
            return NOBODY
        if not trees:
            return FOREIGN
        if not self._sees:
            return UNKNOWN  # /proc is another pid namespace's: our pids are other processes' there
        for service, tree in trees.items():
            # nearly always the program itself listens, so no other process has to be read
            if tree.status is None and users.keys() <= sockets_of(tree.popen.pid) and _is_our_child(tree.popen.pid):
                return Claim("service", service)
        processes = all_processes()
        claims: set[Claim] = set()
        members: list[int] = []
        left = dict(users)
        for service, tree in trees.items():
            for process in self._members(service, tree, processes):
                members.append(process.pid)
                theirs = users.keys() & sockets_of(process.pid)
                if theirs and not is_gone(process.pid, process.start):
                    claims.add(Claim("service", service))
                    left = {inode: uid for inode, uid in left.items() if inode not in theirs}
        if left:
            claims.add(UNKNOWN if possibly_of(members, left) == left.keys() else FOREIGN)
        return joined(claims)

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
            return None  # EMFILE, ENFILE, ENOMEM: nothing can be read now
        return tuple(sorted(found))

    def holder(self, port: int) -> Holder | None:
        """See ``Host``."""
        try:
            return holder_of(port, self._run_id)
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: nothing can be read now, and the holder is only for a message

    def memory(self, service: str) -> int | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return None
        import psutil

        try:
            members = self._members(service, tree, all_processes())
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: nothing can be read now
        total = 0
        for process in members:
            try:
                total += psutil.Process(process.pid).memory_info().rss
            except psutil.Error:
                continue  # it has gone since the scan
        return total

    def _ask_others(self, service: str, tree: host.Program, number: signal.Signals) -> None:
        """Signal the processes that the program left in other sessions.

        The program ended as asked, but the signal to its group did not reach them.
        """
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
            members = once_seen(partial(self._members, service, tree, processes))
            if all(process.dead for process in members) and self._holds_nobody():
                dead.append(service)
            elif not tree.asked:
                # it ended by itself, or was killed, so all of its tree must die. Our next child signal looks again.
                self._kill_members(service, tree)
                dead.append(service)
        return dead

    def _kill_members(self, service: str, tree: host.Program) -> None:
        def members() -> list[Process]:
            self._bury()
            return self._members(service, tree, all_processes())

        left = kill_until_empty(members, is_empty=self._holds_nobody)
        _report(left)
        tree.left = tuple(process.pid for process in left)
        self._given_up |= {(process.pid, process.start) for process in left}

    def _holds_nobody(self) -> bool:
        """Tell whether the kernel agrees that a dead program left no process below us.

        If there are several services, or processes that survived a kill, the kernel cannot say. Then this is ``True``.
        """
        self._given_up = {it for it in self._given_up if not once_seen(partial(is_gone, *it))}
        return len(self._trees) > 1 or bool(self._given_up) or self._is_alone()

    def _members(self, service: str, tree: host.Program, processes: dict[int, Process]) -> list[Process]:
        """Return the program, its descendants, and the orphans that it left to us."""
        me = os.getpid()
        root = tree.popen.pid
        # a copy: probes call this from their threads while the main thread starts and ends services
        roots = {other.popen.pid for other in list(self._trees.values()) if other.status is None}
        orphans = [
            process
            for process in processes.values()
            if process.ppid == me and process.pid not in roots and (process.pid, process.start) not in self._given_up
        ]
        own = [processes[root]] if tree.status is None and root in processes else []
        top = [*own, *belonging(orphans, processes, partial(self._left_by, service, root))]
        return [*top, *below([process.pid for process in top], processes)]

    def _left_by(self, service: str, root: int, orphan: Process) -> bool | None:
        """Tell whether the service has left this orphan to us; ``None`` if the process shows no variable of ours."""
        if orphan.sid == root or len(self._trees) == 1:
            return True
        found = variable(orphan.pid, SERVICE)
        return None if found is None else found == service


def _could_take(address: str, port: int) -> list[tuple[str, int, str, int]] | None:
    table = all_listeners()
    return None if table is None else could_take((it for it in table if it[1] == port), address)


def _is_our_child(pid: int) -> bool:
    """Tell whether the pid is still our child's. Then no other process has had it since we started that child."""
    process = read_process(pid)
    return process is not None and process.ppid == os.getpid()


def _become_subreaper() -> bool:
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        say("warning", f"this process cannot be a subreaper: {error.strerror}")
        return False
    return True


def _death_with_parent(parent: int) -> Callable[[], None]:
    """Make the function that a child runs before exec. It asks the kernel for SIGKILL when our main thread dies."""
    import ctypes

    libc = ctypes.CDLL(None)
    number = int(signal.SIGKILL)

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)  # the parent died before we asked the kernel

    return before_exec


def _kill_group(tree: host.Program) -> None:
    """Kill most of a tree by one system call, before the scan that finds the rest."""
    if tree.status is None:  # else the group's number may be another group's by now
        try:
            os.killpg(tree.popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # all of the group are zombies, or have become another user's


def _report(left: list[Process]) -> None:
    for process in left:
        say("error", still_alive(process))
