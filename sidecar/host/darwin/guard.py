"""The guard on macOS: as on Linux (``sidecar.host.linux.guard``), but nothing comes to it by itself.

It is no subreaper, so it follows the tree while it lives (``sidecar.host.darwin.kin``): whenever one of it forks,
kqueue says so, and the guard looks who is there. When the app, the supervisor or the bootloader dies, it stops and
kills whom it knows, and who has the run's cookie, until nothing is left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.host import bundle
from sidecar.host.darwin.ending import end_all
from sidecar.host.darwin.family import Family
from sidecar.host.darwin.kin import Process, System
from sidecar.host.darwin.notices import EVFILT_PROC, NOTE_EXIT, Notices
from sidecar.host.lifeline import BY_BOOTLOADER, ON_WATCH, Lifeline
from sidecar.host.shared import UNWATCHED
from sidecar.host.watchman import Watchman, leave_unable

BOOTLOADER_BOUND_S = 0.25
"""A killed bootloader is dead in a millisecond, or is in the kernel."""


class Watched:
    """Whose death is the run's end: identified before the guard forks, as a kqueue is not inherited."""

    __slots__ = ("app", "bootloader", "launched_by_app")

    def __init__(self, app: Process | None, bootloader: Process | None, *, launched_by_app: bool = True) -> None:
        """``None`` is not watched, or not there."""
        self.app = app
        self.bootloader = bootloader
        self.launched_by_app = launched_by_app


def identify(system: System, parent_pid: int | None, bootloader: int | None) -> Watched:
    """The app is ``parent_pid``, or else the process that launched us (the bootloader, if there is one).

    Raises ``ProcessLookupError`` if one of them is dead already.
    """
    above = None if bootloader is None else _alive(system, bootloader)
    launcher = os.getppid() if above is None else above.ppid
    if parent_pid == UNWATCHED:
        return Watched(None, above, launched_by_app=False)
    app = _alive(system, launcher if parent_pid is None else parent_pid)
    if above is not None and os.getppid() != above.pid:
        raise ProcessLookupError  # it died meanwhile, and the pid may be somebody else's
    if parent_pid is None and above is None and os.getppid() != app.pid:
        raise ProcessLookupError
    return Watched(app, above, launched_by_app=parent_pid is None)


def _alive(system: System, pid: int) -> Process:
    found = system.read(pid)
    if found is None or found.dead:
        raise ProcessLookupError
    return found


def watch(system: System, notices: Notices, process: Process, *, forks: bool = False) -> None:
    """Be told of exactly this process. Raises ``ProcessLookupError`` if it is dead."""
    notices.watch(process.pid, forks=forks)
    again = system.read(process.pid)
    if again is None or again.birth != process.birth:
        raise ProcessLookupError  # who has the pid now is registered, and says nothing that matters


