"""The next start on macOS: what a run left behind whose guard and supervisor were killed in the same instant.

A dead run is known by its record, whose owners are dead, and what belongs to it by the run's id in a process's
environment; never by a recorded pid. A daemon that emptied its environment is not found.

Two steps, as on Linux: ``find`` looks, ``end`` acts on what it found.
"""

from __future__ import annotations

import os
import sys

assert sys.platform != "win32"  # for mypy: signals that stop

import msgspec

from sidecar.host import leftovers, records
from sidecar.host.darwin.ending import end_all
from sidecar.host.darwin.kin import Process, System
from sidecar.host.leftovers import DeadRun, Leftovers, Verdict
from sidecar.host.shared import RUN_ID, command_of
from sidecar.wire.messages import SupervisorSwept, SweptProcess


def sweep(system: System, boot_id: str) -> SupervisorSwept | None:
    """End what dead runs left; what was found, or ``None`` if nothing was. Never raises: it must not stop a start."""
    return end(system, find(system, boot_id))


def find(system: System, boot_id: str) -> Leftovers:
    """See ``Survey``. ``boot_id`` tells this boot from all others."""
    left, _ = leftovers.look(
        lambda record: judge(system, boot_id, record),
        lambda pid: (found := system.read(pid)) is None or found.dead,
    )
    return msgspec.structs.replace(left, runs=tuple(_with_processes(system, run) for run in left.runs))


def end(system: System, left: Leftovers) -> SupervisorSwept | None:
    """See ``Survey``."""
    problems = list(left.problems)
    for run in left.runs:
        if run.this_boot:
            survivors = end_all(system, lambda run_id=run.run_id: _marked(system, run_id))  # type: ignore[misc]
            problems += [f"process {it.pid} of an earlier run could not be ended" for it in survivors]
    return leftovers.report(left, problems + leftovers.clear(left))


def judge(system: System, boot_id: str, record: records.RunRecord) -> Verdict:
    """Whether the run lives."""
    if record.boot_id != boot_id:
        return "past"
    return "lives" if any(still(system, owner) for owner in record.owners) else "dead"


def still(system: System, identity: records.Identity) -> Process | None:
    """The process, while it lives and is that one."""
    process = system.read(identity.pid)
    return process if process is not None and process.birth == identity.start and not process.dead else None


def _with_processes(system: System, run: DeadRun) -> DeadRun:
    if not run.this_boot:
        return run
    found = (SweptProcess(it.pid, command_of(it.pid)) for it in _marked(system, run.run_id))
    return msgspec.structs.replace(run, processes=tuple(found))


def _marked(system: System, run_id: str) -> list[Process]:
    """Who has the run's id in the environment, but for those that we run in ourselves."""
    processes = system.processes()
    ancestors = set()
    pid = os.getpid()
    while pid in processes and pid not in ancestors:
        ancestors.add(pid)
        pid = processes[pid].ppid
    others = (it for it in processes.values() if it.pid not in ancestors and not it.dead)
    return [it for it in others if system.variable(it.pid, RUN_ID) == run_id]
