"""All that descend from this process, followed from fork to fork: ``kin`` and ``notices`` at work together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

assert sys.platform != "win32"  # for mypy: kqueue and sessions

from sidecar.host.kin import Kin, Process, System
from sidecar.host.notices import Notices
from sidecar.host.shared import RUN_ID


class Family:
    """Guard and supervisor each have one of their own."""

    def __init__(self, system: System, notices: Notices, run_id: str) -> None:
        """``notices`` is a queue of this process."""
        me = system.read(os.getpid())
        assert me is not None, "a process can see itself"
        self.me = me
        self._system = system
        self._notices = notices
        self._run_id = run_id
        self._kin = Kin(me, since=me.birth, outside=me.sid)
        self._followed: set[int] = set()
        """Births of those whose forks and end we are told of."""

    def follow(self, also: Callable[[Mapping[int, Process]], None] = lambda _: None) -> None:
        """Learn who is there, and be told of what they do next; ``also`` is shown each look."""
        while True:
            processes = self._system.processes()
            also(processes)
            kin = self._kin.look(processes)
            new = [it for it in self._but_me(kin) if it.birth not in self._followed]
            self._followed &= {it.birth for it in kin}
            for it in new:
                self._followed.add(it.birth)
                try:
                    self._notices.watch(it.pid, forks=True)
                except ProcessLookupError:
                    pass  # it is dead, and its children are seen by the next look
            if not new:
                return  # else again: they may have forked before the kernel knew that we want to know

    def everybody(self) -> list[Process]:
        """Who lives of them, by all that is known and by the cookie."""
        return self._but_me(self._kin.look(self._system.processes(), self.has_cookie))

    def has_cookie(self, process: Process) -> bool:
        """Whether it was started with our run's id in its environment."""
        return self._system.variable(process.pid, RUN_ID) == self._run_id

    def _but_me(self, kin: list[Process]) -> list[Process]:
        return [it for it in kin if not it.dead and it.pid != self.me.pid]
