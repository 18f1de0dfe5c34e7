"""What a supervisor on Windows hangs on: the app, and what stands between it and us, such as a bootloader.

There is no guard: see host.py. They are watched through handles, which keep their pids from being used anew.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

import msgspec

from sidecar.host import bundle, records
from sidecar.host.base import Host, SignalledTo
from sidecar.host.ledger import Ledger
from sidecar.host.shared import EXIT_APP_GONE, UNWATCHED
from sidecar.host.windows import session, sweep, winapi
from sidecar.host.windows.host import WindowsHost
from sidecar.host.windows.processes import identify, open_process, parent_of
from sidecar.threads import start_thread
from sidecar.wire.messages import Guarantees, ServiceReady, ServiceState, SupervisorSwept

CTRL_C_EVENT = 0
CTRL_BREAK_EVENT = 1
"""After what comes next (the console is closed, the user logs off, the machine is shut down) the system ends us."""

WEDGED_S = 5.0
"""Beside the grace of the services the loop needs milliseconds to end: it is waited for no longer."""


class Unguarded:
    """See ``sidecar.host.base.Tether``."""

    def __init__(self, parent_pid: int | None) -> None:
        """Hold the app: ``parent_pid``, or else the process that launched us.

        Raises ``ProcessLookupError`` if it is dead.
        """
        self._launchers, launched_by = _climb()
        if parent_pid == UNWATCHED:
            self._app = None
        else:
            self._app = launched_by if parent_pid is None else open_process(parent_pid)
        self._child_died: Callable[[], None] = lambda: None
        self._grace_s = 0.0
        self._run_id = ""
        self._ledger = Ledger(identify)

    @property
    def watches_app(self) -> bool:
        """Whether its death will be seen."""
        return self._app is not None

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """See ``Tether``. Not by Python's own means: its main thread waits in a lock, where it does not hear of any."""
        self._child_died = child_died

        def handle(event: int) -> bool:
            number = {CTRL_C_EVENT: signal.SIGINT, CTRL_BREAK_EVENT: signal.SIGBREAK}.get(event, signal.SIGTERM)
            seen(number)
            if event > CTRL_BREAK_EVENT:
                threading.Event().wait()  # the system gives us some seconds, unless we return
            return True

        winapi.on_console_event(handle)
        start_thread("session", lambda: session.watch(lambda: seen(signal.SIGTERM)))

    def make_host(self, run_id: str) -> Host:
        """See ``Tether``."""
        self._run_id = run_id
        return WindowsHost(run_id, parent_watched=self.watches_app, child_died=self._child_died)

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """See ``Tether``. Nobody forwards anything here. Should the loop be wedged, our own end is the tree's."""
        del forwarded
        watched = [*([] if self._app is None else [(self._app, "the app has ended")]), *self._launchers]
        if not watched:
            return
        handles = [handle for handle, _ in watched]
        index = _winapi.WaitForMultipleObjects(handles, False, winapi.INFINITE) - _winapi.WAIT_OBJECT_0
        gone(watched[index][1])
        time.sleep(self._grace_s + WEDGED_S)
        os._exit(EXIT_APP_GONE)

    def announce_grace(self, ms: int) -> None:
        """See ``Tether``: there is no guard, but ``watch``."""
        self._grace_s = ms / 1000

    def begin_record(self, guarantees: Guarantees) -> None:
        """See ``Tether``."""
        me = identify(os.getpid())
        if me is None:
            raise ProcessLookupError(errno.ESRCH, "the system does not show this process")
        app = None if self._app is None else records.Identity(winapi.pid_of(self._app), winapi.created(self._app))
        record = records.RunRecord(
            run_id=self._run_id, boot_id="", owners=(me,), app=app, guarantees=msgspec.to_builtins(guarantees)
        )
        self._ledger.begin(records.run_path(self._run_id), record)

    def sweep(self) -> SupervisorSwept | None:
        """See ``Tether``."""
        return sweep.end(sweep.find())

    def keep_record(self) -> None:
        """See ``Tether``."""
        self._ledger.keep()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """See ``Tether``."""
        self._ledger.note(told)

    def let_go(self) -> None:
        """See ``Tether``. The files of a killed bootloader are in use while we run, so the next start removes them."""
        self._ledger.close()


def _climb() -> tuple[list[tuple[int, str]], int | None]:
    """Handles: of what of ours stands above us, each with what its end is called, and of who launched that.

    Raises ``ProcessLookupError`` if one of them is dead.
    """
    held = []
    above = parent_of(os.getpid(), _winapi.GetCurrentProcess())
    for program, cause in _own_launchers():
        if above is None:
            break
        pid, process = above
        if _is(process, program):
            held.append((process, cause))
            above = parent_of(pid, process)
        elif bundle.unpacked_folder() is not None:
            raise ProcessLookupError  # the bootloader is dead, and its pid is another's now
    return held, None if above is None else above[1]


def _own_launchers() -> list[tuple[str, str]]:
    """Programs of ours that start us, and wait for our end, the nearest first: the path, and what its end is called.

    They outlive the app, so that to watch them is to watch nobody.
    """
    if bundle.unpacked_folder() is not None:
        return [(sys.executable, "the bootloader has ended")]
    found = []
    if not _is(_winapi.GetCurrentProcess(), sys.executable):
        # in a virtual environment that is not Python itself, but what starts the one that the environment was made by
        found.append((sys.executable, "the virtual environment's python.exe has ended"))
    script = getattr(sys.modules["__main__"].__loader__, "archive", None)
    if script is not None:
        # sidecar.exe, as pip makes it, has Python run what is packed into it
        found.append((script, f"{os.path.basename(script)} has ended"))
    return found


def _is(process: int, program: str) -> bool:
    """Whether it is what the process runs."""
    try:
        return os.path.samefile(winapi.image(process), program)
    except OSError:
        return False  # one of the files is gone, or nobody's
