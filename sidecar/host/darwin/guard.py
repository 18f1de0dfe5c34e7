"""The guard on macOS: as on Linux (``sidecar.host.linux.guard``), but orphans do not become its children.

Theory of operation
===================

**Which process runs this.** ``identify`` reads the app and the bootloader (pid and birth) in the launched process, then
``split`` forks. The child returns and becomes the supervisor. The parent calls ``KqueueGuard.watch`` on its only thread
and never returns.

**Set-up.** ``watch`` registers app and bootloader with its kqueue, looks at its descendants, forks the keeper and only
then sends ``ON_WATCH``. The supervisor waits for that byte (``DarwinSession._make_host``), so the guard follows each
service from its first fork on.

**What it waits for.** One ``kevent``: the ends of app and bootloader; forks, execs and ends of all descendants that it
knows; the wake-up pipe of the signal handlers; the pipe of orders. macOS has no subreaper, so the guard follows the
tree while it lives (``sidecar.host.darwin.lineage``). It looks at the whole process table at most once in ``LOOK_S``,
and only after a fork or an end.

**What it does when each one dies.**

- The supervisor dies: SIGCHLD comes, ``_reap`` keeps its status, and the guard ends the tree at once.
- The app dies: the supervisor gets the grace of its services, then the guard ends the tree.
- The bootloader dies: the guard ends the tree at once.
- The keeper dies: ``Kept`` forks another one, unless the keeper itself failed.
- The supervisor's stdin ends: the guard does not see it. ``DarwinSession.read_stdin`` ends a supervisor that hangs.
- The guard dies: the lifeline closes, and the supervisor ends the tree. If the supervisor hangs, the keeper ends what
  it finds. Unlike on Linux, no SIGCONT comes: a keeper that is stopped stays stopped.
- Guard and supervisor die together: the next start ends each process with the run's cookie
  (``sidecar.host.darwin.orphans``).

**The end.** ``_end`` stops and kills every known descendant and each process with the run's cookie, then kills the
supervisor and the keeper. It removes the record and the unpacked folder. ``_leave`` exits with the supervisor's code.

**Bounds.** ``KILL_BOUND_S`` for each of the two kill loops, ``BOOTLOADER_BOUND_S`` for the bootloader. The guard names
each process that survives the second loop.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.host import frozen
from sidecar.host.darwin.descendants import Descendants
from sidecar.host.darwin.keeper import DarwinKeeping
from sidecar.host.darwin.kernel_events import EVFILT_PROC, NOTE_EXIT, KernelEvents
from sidecar.host.darwin.kill import end_all
from sidecar.host.darwin.lineage import Process, System
from sidecar.host.posix.guard import leave_unable, wake_parent
from sidecar.host.posix.keeper import Kept
from sidecar.host.posix.lifeline import BY_BOOTLOADER, ON_WATCH, Lifeline
from sidecar.host.shared import UNWATCHED

BOOTLOADER_BOUND_S = 0.25
"""A killed bootloader is dead in a millisecond, unless it hangs in the kernel."""


class Watched:
    """App and bootloader: the death of either ends the run.

    They are identified before the fork, so that guard and supervisor register the same processes. A child inherits no
    kqueue, so each has its own.
    """

    __slots__ = ("app", "bootloader", "launched_by_app")

    def __init__(self, app: Process | None, bootloader: Process | None, *, launched_by_app: bool = True) -> None:
        """``None`` for a process that is not watched, or does not exist."""
        self.app = app
        self.bootloader = bootloader
        self.launched_by_app = launched_by_app


def identify(system: System, parent_pid: int | None, bootloader: int | None) -> Watched:
    """Identify app and bootloader. The app is ``parent_pid``, or else the process that launched us or our bootloader.

    Raises ``ProcessLookupError`` if one of them is dead already.
    """
    above = None if bootloader is None else _alive(system, bootloader)
    launcher = os.getppid() if above is None else above.ppid
    if parent_pid == UNWATCHED:
        return Watched(None, above, launched_by_app=False)
    app = _alive(system, launcher if parent_pid is None else parent_pid)
    if above is not None and os.getppid() != above.pid:
        raise ProcessLookupError  # it died since it was read, and another process may have the pid
    if parent_pid is None and above is None and os.getppid() != app.pid:
        raise ProcessLookupError
    return Watched(app, above, launched_by_app=parent_pid is None)


def _alive(system: System, pid: int) -> Process:
    found = system.read(pid)
    if found is None or found.dead:
        raise ProcessLookupError
    return found


def watch(system: System, kernel_events: KernelEvents, process: Process, *, forks: bool = False) -> None:
    """Register exactly this process. Raises ``ProcessLookupError`` if it is dead."""
    kernel_events.watch(process.pid, forks=forks)
    again = system.read(process.pid)
    if again is None or again.birth != process.birth:
        raise ProcessLookupError  # another process has the pid now, and is registered: its events are harmless


def split(
    system: System,
    make_kernel_events: Callable[[], KernelEvents],
    watched: Watched,
    at_end: Callable[[bool], None] | None = None,
) -> Lifeline:
    """Fork. Returns in the child, the supervisor; the parent becomes the guard and never returns.

    The guard calls ``at_end`` once everything below it is dead, to do what a killed supervisor cannot do. The argument
    says whether the app is dead. Raises ``OSError`` if the system has no process to spare.
    """
    since = youngest_child(system)
    lifeline_read, lifeline_write = os.pipe()
    orders_read, orders_write = os.pipe()
    guard_pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(lifeline_write)
        os.close(orders_read)
        return Lifeline(guard_pid, lifeline_read, orders_write, app=None, bootloader=None)
    os.close(lifeline_read)
    os.close(orders_write)
    try:
        guard = KqueueGuard(system, make_kernel_events(), watched, child, lifeline_write, orders_read, since)
        return guard.watch(at_end)
    except OSError as error:
        leave_unable(error)


def youngest_child(system: System) -> int:
    """Return the birth of this process's youngest child; 0 if it has none.

    A script may start a helper in the background and then become the sidecar by exec; so may a shell with
    ``2> >(tee log)``. The sidecar inherits these children. Neither they nor their descendants are part of the tree:
    each of our processes is born later.
    """
    children = (system.read(pid) for pid in system.children(os.getpid()))
    return max((it.birth for it in children if it is not None), default=0)


class KqueueGuard(Kept):
    """The guard's single-threaded loop."""

    def __init__(
        self,
        system: System,
        kernel_events: KernelEvents,
        watched: Watched,
        supervisor: int,
        lifeline: int,
        orders: int,
        since: int = 0,
    ) -> None:
        """``kernel_events`` is this process's queue. See ``youngest_child`` for ``since``, ``split`` for the rest."""
        super().__init__(supervisor, lifeline, orders)
        self._system = system
        self._kernel_events = kernel_events
        self._watched = watched
        self._gone: set[int] = set()
        """Pids of ``watched`` whose registered process is dead. Another process may have the pid now."""
        self._descendants = Descendants(system, kernel_events, since=since)
        self._odd: set[int] = set()
        """Numbers of the signals that came an odd number of times."""

    def watch(self, at_end: Callable[[bool], None] | None = None) -> NoReturn:
        """Wait for a death, then end everything below and leave."""
        wake = self._take_over()
        self._kernel_events.read(wake)
        self._kernel_events.read(self._orders)
        deadline: float | None = None
        for process in (self._watched.app, self._watched.bootloader):
            if process is not None:
                self._await(process)
        keep = self._keeping(at_end)
        self._descendants.look()
        frozen.seal()  # the guard loads nothing more
        if keep is not None:
            self._start_keeper(keep, (wake, self._lifeline, self._orders))
        self._tell(ON_WATCH)  # no service starts before this, so we follow each from its first fork on
        self._reap()  # the supervisor may have died before we had a handler
        while self._status is None:
            if deadline is None and self._is_gone(self._watched.app):
                deadline = time.monotonic() + self._grace_s
            if self._is_gone(self._watched.bootloader) or (deadline is not None and time.monotonic() >= deadline):
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = self._descendants.patience()
            told = self._kernel_events.wait(min((it for it in (left, patience) if it is not None), default=None))
            for event in told:
                if event.filter == EVFILT_PROC:
                    if event.fflags & NOTE_EXIT:
                        self._note_exit(event.ident)
                elif event.ident == wake:
                    self._take_signals(wake)
                    if keep is not None:
                        self._start_keeper(keep, (wake, self._lifeline, self._orders))
                elif not self._take_orders():
                    self._kernel_events.forget(self._orders)
            self._descendants.follow(told)
        self._end(at_end)

    def _keeping(self, at_end: Callable[[bool], None] | None) -> Callable[[int], DarwinKeeping] | None:
        """Return a function that makes a keeper from its pipe; ``None`` if the supervisor is dead already."""
        supervisor = self._system.read(self._supervisor)
        if supervisor is None:
            return None
        return partial(DarwinKeeping, self._system, supervisor, self._watched.app, self._watched.bootloader, at_end)

    def _await(self, process: Process) -> None:
        try:
            watch(self._system, self._kernel_events, process)
        except ProcessLookupError:
            self._gone.add(process.pid)  # it died since it was identified; another process may have the pid

    def _note_exit(self, pid: int) -> None:
        if any(it is not None and it.pid == pid for it in (self._watched.app, self._watched.bootloader)):
            self._gone.add(pid)

    def _take_signal(self, number: int) -> None:
        """Count every second signal of the same number as the bootloader's: macOS does not name the sender.

        A bootloader forwards each signal, even one that the whole group gets. So Ctrl-C comes twice and must count
        once. If signals are sent to the bootloader alone, the second one does not count as a repeat yet.
        """
        if number == signal.SIGCHLD or self._watched.bootloader is None:
            super()._take_signal(number)
            return
        self._odd ^= {number}
        self._tell(number if number in self._odd else number | BY_BOOTLOADER)

    def _is_gone(self, process: Process | None) -> bool:
        return process is not None and process.pid in self._gone

    def _tree(self) -> list[Process]:
        self._reap()
        return self._descendants.everybody()

    def _end(self, at_end: Callable[[bool], None] | None) -> NoReturn:
        self._take_last_orders()
        self._descendants.run_id = self._run_id
        # Supervisor and keeper die last: if we are killed now, they finish this. The supervisor has seen the app's
        # death, too, and kills the same tree. A supervisor that hangs, or still starts programs, dies in the next step.
        end_all(
            self._system,
            lambda: [it for it in self._tree() if it.pid not in self._enders()],
        )
        for pid in self._enders():
            os.kill(pid, signal.SIGKILL)  # only we reap it, so the pid is its own
        for process in end_all(self._system, self._tree):
            say("error", f"process {process.pid} could not be ended; it hangs in the kernel, or is another user's")
        self._remove_files()
        if self._status is None:
            self._await_supervisor()
        if self._watched.launched_by_app and self._is_gone(self._watched.app):
            self._end_bootloader()
        folder = frozen.unpacked_folder()
        if folder is not None and self._is_gone(self._watched.bootloader) and not frozen.remove(folder):
            say("warning", f"the unpacked folder {folder} could not be removed; the next start tries again")
        if at_end is not None:
            at_end(self._is_gone(self._watched.app))
        if self._watched.bootloader is not None and not self._is_gone(self._watched.bootloader):
            wake_parent(self._watched.bootloader.pid)
        self._leave(app_gone=self._is_gone(self._watched.app))

    def _end_bootloader(self) -> None:
        """Kill the bootloader once the app, its parent, is dead: no process reads its exit code. Its folder is ours."""
        bootloader = self._watched.bootloader
        if bootloader is None or self._is_gone(bootloader):
            return
        if os.getppid() != bootloader.pid:
            self._gone.add(bootloader.pid)  # it is dead; its event has not come yet
            return
        try:
            os.kill(bootloader.pid, signal.SIGKILL)  # while it is our parent, the pid is its own
        except ProcessLookupError:
            pass  # it died since the check; its event has not come yet
        deadline = time.monotonic() + BOOTLOADER_BOUND_S
        while not self._is_gone(bootloader) and (left := deadline - time.monotonic()) > 0:
            for event in self._kernel_events.wait(left):
                if event.filter == EVFILT_PROC and event.fflags & NOTE_EXIT:
                    self._note_exit(event.ident)

    def _await_supervisor(self) -> None:
        """Reap the supervisor. It is dead for the last look, but WNOHANG may not have found its zombie yet."""
        try:
            _, self._status = os.waitpid(self._supervisor, 0)
        except ChildProcessError:
            pass  # the launcher ignores SIGCHLD, so the system keeps no zombies