def split(
    system: System,
    make_notices: Callable[[], Notices],
    watched: Watched,
    at_end: Callable[[bool], None] | None = None,
) -> Lifeline:
    """Fork. Returns in the child, the supervisor; the parent becomes the guard and never returns.

    The guard calls ``at_end`` when all below it is dead: what a killed supervisor could not do any more. It is told
    whether the app's death was the reason. Raises
    ``OSError`` if the system has no process to spare.
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
        guard = KqueueGuard(system, make_notices(), watched, child, lifeline_write, orders_read, since)
        return guard.watch(at_end)
    except OSError as error:
        leave_unable(error)


def youngest_child(system: System) -> int:
    """The birth of this process's youngest child; 0 if it has none.

    A script that starts a helper in the background, or a shell with ``2> >(tee log)``, and then becomes the sidecar by
    exec, leaves it its children. They are not of the tree, nor is who descends from them: all of ours come later.
    """
    children = (system.read(pid) for pid in system.children(os.getpid()))
    return max((it.birth for it in children if it is not None), default=0)


class KqueueGuard(Watchman):
    """The guard's single-threaded loop."""

    def __init__(
        self,
        system: System,
        notices: Notices,
        watched: Watched,
        supervisor: int,
        lifeline: int,
        orders: int,
        since: int = 0,
    ) -> None:
        """``notices`` is a queue of this process; for ``since`` see ``youngest_child``, for the rest ``split``."""
        super().__init__(supervisor, lifeline, orders)
        self._system = system
        self._notices = notices
        self._watched = watched
        self._gone: set[int] = set()
        """Pids of ``watched`` that are dead. They are told apart by what was registered, not by who has the pid now."""
        self._family = Family(system, notices, since=since)
        self._odd: set[int] = set()
        """Signals that came an odd number of times."""

    def watch(self, at_end: Callable[[bool], None] | None = None) -> NoReturn:
        """Wait for a death, then end everything below and leave."""
        wake = self._take_over()
        self._notices.read(wake)
        self._notices.read(self._orders)
        deadline: float | None = None
        for process in (self._watched.app, self._watched.bootloader):
            if process is not None:
                self._await(process)
        self._family.look()
        self._tell(ON_WATCH)  # no service is started before, so all of them are seen from their first fork on
        self._reap()  # it may have died before we had a handler
        while self._status is None:
            if deadline is None and self._is_gone(self._watched.app):
                deadline = time.monotonic() + self._grace_s
            if self._is_gone(self._watched.bootloader) or (deadline is not None and time.monotonic() >= deadline):
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = self._family.patience()
            told = self._notices.wait(min((it for it in (left, patience) if it is not None), default=None))
            for event in told:
                if event.filter == EVFILT_PROC:
                    if event.fflags & NOTE_EXIT:
                        self._note_exit(event.ident)
                elif event.ident == wake:
                    self._take_signals(wake)
                elif not self._take_orders():
                    self._notices.forget(self._orders)
            self._family.follow(told)
        self._end(at_end)

    def _await(self, process: Process) -> None:
        try:
            watch(self._system, self._notices, process)
        except ProcessLookupError:
            self._gone.add(process.pid)  # it died since it was identified, or its pid is another's

    def _note_exit(self, pid: int) -> None:
        if any(it is not None and it.pid == pid for it in (self._watched.app, self._watched.bootloader)):
            self._gone.add(pid)

    def _take_signal(self, number: int) -> None:
        """Every second one is taken for the bootloader's, where there is one, as nothing tells here who sent it.

        A bootloader passes on what it gets, also what the whole group gets: Ctrl-C comes twice, and is to count once.
        So the second of those that are sent to it alone does not insist yet.
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
        return self._family.everybody()

    def _end(self, at_end: Callable[[bool], None] | None) -> NoReturn:
        self._take_last_orders()
        self._family.run_id = self._run_id
        # The supervisor is ended last: it has seen the app's death, too, and ends the same tree. Whichever of us two is
        # killed in the middle of it, the other one finishes. One that is wedged, or starts programs still, loses.
        end_all(
            self._system,
            lambda: [it for it in self._tree() if it.pid != self._supervisor or self._status is not None],
        )
        if self._status is None:
            os.kill(self._supervisor, signal.SIGKILL)  # ours to reap, so the pid is its own
        for process in end_all(self._system, self._tree):
            say("error", f"process {process.pid} could not be ended; it is in the kernel, or another user's")
        self._remove_files()
        if self._status is None:
            self._await_supervisor()
        if self._watched.launched_by_app and self._is_gone(self._watched.app):
            self._end_bootloader()
        folder = bundle.unpacked_folder()
        if folder is not None and self._is_gone(self._watched.bootloader) and not bundle.remove(folder):
            say("warning", f"the unpacked folder {folder} could not be removed; the next start tries again")
        if at_end is not None:
            at_end(self._is_gone(self._watched.app))
        if self._watched.bootloader is not None and not self._is_gone(self._watched.bootloader):
            # while it lives it is our parent, and its pid its own; a stopped one (SIGSTOP) would stay for ever
            os.kill(os.getppid(), signal.SIGCONT)
        self._leave(app_gone=self._is_gone(self._watched.app))

    def _end_bootloader(self) -> None:
        """Nobody reads its exit code any more; and killed while it removes our folder, after us, it would leave it."""
        bootloader = self._watched.bootloader
        if bootloader is None or self._is_gone(bootloader):
            return
        if os.getppid() != bootloader.pid:
            self._gone.add(bootloader.pid)  # its notice is still to come
            return
        try:
            os.kill(bootloader.pid, signal.SIGKILL)  # while it is our parent, the pid is its own
        except ProcessLookupError:
            pass  # it died since we looked; its notice is still to come
        deadline = time.monotonic() + BOOTLOADER_BOUND_S
        while not self._is_gone(bootloader) and (left := deadline - time.monotonic()) > 0:
            for event in self._notices.wait(left):
                if event.filter == EVFILT_PROC and event.fflags & NOTE_EXIT:
                    self._note_exit(event.ident)

    def _await_supervisor(self) -> None:
        """Its death is certain, and may not be collectable yet: what is seen of it is gone before."""
        try:
            _, self._status = os.waitpid(self._supervisor, 0)
        except ChildProcessError:
            pass  # somebody has told the system not to keep zombies (SIGCHLD ignored by who launched us)
