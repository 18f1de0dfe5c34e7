"""The supervisor's watch on Windows: the app, and each launcher of ours between the app and us, such as a bootloader.

Theory of operation
===================

**Which process runs this.** The supervisor. Windows has no guard: ``WindowsHost`` puts the supervisor into a job, and
the system kills everything in the job when the supervisor dies.

**Threads.** The main thread runs the loop. One thread *session* runs ``watch``, another one waits for the messages of a
log-off (``sidecar.host.windows.logoff``). The thread *requests* runs ``read_stdin``. The thread *record* runs
``begin_record``, ``sweep`` and ``keep_record``. The system calls the console's handler on a thread of its own.

**What it waits for.** ``watch`` waits for the first end among the app and the launchers, through handles: while we hold
a handle, no other process gets that pid.

**What it does when each one dies.**

- The app or a launcher dies, or stdin ends: ``AppGone`` goes into the inbox, and the core ends the tree. If the loop
  hangs, ``_end_if_wedged`` exits after the grace and ``WEDGED_S``, and the job ends the tree.
- The console closes, the user logs off or the machine shuts down: ``_end_in_time`` reports a SIGTERM, and in a one-file
  binary a second one before the bootloader kills us.
- A service dies: a handle or its job tells ``WindowsHost``, which reaps on the main thread.
- The supervisor dies: the system closes the job's last handle and kills the tree.

**Bounds.** The grace and ``WEDGED_S`` after a death; ``CONSOLE_CLOSED_S`` and ``SESSION_ENDS_S``, less ``OWN_END_S``,
under a one-file bootloader. A supervisor that is suspended as a whole has no bound: no other process of ours runs.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

import msgspec

from sidecar.exit_codes import EXIT_APP_GONE
from sidecar.host import frozen
from sidecar.host.base import Host, SignalledTo
from sidecar.host.one_file import OneFilePrograms
from sidecar.host.shared import UNWATCHED
from sidecar.host.windows import logoff, orphans, winapi
from sidecar.host.windows.host import WindowsHost
from sidecar.host.windows.processes import below, identify, open_process, parent_of, variable
from sidecar.protocol.messages import Guarantees, ServiceReady, ServiceState, SupervisorSwept
from sidecar.state import run_record
from sidecar.state.record_writer import RecordWriter
from sidecar.threads import start_thread

CTRL_C_EVENT = 0
CTRL_BREAK_EVENT = 1
"""After each event with a higher number (console closed, log-off, shutdown) the system ends us."""

CONSOLE_CLOSED_S = 0.5
SESSION_ENDS_S = 1.0
"""A one-file bootloader calls TerminateProcess on us after these times (pyi_utils_win32.c of PyInstaller 6, both named
``grace_period``). Without a bootloader the system's own limit of some seconds holds."""
OWN_END_S = 0.3
"""The part of these times that we need after the last service is dead, for the record and the interpreter's end."""

WEDGED_S = 5.0
"""Added to the grace of the services: the loop needs milliseconds to end."""


