"""The guard: the first process of ours, which does nothing but see to it that the tree never outlives the app.

``split`` forks at once, before any thread and any heavy import. The child goes on as the supervisor. The parent stays
here: it waits for the death of the app or of the supervisor, ends everything below itself, and leaves with
the supervisor's exit code. It is the pid that the app knows, so it also passes on signals.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.host import bundle
from sidecar.host.lifeline import BY_BOOTLOADER, ON_WATCH, ON_WATCH_WITH_GROUP, Lifeline
from sidecar.host.linux import cgroup, libc
from sidecar.host.linux.signals import open_signals, read_signals
from sidecar.host.linux.tree import (
    UNSEEN,
    Process,
    all_processes,
    below,
    has_children,
    is_gone,
    kill_until_empty,
    read_process,
    sees_itself,
    still_alive,
)
from sidecar.host.shared import UNWATCHED
from sidecar.host.watchman import Watchman, forwarded, leave_unable

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import NoReturn

GROUP_BOUND_S = 0.25
"""A killed group is empty in milliseconds, or holds a process in the kernel; what follows looks at each of them."""

BOOTLOADER_BOUND_MS = 250
"""A killed bootloader is dead in a millisecond, or is in the kernel."""

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, argument: int | bytes) -> None:
    """Set an attribute of this process.

    Raises ``OSError``. Source: prctl(2).
    """
    libc.call("prctl", option, argument, 0, 0, 0)


def watch_app(parent_pid: int | None, bootloader: int | None) -> int | None:
    """A pidfd of the app: of ``parent_pid``, or else of the process that launched us (``bootloader``, if there is one).

    ``None`` where it cannot be watched (the parent is outside of our pid namespace, or the kernel is older than 5.3).
    Raises ``ProcessLookupError`` if it is dead already.
    """
    pid = _launcher(bootloader) if parent_pid is None else parent_pid
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None  # EINVAL: pid 0 is UNWATCHED, or a parent outside of the namespace; ENOSYS: an old kernel
    if parent_pid is None and _launcher(bootloader) != pid:
        # it died between the two calls, and the pid may be somebody else's by now
        os.close(fd)
        raise ProcessLookupError
    return fd


def _launcher(bootloader: int | None) -> int:
    if bootloader is None:
        return os.getppid()
    if not sees_itself():
        return UNWATCHED  # only /proc says whose child the bootloader is; the end of stdin is noticed all the same
    process = read_process(bootloader)
    if process is None or os.getppid() != bootloader:
        raise ProcessLookupError
    return process.ppid


def watch_bootloader(pid: int | None) -> int | None:
    """A pidfd of it; ``None`` if there is none, or the kernel is too old. Raises ``ProcessLookupError`` if it died."""
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

    The guard calls ``at_end`` when all below it is dead: what a killed supervisor could not do any more. It is told
    whether the app's death was the reason.
    Raises ``ProcessLookupError`` if the app is dead already, ``OSError`` if the system has no process to spare.
    """
    pid = bundle.bootloader()
    app, bootloader = watch_app(parent_pid, pid), watch_bootloader(pid)
    before_us = inherited()
    lifeline_read, lifeline_write = os.pipe()
    orders_read, orders_write = os.pipe()
    guard_pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(lifeline_write)
        os.close(orders_read)
        # Until we listen to the lifeline, there is nothing that we would have to end; and with the guard our bootloader
        # goes, and the folder that we are being loaded from. See ``Guarded.await_guard``.
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
    """Pid and start of whoever is below this process before it has started anybody.

    A script that starts a helper in the background, or a shell with ``2> >(tee log)``, and then becomes the sidecar by
    exec, leaves it its children. They are not of the tree. Raises ``OSError`` where nobody can be looked at now.
    """
    if not has_children():
        return frozenset()  # as nearly always: no process has to be looked at
    return frozenset((it.pid, it.start) for it in below([os.getpid()], all_processes()))


