"""The process table on Linux, for the runs that live now; see ``sidecar.host.runs``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import runs
from sidecar.host.linux.orphans import judge, lives
from sidecar.host.linux.processes import all_processes, below, variable
from sidecar.host.linux.sockets import listeners, sockets_of
from sidecar.host.orphans import Verdict
from sidecar.host.runs import Overview, Program
from sidecar.host.shared import RUN_ID, SERVICE, command_of
from sidecar.state import run_record


def overview() -> Overview:
    """See ``Survey``."""
    return runs.look(_ProcessTable())


class _ProcessTable:
    """See ``ProcessTable``: all processes at one moment, and run and service of those with our mark."""

    def __init__(self) -> None:
        self.processes = all_processes()
        self.marks: dict[int, tuple[str, str | None]] = {}
        for pid, process in self.processes.items():
            run_id = None if process.dead else variable(pid, RUN_ID)
            if run_id is not None:
                self.marks[pid] = (run_id, variable(pid, SERVICE))
        self._uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._ticks = os.sysconf("SC_CLK_TCK")

    def judge(self, record: run_record.RunRecord) -> Verdict:
        return judge(record)

    def owners(self, record: run_record.RunRecord) -> tuple[run_record.Identity | None, run_record.Identity | None]:
        guard, supervisor = (*record.owners, None, None)[:2]
        return guard, supervisor

    def program(self, identity: run_record.Identity | None) -> Program | None:
        if identity is None or not lives(identity):
            return None
        uptime = self._uptime - identity.start / self._ticks
        return Program(identity.pid, identity.start, command_of(identity.pid), max(0, round(uptime * 1000)))

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        tops = [pid for pid, mark in self.marks.items() if mark == (run_id, service) or pid == root]
        tops += [root] if root is not None and root in self.processes and root not in tops else []
        found = {process.pid: process for process in below(tops, self.processes)}
        found |= {pid: self.processes[pid] for pid in tops}
        return [pid for pid, process in found.items() if not process.dead]

    def listens(self, pids: list[int], port: int) -> bool:
        inodes = {inode for _, inode, _ in listeners(port)}
        return any(inodes & sockets_of(pid) for pid in pids)

    def strangers(self, known: set[str]) -> Iterator[Program]:
        for pid, (run_id, _) in self.marks.items():
            if run_id not in known:
                found = self.program(run_record.Identity(pid, self.processes[pid].start))
                if found is not None:
                    yield found
