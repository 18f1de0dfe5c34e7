"""All that descend from this process, followed from fork to fork: ``kin`` and ``notices`` at work together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence

assert sys.platform != "win32"  # for mypy: kqueue and sessions

from sidecar.host.darwin.kin import Kin, Process, System
from sidecar.host.darwin.notices import EVFILT_PROC, NOTE_FORK, Event, Notices
from sidecar.host.shared import RUN_ID

LOOK_S = 0.1
"""While somebody forks or ends we look at everybody once in so long: a fork storm must not keep us busy with looking.
Where nobody does, nobody looks, and no time is kept."""

Branch = tuple[Kin, int | None]
"""A part of the family, with its session where that is certain."""


class Family:
    """Guard and supervisor each have one of their own."""

    def __init__(self, system: System, notices: Notices, run_id: str = "", since: int = 0) -> None:
        """``notices`` is a queue of this process; a ``run_id`` that is not known yet is set before ``everybody``.

        All of the family were born after ``since``, and after this process.
        """
        me = system.read(os.getpid())
        assert me is not None, "a process can see itself"
        self.me = me
        self._system = system
        self._notices = notices
        self.run_id = run_id
        self._kin = Kin(me, since=max(since, me.birth), outside=me.sid)
        self._followed: set[int] = set()
        """Births of those whose forks and end we are told of."""
        self._last = 0.0
        self._due: float | None = None
        """When to look at everybody, if somebody has forked or ended since the last time."""

    def meet(self, pid: int, branches: Sequence[Branch] = ()) -> Process | None:
        """Follow one that somebody of the family has forked, and all that it forked until now, if it is still there."""
        process = self._system.read(pid)
        if process is None or process.dead or process.birth in self._followed or not self._kin.adopt(process):
            return process
        for branch, _ in branches:
            branch.adopt(process)
        self._watch(process, branches)
        return process

    def patience(self) -> float | None:
        """How many seconds to wait for notices before ``follow`` is to be called without any."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def follow(self, told: Iterable[Event], branches: Sequence[Branch] = ()) -> bool:
        """Learn of those who were forked, as quickly as can be, and of all others in time; whether that was now."""
        for event in told:
            if event.filter == EVFILT_PROC:
                self._due = self._due or max(time.monotonic(), self._last + LOOK_S)
                if event.fflags & NOTE_FORK:
                    self._greet(event.ident, branches)
        if self._due is None or self._due > time.monotonic():
            return False
        self.look(branches)
        return True

    def look(self, branches: Sequence[Branch] = ()) -> None:
        """Learn who is there, and follow them."""
        self._due = None
        processes = self._system.processes()
        for branch, session in branches:
            branch.look(processes, session=session)
        kin = self._kin.look(processes)
        self._followed &= {it.birth for it in kin}
        for it in self._but_me(kin):
            if it.birth not in self._followed:
                self._watch(it, branches)
        self._last = time.monotonic()

    def everybody(self) -> list[Process]:
        """Who lives of them, by all that is known and by the cookie."""
        return self._but_me(self._kin.look(self._system.processes(), self.has_cookie))

    def has_cookie(self, process: Process) -> bool:
        """Whether it was started with our run's id in its environment."""
        return self._system.variable(process.pid, RUN_ID) == self.run_id

    def _watch(self, process: Process, branches: Sequence[Branch]) -> None:
        self._followed.add(process.birth)
        try:
            self._notices.watch(process.pid, forks=True)
        except ProcessLookupError:
            return  # it is dead; its children are orphans, whom the next look shows
        self._greet(process.pid, branches)  # those whom it forked before the kernel knew that we want to know

    def _greet(self, forker: int, branches: Sequence[Branch]) -> None:
        """Learn the children's numbers before they may be gone."""
        for pid in self._system.children(forker):
            self.meet(pid, branches)

    def _but_me(self, kin: list[Process]) -> list[Process]:
        return [it for it in kin if not it.dead and it.pid != self.me.pid]
