"""The supervisor's side of the guard on macOS; ``sidecar.host.base.Session`` describes the methods.

It works as on Linux, with the same threads (``sidecar.host.linux.session`` has the theory of operation). Three things
differ. ``watch`` has its own kqueue, which reports the app's end. The guard's death sends no signal, so the keeper ends
a supervisor that is stopped then. The guard does not see the end of stdin: ``read_stdin`` gives the loop the grace and
``WEDGED_S``, then exits, and the guard ends the tree.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.exit_codes import EXIT_APP_GONE
from sidecar.host.base import Host
from sidecar.host.darwin import orphans
from sidecar.host.darwin.guard import Watched, watch
from sidecar.host.darwin.host import DarwinHost
from sidecar.host.darwin.kernel_events import EVFILT_PROC, KernelEvents
from sidecar.host.darwin.lineage import Process, System, below
from sidecar.host.posix.lifeline import Lifeline
from sidecar.host.posix.session import GuardedSession
from sidecar.protocol.messages import SupervisorSwept
from sidecar.state.run_record import Identity

WEDGED_S = 2.0
"""Added to the grace after the end of stdin: the loop needs milliseconds to end."""

GLANCE_S = 0.1
"""Seconds between two checks of a stopped guard: no event reports that it runs again."""


class DarwinSession(GuardedSession):
    """See ``sidecar.host.base.Session``."""

    def __init__(
        self,
        system: System,
        make_kernel_events: Callable[[], KernelEvents],
        lifeline: Lifeline,
        watched: Watched,
        boot_id: str,
    ) -> None:
        """Keep what ``split`` returned. ``boot_id`` tells this boot from all others."""
        super().__init__(lifeline)
        self._system = system
        self._make_kernel_events = make_kernel_events
        self._watched = watched
        self._this_boot = boot_id
        self._grace_s = 0.0

    def read_stdin(self, read: Callable[[], None]) -> None:
        """See ``Session``. Only we watch stdin here; the guard sees our exit and ends the tree.

        A stopped guard cannot. While it is stopped, only the loop can end the tree, so wait, however long that takes.
        """
        read()
        time.sleep(self._grace_s + WEDGED_S)
        while self._guard_is_stopped():
            time.sleep(GLANCE_S)
        os._exit(EXIT_APP_GONE)

    def announce_grace(self, ms: int) -> None:
        """See ``Session``."""
        self._grace_s = ms / 1000
        super().announce_grace(ms)

    def _make_host(self) -> Host:
        self._lifeline.order(b"run " + self._run_id.encode())
        os.read(self._lifeline.signals, 1)
        return DarwinHost(
            self._run_id,
            guarded=True,
            parent_watched=self._watched.app is not None,
            system=self._system,
            kernel_events=self._make_kernel_events(),
        )

    def _sources(self) -> Iterator[Literal["app", "lifeline"]]:
        kernel_events = self._make_kernel_events()
        kernel_events.read(self._lifeline.signals)
        if not self._register_app(kernel_events):
            yield "app"
        while True:
            for event in kernel_events.wait():
                yield "app" if event.filter == EVFILT_PROC else "lifeline"

    def _guard_is_stopped(self) -> bool:
        guard = self._system.read(self._lifeline.guard_pid)
        return guard is not None and guard.stopped and os.getppid() == guard.pid

    def _register_app(self, kernel_events: KernelEvents) -> bool:
        """Register the app, if it is watched. Return ``False`` if it has ended already."""
        try:
            if self._watched.app is not None:
                watch(self._system, kernel_events, self._watched.app)
        except ProcessLookupError:
            return False
        return True

    def _identify(self, pid: int) -> Identity | None:
        return _identity(self._system.read(pid))

    def _identify_app(self) -> Identity | None:
        return _identity(self._watched.app)

    def _below(self, pids: Sequence[int]) -> dict[int, list[int]]:
        processes = self._system.processes()
        return {pid: below(pid, processes) for pid in pids}

    def _variable(self, pid: int, name: str) -> str | None:
        return self._system.variable(pid, name)

    def _boot_id(self) -> str:
        return self._this_boot

    def _sweep(self) -> SupervisorSwept | None:
        return orphans.sweep(self._system, self._this_boot)

    def _leave_group(self) -> None:
        """Do nothing: macOS has no control groups."""

    def _bootloader_is_dead(self) -> bool:
        before = self._watched.bootloader
        if before is None:
            return False
        now = self._system.read(before.pid)
        return now is None or now.dead or now.birth != before.birth


def _identity(process: Process | None) -> Identity | None:
    return None if process is None else Identity(process.pid, process.birth)
