"""The runs that live now: their records, checked against the system.

A record names pids and ports. We ask the system whether these are still the same processes, and for uptime, memory and
listening sockets. So nothing is shown that no longer exists, even if the record is out of date.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sidecar.config.services import url_of
from sidecar.host.orphans import Verdict
from sidecar.protocol.messages import Wire
from sidecar.state import run_record


class Program(Wire, frozen=True, omit_defaults=False):
    """A living process. ``start`` is its start as the system counts it; pid and start together are its identity."""

    pid: int
    start: int
    command: str | None
    uptime_ms: int


class RunningService(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """A service of a living run."""

    name: str
    state: str
    """The last state that its supervisor recorded."""
    program: Program | None
    """``null`` while no program runs."""
    host: str | None
    port: int | None
    listening: bool
    """Whether a process of this service listens on the port."""
    url: str | None
    """Its URL while it listens."""
    processes: int
    """How many processes its tree has."""
    memory_bytes: int


class Running(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """A living run."""

    run_id: str
    app: Program | None
    """``null`` if the app is not watched, or dead."""
    guard: Program | None
    """``null`` if there is no guard."""
    supervisor: Program | None
    """``null`` for the moment after it was killed, while the guard ends the tree. ``guard`` is ``null`` likewise."""
    memory_bytes: int
    """Of guard and supervisor."""
    guarantees: dict[str, bool | str]
    """The guarantees that ``initialize`` claims."""
    services: tuple[RunningService, ...]


class Overview(Wire, frozen=True, omit_defaults=False):
    """What ``sidecar ps`` shows."""

    runs: tuple[Running, ...]
    dead: int
    """How many runs are dead. The next start, or ``sidecar clean``, ends what they left."""
    elsewhere: int
    """How many runs are in other pid namespaces, such as containers that share this home folder. Ask there."""
    unrecorded: tuple[Program, ...]
    """Processes with the mark of a run without a record here. That run may have another state folder."""
    problems: tuple[str, ...]


class ProcessTable(Protocol):
    """All processes of the system, at one moment."""

    def judge(self, record: run_record.RunRecord) -> Verdict:
        """Tell whether the run lives."""
        ...

    def owners(self, record: run_record.RunRecord) -> tuple[run_record.Identity | None, run_record.Identity | None]:
        """Return guard and supervisor from the record."""
        ...

    def program(self, identity: run_record.Identity | None) -> Program | None:
        """Return the process; ``None`` if it is gone, or another process has its pid."""
        ...

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        """Return the service's living processes: its program ``root``, those with its mark, and their descendants."""
        ...

    def listens(self, pids: list[int], port: int) -> bool:
        """Tell whether one of the processes listens on the port."""
        ...

    def strangers(self, known: set[str]) -> Iterable[Program]:
        """Return the processes with the mark of a run that is not ``known``."""
        ...


def look(processes: ProcessTable) -> Overview:
    """Find all runs of this user in our state folder."""
    problems: list[str] = []
    running: list[Running] = []
    known: set[str] = set()
    dead = elsewhere = 0
    try:
        found = run_record.read_runs()
    except OSError as error:
        found = []
        problems.append(f"The records cannot be read: {error}")
    for path, record in found:
        if record is None:
            problems.append(
                f"The record {path} is damaged, or of another version of sidecar; the next start puts it aside"
            )
            continue
        known.add(record.run_id)
        verdict = processes.judge(record)
        dead += verdict == "dead"
        elsewhere += verdict == "elsewhere"
        if verdict == "lives":
            running.append(_running(record, processes))
    return Overview(tuple(running), dead, elsewhere, tuple(processes.strangers(known)), tuple(problems))


def _running(record: run_record.RunRecord, processes: ProcessTable) -> Running:
    guard, supervisor = map(processes.program, processes.owners(record))
    return Running(
        run_id=record.run_id,
        app=processes.program(record.app),
        guard=guard,
        supervisor=supervisor,
        memory_bytes=sum(_memory(it.pid) for it in (guard, supervisor) if it is not None),
        guarantees=record.guarantees,
        services=tuple(_service(record.run_id, name, it, processes) for name, it in record.services.items()),
    )


def _service(run_id: str, name: str, told: run_record.ServiceRecord, processes: ProcessTable) -> RunningService:
    program = processes.program(told.process)
    tree = processes.tree(run_id, name, None if program is None else program.pid)
    listening = told.port is not None and processes.listens(tree, told.port)
    return RunningService(
        name=name,
        state=told.state,
        program=program,
        host=told.host,
        port=told.port,
        listening=listening,
        url=(told.url or url_of(told.host, told.port)) if listening and told.host and told.port else None,
        processes=len(tree),
        memory_bytes=sum(map(_memory, tree)),
    )


def _memory(pid: int) -> int:
    """Return the resident memory; 0 if the process is gone, or hidden from us."""
    import psutil

    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except (psutil.Error, OSError):
        return 0  # it has ended since; OSError: psutil passes on errors that it does not know (ENOMEM)
    return rss