class Guard(Watchman):
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

        ``before_us`` are left alone, with all that is below them: see ``inherited``.
        """
        super().__init__(supervisor, lifeline, orders)
        self._app = app
        self._bootloader = bootloader
        self._at_end = at_end
        self._before_us = before_us
        self._group: str | None = None
        """The control group's folder."""

    def watch(self, *, launched_by_app: bool) -> NoReturn:
        """Wait for a death, then end everything below and leave."""
        signals = self._take_over()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_NAME, b"sidecar-guard")
        self._group = cgroup.make(os.getpid(), self._supervisor)
        self._tell(ON_WATCH if self._group is None else ON_WATCH_WITH_GROUP)

        poll = select.poll()
        for fd in (signals, self._orders, self._app, self._bootloader):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        deadline: float | None = None
        self._reap()  # it may have died before we listened
        while self._status is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = [fd for fd, _ in poll.poll(left)]
            if signals in ready:
                self._take_signals(signals)
            if self._orders in ready and not self._take_orders():
                poll.unregister(self._orders)
            if self._app is not None and self._app in ready:
                poll.unregister(self._app)
                deadline = time.monotonic() + self._grace_s
            if self._bootloader in ready or (deadline is not None and time.monotonic() >= deadline):
                break
        self._end()
        if launched_by_app and is_dead(self._app):
            self._end_bootloader()
        self._tidy_up()
        if self._at_end is not None:
            self._at_end(is_dead(self._app))
        if self._bootloader is not None and not is_dead(self._bootloader):
            # while it lives it is our parent, and its pid its own; a stopped one (SIGSTOP) would stay for ever
            os.kill(os.getppid(), signal.SIGCONT)
        self._leave(app_gone=is_dead(self._app))

    def _open_signals(self) -> int:
        signals = open_signals((*forwarded(), signal.SIGCHLD))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if whoever launched us ignores it, the kernel would reap for us
        return signals

    def _take_signals(self, fd: int) -> None:
        for number, sender in read_signals(fd):
            if self._bootloader is not None and sender == os.getppid():
                self._tell(number | BY_BOOTLOADER)  # it passes on what it gets, also what the whole group gets
            else:
                self._take_signal(number)

    def _tree(self) -> list[Process]:
        self._reap()
        processes = all_processes()
        if self._before_us:
            processes = {it.pid: it for it in processes.values() if (it.pid, it.start) not in self._before_us}
        return below([os.getpid()], processes)

    def _is_alone(self) -> bool:
        """Whether the kernel has nobody below us; where we were left children, these would be the answer."""
        self._reap()
        return bool(self._before_us) or not has_children()

    def _end(self) -> None:
        """End everything below."""
        if self._group is not None:
            cgroup.kill_leaderless(self._group)
            cgroup.kill(self._group)
            cgroup.wait_empty(self._group, GROUP_BOUND_S)
        # Without a group the supervisor is ended last: it has seen the app's death, too, and ends the same tree.
        # Whichever of us two is killed in the middle of it, the other one finishes. One that is wedged, or starts
        # programs still, loses in the end. With a group it is dead by now, and so is all that it could have ended.
        left = kill_until_empty(
            lambda: [it for it in self._tree() if it.pid != self._supervisor or self._status is not None]
        )
        if self._status is None:
            os.kill(self._supervisor, signal.SIGKILL)
        given_up = {(it.pid, it.start) for it in left}  # these are not waited for once more
        left += kill_until_empty(
            lambda: [it for it in self._tree() if (it.pid, it.start) not in given_up],
            is_empty=lambda: bool(given_up) or self._is_alone(),
        )
        for process in left:
            if process is UNSEEN or not is_gone(process.pid, process.start):
                say("error", still_alive(process))

    def _end_bootloader(self) -> None:
        """The app was its parent, so that nobody reads its exit code any more, which is all that it is there for.

        It would remove our folder after our end. Killed in the middle of that, it would leave it.
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
        """Nothing is left that the next start would have to sweep."""
        if self._group is not None and not cgroup.remove(self._group):
            say("warning", f"the control group {self._group} is not empty; the next start removes it")
        folder = bundle.unpacked_folder()
        if folder is not None and is_dead(self._bootloader) and not bundle.remove(folder):
            say("warning", f"the unpacked folder {folder} could not be removed; the next start tries again")
        self._remove_files()


def is_dead(pidfd: int | None) -> bool:
    """Whether the process is known to be dead; not if it is not watched."""
    if pidfd is None:
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
