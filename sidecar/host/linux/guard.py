"""The guard on Linux: the process that the app launched. It ends the tree when the app or the supervisor dies.

Theory of operation
===================

**Which process runs this.** ``split`` runs in the launched process, before any thread exists and before any heavy
import. It opens pidfds of the app and of the bootloader, then forks. The child returns and becomes the supervisor. The
parent calls ``Guard.watch`` on its only thread and never returns. The app knows the guard's pid, so the guard forwards
signals to the supervisor.

**Set-up.** ``watch`` releases the app's pipes, turns signals into a descriptor, becomes a subreaper, puts the
supervisor into a control group, forks the keeper and only then sends ``ON_WATCH``. The supervisor waits for that byte
(``LinuxSession.await_guard``), so every service starts below a complete guard.

**What it waits for.** One ``poll``: the signal descriptor, the pipe of orders, the pidfds of app and bootloader and,
once the supervisor asks for it, the end of the supervisor's stdin. The guard sets no timer before one of them ends.

**What it does when each one dies.**

- The supervisor dies: ``_reap`` keeps its status, and the guard ends the tree at once.
- The app dies: the supervisor gets the grace of its services, then the guard ends the tree.
- The supervisor's stdin ends: the same, with ``STDIN_BOUND_S`` added to the grace.
- The bootloader dies: the guard ends the tree at once.
- The keeper dies: ``Kept`` forks another one, unless the keeper failed by itself.
- The guard dies: the lifeline closes, and the supervisor ends the tree. The kernel sends SIGCONT to supervisor and
  keeper (PDEATHSIG), so neither sleeps through it. If the supervisor hangs, the keeper ends the tree.
- Guard and supervisor die together: the kernel kills the supervisor's direct children (PDEATHSIG) and all pid
  namespaces. The next start ends the rest (``sidecar.host.linux.orphans``).

**The end.** ``_end`` kills the control group first, then every process below the guard, and the supervisor and the
keeper last: if the guard is killed meanwhile, they finish its work. ``_tidy_up`` removes the group, the unpacked folder
and the run's record. ``_leave`` exits with the supervisor's code. What services have unpacked is removed after that, by
another process (``sidecar.host.one_file``).

**Bounds.** ``GROUP_BOUND_S`` for the group, ``KILL_BOUND_S`` for each of the two kill loops, ``ENDERS_BOUND_S`` between
them, ``BOOTLOADER_BOUND_MS`` for the bootloader. The guard names each process that survives them.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.host import frozen
from sidecar.host.linux import cgroup
from sidecar.host.linux.keeper import Charge, LinuxKeeping
from sidecar.host.linux.processes import (
    RESCAN_S,
    UNSEEN,
    Process,
    all_processes,
    below,
    children_of_ours,
    has_children,
    is_gone,
    kill_until_empty,
    read_process,
    sees_itself,
    still_alive,
)
from sidecar.host.linux.syscalls import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_NAME,
    PR_SET_PDEATHSIG,
    is_dead,
    open_signals,
    prctl,
    read_signals,
)
from sidecar.host.posix.guard import forwarded, leave_unable
from sidecar.host.posix.keeper import Kept
from sidecar.host.posix.lifeline import BY_BOOTLOADER, ON_WATCH, ON_WATCH_WITH_GROUP, WATCH_STDIN, Lifeline
from sidecar.host.shared import UNWATCHED

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import NoReturn

GROUP_BOUND_S = 0.25
"""A killed group is empty in milliseconds, unless a process hangs in the kernel. After this bound we kill by pid."""

ENDERS_BOUND_S = 0.05
"""A killed supervisor or keeper is dead in a millisecond. After this bound we look at the tree all the same."""

BOOTLOADER_BOUND_MS = 250
"""A killed bootloader is dead in a millisecond, unless it hangs in the kernel."""

STDIN_BOUND_S = 2.0
"""Added to the grace after the end of stdin. The supervisor handles the client's last requests first, so it gets more
time than after a death."""


def watch_app(parent_pid: int | None, bootloader: int | None) -> int | None:
    """Open a pidfd of the app: ``parent_pid``, or else our parent, or the parent of our ``bootloader``.

    ``None`` if the app cannot be watched (it is outside of our pid namespace, or the kernel is older than 5.3).
    Raises ``ProcessLookupError`` if the app is dead already.
    """
    pid = _launcher(bootloader) if parent_pid is None else parent_pid
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None  # EINVAL: pid 0 is UNWATCHED, or a parent outside of the namespace; ENOSYS: an old kernel
    if parent_pid is None and _launcher(bootloader) != pid:
        # the app died between the two calls, and another process may have the pid
        os.close(fd)
        raise ProcessLookupError
    return fd


def _launcher(bootloader: int | None) -> int:
    if bootloader is None:
        return os.getppid()
    if not sees_itself():
        return UNWATCHED  # only /proc names the bootloader's parent; we still see the end of stdin
    process = read_process(bootloader)
    if process is None or os.getppid() != bootloader:
        raise ProcessLookupError
    return process.ppid


def watch_bootloader(pid: int | None) -> int | None:
    """Open a pidfd of the bootloader; ``None`` if there is no bootloader, or the kernel is too old.

    Raises ``ProcessLookupError`` if the bootloader is dead.
    """
    if pid is None:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None  # ENOSYS: a kernel older than 5.3
    if os.getppid() != pid:
        os.close(fd)
        raise ProcessLookupError
    return fd


def split(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Lifeline:
    """Fork. Returns in the child, the supervisor; the parent becomes the guard and never returns.

    The guard calls ``at_end`` once everything below it is dead, to do what a killed supervisor cannot do. The argument
    says whether the app is dead.

    Raises ``ProcessLookupError`` if the app is dead already, ``OSError`` if the system has no process to spare.
    """
    pid = frozen.bootloader()
    app, bootloader = watch_app(parent_pid, pid), watch_bootloader(pid)
    before_us = inherited()
    lifeline_read, lifeline_write = os.pipe()
    orders_read, orders_write = os.pipe()
    guard_pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(lifeline_write)
        os.close(orders_read)
        # No service runs yet. If the guard dies now, the bootloader removes the folder that we load modules from, so we
        # have to die, too. ``LinuxSession.await_guard`` replaces this once we read the lifeline.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return Lifeline(guard_pid, lifeline_read, orders_write, app, bootloader)
    os.close(lifeline_read)
    os.close(orders_write)
    try:
        guard = Guard(child, app, bootloader, lifeline_write, orders_read, at_end, before_us)
        return guard.watch(launched_by_app=parent_pid is None)
    except OSError as error:
        leave_unable(error)


def inherited() -> frozenset[tuple[int, int]]:
    """Return pid and start of each process below us. We have started none of them yet.

    A script may start a helper in the background and then become the sidecar by exec; so may a shell with
    ``2> >(tee log)``. The sidecar inherits these children. They are not part of the tree. Raises ``OSError`` if no
    process can be read now.
    """
    if not has_children():
        return frozenset()  # nearly always: no process has to be read
    return frozenset((it.pid, it.start) for it in below([os.getpid()], all_processes()))


class Guard(Kept):
    """The guard's single-threaded loop."""

    def __init__(
        self,
        supervisor: int,
        app: int | None,
        bootloader: int | None,
        lifeline: int,
        orders: int,
        at_end: Callable[[bool], None] | None = None,
        before_us: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        """``app`` and ``bootloader`` are pidfds, ``lifeline`` and ``orders`` our ends of the pipes; see ``split``.

        The guard leaves ``before_us`` alone, and everything below them: see ``inherited``.
        """
        super().__init__(supervisor, lifeline, orders)
        self._app = app
        self._bootloader = bootloader
        self._at_end = at_end
        self._before_us = before_us
        self._group: str | None = None
        """The control group's folder."""
        self._stdin: int | None = None
        """The supervisor's stdin."""
        self._stdin_asked = False
        """Whether the supervisor has ordered a watch on its stdin that has not begun yet."""
        self._stdin_ended = False

    def watch(self, *, launched_by_app: bool) -> NoReturn:
        """Wait for a death, then end everything below and leave."""
        self._stdin = _another(0)
        signals = self._take_over()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._take_name(b"sidecar-guard")
        self._group = cgroup.make(os.getpid(), self._supervisor)
        frozen.seal()  # the guard loads nothing more
        keep = partial(LinuxKeeping, Charge(self._supervisor, self._group, self._app, self._bootloader), self._at_end)
        not_its = [it for it in (signals, self._lifeline, self._orders, self._stdin) if it is not None]
        self._start_keeper(keep, not_its)  # before ON_WATCH, so before any service
        self._tell(ON_WATCH if self._group is None else ON_WATCH_WITH_GROUP)

        poll = select.poll()
        for fd in (signals, self._orders, self._app, self._bootloader):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        deadline: float | None = None
        self._reap()  # the supervisor may have died before SIGCHLD was blocked
        while self._status is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = [fd for fd, _ in poll.poll(left)]
            if signals in ready:
                self._take_signals(signals)
                self._start_keeper(keep, not_its)
            if self._orders in ready and not self._take_orders():
                poll.unregister(self._orders)
            if self._stdin_asked and self._stdin is not None:
                self._stdin_asked = False
                poll.register(self._stdin, 0)  # no POLLIN: the supervisor reads it; POLLHUP comes unasked
            if self._stdin is not None and self._stdin in ready:
                poll.unregister(self._stdin)
                self._stdin_ended = True
                deadline = _earlier(deadline, time.monotonic() + self._grace_s + STDIN_BOUND_S)
            if self._app is not None and self._app in ready:
                poll.unregister(self._app)
                deadline = _earlier(deadline, time.monotonic() + self._grace_s)
            if self._bootloader in ready or (deadline is not None and time.monotonic() >= deadline):
                break
        self._end()
        if launched_by_app and is_dead(self._app):
            self._end_bootloader()
        self._tidy_up()
        if self._at_end is not None:
            self._at_end(is_dead(self._app))
        if self._bootloader is not None and not is_dead(self._bootloader):
            # it lives, so it is our parent and the pid is its own; a stopped bootloader would never end without SIGCONT
            os.kill(os.getppid(), signal.SIGCONT)
        self._leave(app_gone=self._stdin_ended or is_dead(self._app))

    def _take_name(self, name: bytes) -> None:
        prctl(PR_SET_NAME, name)

    def _open_signals(self) -> int:
        signals = open_signals((*forwarded(), signal.SIGCHLD))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is inherited as ignored, the kernel would reap for us
        return signals

    def _take_signals(self, fd: int) -> None:
        for number, sender in read_signals(fd):
            if self._bootloader is not None and sender == os.getppid():
                self._tell(number | BY_BOOTLOADER)  # it forwards each signal, also one to the whole group
            else:
                self._take_signal(number)

    def _take_order(self, line: bytes) -> None:
        if line == WATCH_STDIN:
            self._stdin_asked = True
        else:
            super()._take_order(line)

    def _tree(self) -> list[Process]:
        self._reap()
        if not has_children():
            return []  # a subreaper without a child has nothing below it, so no process has to be read
        processes = all_processes()
        if self._before_us:
            processes = {it.pid: it for it in processes.values() if (it.pid, it.start) not in self._before_us}
        return below([os.getpid()], processes)

    def _all_but_enders(self) -> list[Process]:
        """Return everything below us but supervisor and keeper.

        Once the supervisor is dead and its control group was killed, hardly anything is left. If the kernel lists no
        child of ours but the keeper, nothing else is below us, and no process has to be read. Only reaping removes an
        entry of that list, and nobody but this thread reaps, so it misses none.
        """
        self._reap()
        if self._group is not None and self._status is not None and self._enders() == children_of_ours():
            return []
        return [it for it in self._tree() if it.pid not in self._enders()]

    def _await_enders(self) -> None:
        """Wait until supervisor and keeper are dead, within a bound: a look at the tree takes longer than they do."""
        deadline = time.monotonic() + ENDERS_BOUND_S
        while self._enders() and time.monotonic() < deadline:
            time.sleep(RESCAN_S)
            self._reap()

    def _is_alone(self) -> bool:
        """Tell whether we have no child left.

        Return ``True`` if we have inherited children: the kernel cannot tell them from ours.
        """
        self._reap()
        return bool(self._before_us) or not has_children()

    def _end(self) -> None:
        """End everything below the guard."""
        if self._group is not None:
            cgroup.kill_leaderless(self._group)
            cgroup.kill(self._group)
            cgroup.wait_empty(self._group, GROUP_BOUND_S)
        # Supervisor and keeper die last: if we are killed now, they finish this. The supervisor has seen the app's
        # death, too, and kills the same tree. A supervisor that hangs, or still starts programs, dies in the next step.
        # Where a control group was killed, the supervisor is dead by now.
        left = kill_until_empty(self._all_but_enders)
        for pid in self._enders():
            os.kill(pid, signal.SIGKILL)  # only we reap it, so the pid is its own
        if self._group is not None:
            self._await_enders()  # without a group more may be left, so look at once
        given_up = {(it.pid, it.start) for it in left}  # do not wait for these again
        left += kill_until_empty(
            lambda: [it for it in self._tree() if (it.pid, it.start) not in given_up],
            is_empty=lambda: bool(given_up) or self._is_alone(),
        )
        for process in left:
            if process is UNSEEN or not is_gone(process.pid, process.start):
                say("error", still_alive(process))

    def _end_bootloader(self) -> None:
        """Kill the bootloader once the app, its parent, is dead: no process reads its exit code.

        A living bootloader would remove our folder only after our end. If it were killed before that, the folder would
        stay. So we kill it now and remove the folder ourselves.
        """
        if self._bootloader is None:
            return
        try:
            signal.pidfd_send_signal(self._bootloader, signal.SIGKILL)
        except ProcessLookupError:
            return  # it is dead already
        poll = select.poll()
        poll.register(self._bootloader, select.POLLIN)
        poll.poll(BOOTLOADER_BOUND_MS)

    def _tidy_up(self) -> None:
        """Remove the group, the unpacked folder and the record, so that the next start has nothing to sweep."""
        if self._group is not None and not cgroup.remove(self._group):
            say("warning", f"the control group {self._group} is not empty; the next start removes it")
        folder = frozen.unpacked_folder()
        if folder is not None and is_dead(self._bootloader) and not frozen.remove(folder):
            say("warning", f"the unpacked folder {folder} could not be removed; the next start tries again")
        self._remove_files()


def _another(fd: int) -> int | None:
    """Duplicate ``fd``; ``None`` if it is closed."""
    try:
        return os.dup(fd)
    except OSError:
        return None  # EBADF: it was closed before we started


def _earlier(deadline: float | None, other: float) -> float:
    return other if deadline is None else min(deadline, other)
