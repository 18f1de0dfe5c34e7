"""The process table on macOS, for the runs that live now; see ``sidecar.host.runs``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

assert sys.platform != "win32"  # for mypy: sessions

import psutil

from sidecar.host.darwin.lineage import Lineage, Process, System
from sidecar.host.darwin.orphans import judge, still
from sidecar.host.darwin.sockets import listeners
from sidecar.host.orphans import Verdict
from sidecar.host.runs import Program
from sidecar.host.shared import RUN_ID, SERVICE, command_of
from sidecar.state import run_record


class ProcessTable:
    """See ``sidecar.host.runs.ProcessTable``: all processes at one moment, and the marks in their environments."""

    def __init__(self, system: System, boot_id: str) -> None:
        """Read all processes."""
        self._system = system
        self._boot_id = boot_id
        self._session = os.getsid(0)
        self.processes = {pid: it for pid, it in system.processes().items() if not it.dead}
        self.marks: dict[int, tuple[str, str | None]] = {}
        for pid in self.processes:
            run_id = system.variable(pid, RUN_ID)
            if run_id is not None:
                self.marks[pid] = (run_id, system.variable(pid, SERVICE))

    def judge(self, record: run_record.RunRecord) -> Verdict:
        """See ``ProcessTable``."""
        return judge(self._system, self._boot_id, record)

    def owners(self, record: run_record.RunRecord) -> tuple[run_record.Identity | None, run_record.Identity | None]:
        """See ``ProcessTable``."""
        guard, supervisor = (*record.owners, None, None)[:2]
        return guard, supervisor

    def program(self, identity: run_record.Identity | None) -> Program | None:
        """See ``ProcessTable``. A birth is a number, not a time. So get the time by pid, then compare births."""
        if identity is None:
            return None
        try:
            age = time.time() - psutil.Process(identity.pid).create_time()
        except (psutil.Error, OSError):
            return None  # it is gone; OSError: psutil passes on errors that it does not know (ENOMEM)
        command = command_of(identity.pid)
        if still(self._system, identity) is None:
            return None
        return Program(identity.pid, identity.start, command, max(0, round(age * 1000)))

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        """See ``ProcessTable``. Find it by forkers, sessions and marks, without the history that the host has."""
        top = None if root is None else self.processes.get(root)
        lineage = Lineage(top, since=0, outside=self._session)

        def marked(it: Process) -> bool:
            return self.marks.get(it.pid) == (run_id, service)

        return [it.pid for it in lineage.look(self.processes, marked)]

    def listens(self, pids: list[int], port: int) -> bool:
        """See ``ProcessTable``."""
        return any(pid in pids for _, pid in listeners(self._system, port))

    def strangers(self, known: set[str]) -> Iterator[Program]:
        """See ``ProcessTable``."""
        for pid, (run_id, _) in self.marks.items():
            if run_id not in known:
                found = self.program(run_record.Identity(pid, self.processes[pid].birth))
                if found is not None:
                    yield found