class WindowsSession:
    """See ``sidecar.host.base.Session``."""

    def __init__(self, parent_pid: int | None) -> None:
        """Open a handle of the app: ``parent_pid``, or else the process that launched us.

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
        self._record_writer = RecordWriter(identify, OneFilePrograms(below, variable, identify).tend)

    @property
    def watches_app(self) -> bool:
        """Whether we see the app's death."""
        return self._app is not None

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """See ``Session``. Python's handlers cannot run: the main thread waits in a lock."""
        self._child_died = child_died

        def handle(event: int) -> bool:
            if event > CTRL_BREAK_EVENT:
                _end_in_time(seen, CONSOLE_CLOSED_S)
                threading.Event().wait()  # never return: the system would end us now, not after some seconds
            seen({CTRL_C_EVENT: signal.SIGINT, CTRL_BREAK_EVENT: signal.SIGBREAK}[event])
            return True

        winapi.on_console_event(handle)
        start_thread("session", lambda: logoff.watch(lambda: _end_in_time(seen, SESSION_ENDS_S)))

    def make_host(self, run_id: str) -> Host:
        """See ``Session``."""
        self._run_id = run_id
        return WindowsHost(run_id, parent_watched=self.watches_app, child_died=self._child_died)

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """See ``Session``. No signals are forwarded here. If the loop hangs, exit: the job then ends the tree."""
        del forwarded
        watched = [*([] if self._app is None else [(self._app, "the app has ended")]), *self._launchers]
        if not watched:
            return
        handles = [handle for handle, _ in watched]
        index = _winapi.WaitForMultipleObjects(handles, False, winapi.INFINITE) - _winapi.WAIT_OBJECT_0
        gone(watched[index][1])
        self._end_if_wedged()

    def read_stdin(self, read: Callable[[], None]) -> None:
        """See ``Session``."""
        read()
        self._end_if_wedged()

    def _end_if_wedged(self) -> NoReturn:
        time.sleep(self._grace_s + WEDGED_S)
        os._exit(EXIT_APP_GONE)

    def announce_grace(self, ms: int) -> None:
        """See ``Session``. There is no guard; ``_end_if_wedged`` uses it."""
        self._grace_s = ms / 1000

    def begin_record(self, guarantees: Guarantees) -> None:
        """See ``Session``."""
        me = identify(os.getpid())
        if me is None:
            raise ProcessLookupError(errno.ESRCH, "the system does not show this process")
        app = None if self._app is None else run_record.Identity(winapi.pid_of(self._app), winapi.created(self._app))
        record = run_record.RunRecord(
            run_id=self._run_id, boot_id="", owners=(me,), app=app, guarantees=msgspec.to_builtins(guarantees)
        )
        self._record_writer.begin(run_record.run_path(self._run_id), record)

    def sweep(self) -> SupervisorSwept | None:
        """See ``Session``."""
        return orphans.end(orphans.find())

    def keep_record(self) -> None:
        """See ``Session``."""
        self._record_writer.keep()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """See ``Session``."""
        self._record_writer.note(told)

    def let_go(self) -> None:
        """See ``Session``. We use the files of a killed bootloader while we run, so the next start removes them."""
        self._record_writer.close()


def _end_in_time(seen: Callable[[int], None], bootloader_s: float) -> None:
    """Ask for a stop. Under a one-file bootloader, ask again before it kills us: a second SIGTERM kills the tree."""
    seen(signal.SIGTERM)
    if frozen.unpacked_folder() is not None:
        time.sleep(bootloader_s - OWN_END_S)
        seen(signal.SIGTERM)


def _climb() -> tuple[list[tuple[int, str]], int | None]:
    """Open handles of our launchers above us, nearest first, and of the process that launched the topmost one.

    Each launcher's handle comes with the message for its end. Raises ``ProcessLookupError`` if a launcher is dead.
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
        elif frozen.unpacked_folder() is not None:
            raise ProcessLookupError  # the bootloader is dead, and another process has its pid
    return held, None if above is None else above[1]


def _own_launchers() -> list[tuple[str, str]]:
    """Return our programs that start us and wait for our end, nearest first: the path, and the message for its end.

    They may outlive the app, so they cannot stand in for it: the app is the process that started the topmost one.
    """
    if frozen.unpacked_folder() is not None:
        return [(sys.executable, "the bootloader has ended")]
    found = []
    if not _is(_winapi.GetCurrentProcess(), sys.executable):
        # a virtual environment's python.exe only starts the Python that the environment was made from
        found.append((sys.executable, "the virtual environment's python.exe has ended"))
    script = getattr(sys.modules["__main__"].__loader__, "archive", None)
    if script is not None:
        # pip's sidecar.exe starts Python with the script that is packed into it
        found.append((script, f"{os.path.basename(script)} has ended"))
    return found


def _is(process: int, program: str) -> bool:
    """Tell whether the process runs that program."""
    try:
        return os.path.samefile(winapi.image(process), program)
    except OSError:
        return False  # one of the files is gone, or cannot be read
