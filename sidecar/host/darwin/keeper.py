"""The keeper on macOS; its theory of operation is in ``sidecar.host.posix.keeper``.

The keeper does not follow the tree while the guard lives: that would cost a second look at each fork. So it finds only
what a look at the end shows: descendants of the supervisor through living processes, processes in their sessions, and
processes with the run's cookie.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: signals

from sidecar.diagnostics import say
from sidecar.host.darwin.kill import end_all, send
from sidecar.host.darwin.lineage import Lineage, Process, System
from sidecar.host.posix.keeper import Keeping
from sidecar.host.shared import RUN_ID

GLANCE_S = 0.01
"""Seconds between two checks for the supervisor's end. It is not a child of the keeper, so no signal reports it."""


class DarwinKeeping(Keeping):
    """``app`` and ``bootloader`` are ``None`` if they are not watched, or do not exist."""

    def __init__(
        self,
        system: System,
        supervisor: Process,
        app: Process | None,
        bootloader: Process | None,
        at_end: Callable[[bool], None] | None,
        orders: int,
    ) -> None:
        """See ``Keeping``."""
        super().__init__(orders, at_end)
        self._system = system
        self._root = supervisor
        self._app = app
        self._bootloader = bootloader
        self._lineage = Lineage(supervisor, since=supervisor.birth, outside=supervisor.sid)

    def _begin(self) -> None:
        """Set up nothing: on macOS a process cannot be named, and no signal reports a parent's death."""

    def _await_end(self, deadline: float) -> None:
        while not self._supervisor_is_gone() and time.monotonic() < deadline:
            time.sleep(GLANCE_S)

    def _supervisor_is_gone(self) -> bool:
        return self._is_gone(self._root)

    def _bootloader_is_gone(self) -> bool:
        return self._bootloader is not None and self._is_gone(self._bootloader)

    def _app_is_gone(self) -> bool:
        return self._app is not None and self._is_gone(self._app)

    def _end_all(self) -> None:
        """Stop the supervisor first and kill it last: while it lives, the system shows it as its children's parent."""
        send(self._system, self._root, signal.SIGSTOP)
        left = end_all(self._system, self._below)
        send(self._system, self._root, signal.SIGKILL)
        for process in left:
            say("error", f"process {process.pid} could not be ended; it hangs in the kernel, or is another user's")

    def _below(self) -> list[Process]:
        found = self._lineage.look(self._system.processes(), self._has_cookie)
        return [it for it in found if it.birth != self._root.birth]

    def _has_cookie(self, process: Process) -> bool:
        return self._run_id != "" and self._system.variable(process.pid, RUN_ID) == self._run_id

    def _is_gone(self, process: Process) -> bool:
        now = self._system.read(process.pid)
        return now is None or now.dead or now.birth != process.birth
