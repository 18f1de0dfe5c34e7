"""All descendants of this process, followed from fork to fork by ``lineage`` and ``kernel_events``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence

assert sys.platform != "win32"  # for mypy: kqueue and sessions

from sidecar.host.darwin.kernel_events import EVFILT_PROC, NOTE_EXEC, NOTE_EXIT, NOTE_FORK, Event, KernelEvents
from sidecar.host.darwin.lineage import Lineage, Process, System
from sidecar.host.shared import RUN_ID

LOOK_S = 0.1
"""Minimum seconds between two looks at all processes, so that a fork storm cannot keep us busy. While none of ours
forks or ends, we do not look, and set no timer."""

Branch = tuple[Lineage, int | None]
"""A part of the descendants, with its session if that is certain."""


class Descendants:
    """The descendants of this process. Guard and supervisor each have their own."""

    def __init__(self, system: System, kernel_events: KernelEvents, run_id: str = "", since: int = 0) -> None:
        """``kernel_events`` is a queue of this process. Descendants are born later than this process and ``since``.

        If ``run_id`` is not known yet, the caller sets it before calling ``everybody``.
        """
        me = system.read(os.getpid())
        assert me is not None, "a process can see itself"
        self.me = me
        self._system = system
        self._kernel_events = kernel_events
        self.run_id = run_id
        self._lineage = Lineage(me, since=max(since, me.birth), outside=me.sid)
        self._followed: set[int] = set()
        """Births of the processes that are registered for their forks and ends."""
        self._last = 0.0
        self._due: float | None = None
        """When to look at all processes, if one has forked or ended since the last look."""

    def meet(self, pid: int, branches: Sequence[Branch] = ()) -> Process | None:
        """Follow a process that a descendant forked, and what it has forked so far. ``None`` if it is gone."""
        process = self._system.read(pid)
        if process is None or process.birth in self._followed or not self._lineage.adopt(process):
            return process
        for branch, _ in branches:
            branch.adopt(process)
        if not process.dead:  # a zombie forks no more, and its numbers suffice to find its children
            self._watch(process, branches)
        return process

    def patience(self) -> float | None:
        """Return how many seconds to wait for kernel events. Then call ``follow``, even if none came."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def follow(self, told: Iterable[Event], branches: Sequence[Branch] = ()) -> bool:
        """Follow the children of a forker at once, other descendants at the next look. Return whether this looked."""
        for event in told:
            if event.filter != EVFILT_PROC:
                continue
            if event.fflags & (NOTE_FORK | NOTE_EXIT):
                self._due = self._due or max(time.monotonic(), self._last + LOOK_S)
            if event.fflags & NOTE_EXEC:
                self._note(event.ident, branches)
            if event.fflags & NOTE_FORK:
                self._greet(event.ident, branches)
        if self._due is None or self._due > time.monotonic():
            return False
        self.look(branches)
        return True

    def look(self, branches: Sequence[Branch] = ()) -> None:
        """Look at all processes, and follow the new descendants."""
        self._due = None
        processes = self._system.processes()
        for branch, session in branches:
            branch.look(processes, session=session)
        lineage = self._lineage.look(processes)
        self._followed &= {it.birth for it in lineage}
        for it in self._but_me(lineage):
            if it.birth not in self._followed:
                self._watch(it, branches)
        self._last = time.monotonic()

    def everybody(self) -> list[Process]:
        """Return the living descendants, by birth, session and cookie."""
        return self._but_me(self._lineage.look(self._system.processes(), self.has_cookie))

    def has_cookie(self, process: Process) -> bool:
        """Tell whether the process was started with our run's id in its environment."""
        return self._system.variable(process.pid, RUN_ID) == self.run_id

    def _watch(self, process: Process, branches: Sequence[Branch]) -> None:
        self._followed.add(process.birth)
        try:
            self._kernel_events.watch(process.pid, forks=True)
        except ProcessLookupError:
            return  # it is dead; its children are orphans, and the next look shows them
        self._greet(process.pid, branches)  # the children that it forked before we were registered

    def _note(self, pid: int, branches: Sequence[Branch]) -> None:
        """Read the process's new version, by which its later children are recognized."""
        process = self._system.read(pid)
        if process is not None:
            for lineage in (self._lineage, *(branch for branch, _ in branches)):
                lineage.note(process)

    def _greet(self, forker: int, branches: Sequence[Branch]) -> None:
        """Read the children at once, because they may end soon."""
        for pid in self._system.children(forker):
            self.meet(pid, branches)

    def _but_me(self, lineage: list[Process]) -> list[Process]:
        return [it for it in lineage if not it.dead and it.pid != self.me.pid]
