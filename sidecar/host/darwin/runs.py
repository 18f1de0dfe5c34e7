"""What macOS shows of the runs that live now; see ``sidecar.host.runs``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

assert sys.platform != "win32"  # for mypy: sessions

import psutil

from sidecar.host import records
from sidecar.host.darwin.kin import Kin, Process, System
from sidecar.host.darwin.lsof import listeners
from sidecar.host.darwin.sweep import judge, still
from sidecar.host.leftovers import Verdict
from sidecar.host.runs import Program
from sidecar.host.shared import RUN_ID, SERVICE, command_of


class Sight:
    """See ``sidecar.host.runs.Sight``: all processes at one moment, and what the marked ones say whose they are."""

    def __init__(self, system: System, boot_id: str) -> None:
        """Look at all of them."""
        self._system = system
        self._boot_id = boot_id
        self._session = os.getsid(0)
        self.processes = {pid: it for pid, it in system.processes().items() if not it.dead}
        self.marks: dict[int, tuple[str, str | None]] = {}
        for pid in self.processes:
            run_id = system.variable(pid, RUN_ID)
            if run_id is not None:
                self.marks[pid] = (run_id, system.variable(pid, SERVICE))

    def judge(self, record: records.RunRecord) -> Verdict:
        """See ``Sight``."""
        return judge(self._system, self._boot_id, record)

    def owners(self, record: records.RunRecord) -> tuple[records.Identity | None, records.Identity | None]:
        """See ``Sight``."""
        guard, supervisor = (*record.owners, None, None)[:2]
        return guard, supervisor

    def program(self, identity: records.Identity | None) -> Program | None:
        """See ``Sight``. A birth is a number and no time: that is asked for by the pid, which is checked afterwards."""
        if identity is None:
            return None
        try:
            age = time.time() - psutil.Process(identity.pid).create_time()
        except psutil.Error:
            return None  # it is gone
        command = command_of(identity.pid)
        if still(self._system, identity) is None:
            return None
        return Program(identity.pid, identity.start, command, max(0, round(age * 1000)))

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        """See ``Sight``. By forkers, sessions and marks, as its host finds it, which has followed it from the start."""
        top = None if root is None else self.processes.get(root)
        kin = Kin(top, since=0, outside=self._session)

        def marked(it: Process) -> bool:
            return self.marks.get(it.pid) == (run_id, service)

        return [it.pid for it in kin.look(self.processes, marked)]

    def listens(self, pids: list[int], port: int) -> bool:
        """See ``Sight``."""
        return any(pid in pids for _, pid in listeners(port) or ())

    def strangers(self, known: set[str]) -> Iterator[Program]:
        """See ``Sight``."""
        for pid, (run_id, _) in self.marks.items():
            if run_id not in known:
                found = self.program(records.Identity(pid, self.processes[pid].birth))
                if found is not None:
                    yield found
