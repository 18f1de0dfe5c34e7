"""The runs that live now: what their records say, held against what the system shows.

A record names pids and ports; whether these still are what they were is looked up, and what only the system knows
(uptime, memory, who listens) is read from it. So a record that is behind by a moment shows nothing that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sidecar.config import url_of
from sidecar.host import records
from sidecar.host.leftovers import Verdict
from sidecar.wire.messages import Wire


class Program(Wire, frozen=True, omit_defaults=False):
    """A living process; ``start`` is when the system says that it began, and with the pid its identity."""

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
    """``null`` where there is none."""
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


class Sight(Protocol):
    """What a system shows of its processes, all of them at one moment."""

    def judge(self, record: records.RunRecord) -> Verdict:
        """Whether the run lives."""
        ...

    def owners(self, record: records.RunRecord) -> tuple[records.Identity | None, records.Identity | None]:
        """Guard and supervisor, as the record has them."""
        ...

    def program(self, identity: records.Identity | None) -> Program | None:
        """The process, if it still is that one."""
        ...

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        """Who lives of the service: its program ``root``, all that has its mark, and what these have started."""
        ...

    def listens(self, pids: list[int], port: int) -> bool:
        """Whether one of them listens on the port."""
        ...

    def strangers(self, known: set[str]) -> Iterable[Program]:
        """Who has the mark of a run that is not among the known ones."""
        ...


def look(sight: Sight) -> Overview:
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
    for path, record in found:
        if record is None:
            problems.append(
                f"The record {path} is damaged, or of another version of sidecar; the next start puts it aside"
            )
            continue
        known.add(record.run_id)
        verdict = sight.judge(record)
        dead += verdict == "dead"
        elsewhere += verdict == "elsewhere"
        if verdict == "lives":
            running.append(_running(record, sight))
    return Overview(tuple(running), dead, elsewhere, tuple(sight.strangers(known)), tuple(problems))


def _running(record: records.RunRecord, sight: Sight) -> Running:
    guard, supervisor = map(sight.program, sight.owners(record))
    return Running(
        run_id=record.run_id,
        app=sight.program(record.app),
        guard=guard,
        supervisor=supervisor,
        memory_bytes=sum(_memory(it.pid) for it in (guard, supervisor) if it is not None),
        guarantees=record.guarantees,
        services=tuple(_service(record.run_id, name, it, sight) for name, it in record.services.items()),
    )


def _service(run_id: str, name: str, told: records.ServiceRecord, sight: Sight) -> RunningService:
    program = sight.program(told.process)
    tree = sight.tree(run_id, name, None if program is None else program.pid)
    listening = told.port is not None and sight.listens(tree, told.port)
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
    """Resident memory; nothing where it is gone, or hidden from us."""
    import psutil

    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0  # it went since the look
    return rss
