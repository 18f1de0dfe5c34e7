"""The runs that live now: what their records say, held against what the kernel shows.

A record names pids and ports; whether these still are what they were is looked up, and what only the kernel knows
(uptime, memory, who listens) is read from it. So a record that is behind by a moment shows nothing that is not there.
"""

from __future__ import annotations

import os
import sys
import time

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.config import url_of
from sidecar.host import records
from sidecar.host.linux.sockets import listeners, sockets_of
from sidecar.host.linux.sweep import boot_id, is_elsewhere, is_over, lives
from sidecar.host.linux.tree import Process, all_processes, below, variable
from sidecar.host.shared import RUN_ID, SERVICE, command_of
from sidecar.wire.messages import Wire


class Program(Wire, frozen=True, omit_defaults=False):
    """A living process; ``start`` is in clock ticks since boot, and with the pid its identity."""

    pid: int
    start: int
    command: str | None
    uptime_ms: int


class RunningService(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """A service of a living run."""

    name: str
    state: str
    """As its supervisor told it last."""
    program: Program | None
    """``null`` while none runs."""
    host: str | None
    port: int | None
    listening: bool
    """Whether a process of this service listens on the port."""
    url: str | None
    """Where it answers, while it listens."""
    processes: int
    """All of its tree."""
    memory_bytes: int


class Running(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """A living run."""

    run_id: str
    app: Program | None
    """``null`` where it is not watched, or dead."""
    guard: Program | None
    supervisor: Program | None
    """``null``, as ``guard``, in the moment when it was killed and the other ends the tree."""
    memory_bytes: int
    """Of guard and supervisor."""
    guarantees: dict[str, bool | str]
    """What ``initialize`` claims."""
    services: tuple[RunningService, ...]


class Overview(Wire, frozen=True, omit_defaults=False):
    """What ``sidecar ps`` shows."""

    runs: tuple[Running, ...]
    dead: int
    """Runs that were killed whole: the next start, or ``sidecar clean``, ends what they left."""
    elsewhere: int
    """Runs in other pid namespaces, such as containers that share this home folder: ask there."""
    unrecorded: tuple[Program, ...]
    """Processes with the mark of a run that has no record here, such as one with another state folder."""
    problems: tuple[str, ...]


class _Sight:
    """All processes at one moment, and what the marked ones say whose they are."""

    def __init__(self) -> None:
        self.processes = all_processes()
        self.marks: dict[int, tuple[str, str | None]] = {}
        for pid, process in self.processes.items():
            run_id = None if process.dead else variable(pid, RUN_ID)
            if run_id is not None:
                self.marks[pid] = (run_id, variable(pid, SERVICE))
        self._uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._ticks = os.sysconf("SC_CLK_TCK")

    def program(self, identity: records.Identity | None) -> Program | None:
        """The process, if it still is that one."""
        if identity is None or not lives(identity):
            return None
        uptime = self._uptime - identity.start / self._ticks
        return Program(identity.pid, identity.start, command_of(identity.pid), max(0, round(uptime * 1000)))

    def tree(self, run_id: str, service: str, root: int | None) -> list[Process]:
        """The service's program, all that has its mark, and what these have started."""
        tops = [pid for pid, mark in self.marks.items() if mark == (run_id, service) or pid == root]
        tops += [root] if root is not None and root in self.processes and root not in tops else []
        found = {process.pid: process for process in below(tops, self.processes)}
        found |= {pid: self.processes[pid] for pid in tops}
        return [process for process in found.values() if not process.dead]


def overview() -> Overview:
    """All runs of this user that keep their records where we do."""
    problems: list[str] = []
    running: list[Running] = []
    known: set[str] = set()
    dead = elsewhere = 0
    try:
        found = records.read_runs()
    except OSError as error:
        found = []
        problems.append(f"The records cannot be read: {error}")
    sight = _Sight()
    for path, record in found:
        if record is None:
            problems.append(
                f"The record {path} is damaged, or of another version of sidecar; the next start puts it aside"
            )
            continue
        known.add(record.run_id)
        if is_over(record):
            dead += record.boot_id == boot_id()
        elif is_elsewhere(record):
            elsewhere += 1
        else:
            running.append(_running(record, sight))
    strangers = [sight.processes[pid] for pid, (run_id, _) in sight.marks.items() if run_id not in known]
    unrecorded = (sight.program(records.Identity(process.pid, process.start)) for process in strangers)
    return Overview(tuple(running), dead, elsewhere, tuple(it for it in unrecorded if it is not None), tuple(problems))


def _running(record: records.RunRecord, sight: _Sight) -> Running:
    guard, supervisor = (sight.program(it) for it in (*record.owners, None, None)[:2])
    return Running(
        run_id=record.run_id,
        app=sight.program(record.app),
        guard=guard,
        supervisor=supervisor,
        memory_bytes=sum(_memory(it.pid) for it in (guard, supervisor) if it is not None),
        guarantees=record.guarantees,
        services=tuple(_service(record.run_id, name, it, sight) for name, it in record.services.items()),
    )


def _service(run_id: str, name: str, told: records.ServiceRecord, sight: _Sight) -> RunningService:
    program = sight.program(told.process)
    tree = sight.tree(run_id, name, None if program is None else program.pid)
    listening = told.port is not None and _listens(tree, told.port)
    return RunningService(
        name=name,
        state=told.state,
        program=program,
        host=told.host,
        port=told.port,
        listening=listening,
        url=url_of(told.host, told.port) if listening and told.host and told.port else None,
        processes=len(tree),
        memory_bytes=sum(_memory(process.pid) for process in tree),
    )


def _listens(tree: list[Process], port: int) -> bool:
    inodes = {inode for _, inode, _ in listeners(port)}
    return any(inodes & sockets_of(process.pid) for process in tree)


def _memory(pid: int) -> int:
    """Resident memory; nothing where it is gone, or hidden from us."""
    import psutil

    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0  # it went since the look
    return rss
