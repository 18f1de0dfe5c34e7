"""The sweep on macOS at the next start: it ends what a run left if its guard and supervisor were killed together.

A run is dead if all owners in its record are dead. A process belongs to it if it has the run's id in its environment.
A recorded pid never proves anything. A daemon that has emptied its environment is not found.

There are two steps, as on Linux: ``find`` looks, ``end`` acts on what it found.
"""

from __future__ import annotations

import os
import sys
from functools import partial

assert sys.platform != "win32"  # for mypy: signals that stop

import msgspec

from sidecar.host import orphans
from sidecar.host.darwin.kill import end_all
from sidecar.host.darwin.lineage import Process, System
from sidecar.host.orphans import DeadRun, Orphans, Verdict
from sidecar.host.shared import RUN_ID, command_of
from sidecar.protocol.messages import SupervisorSwept, SweptProcess
from sidecar.state import run_record


def sweep(system: System, boot_id: str) -> SupervisorSwept | None:
    """End what dead runs left. Return what there was; ``None`` if nothing. Never raises: it must not stop a start."""
    return end(system, find(system, boot_id))


def find(system: System, boot_id: str) -> Orphans:
    """See ``Survey``. ``boot_id`` tells this boot from all others."""
    left, _ = orphans.look(
        lambda record: judge(system, boot_id, record),
        lambda pid: (found := system.read(pid)) is None or found.dead,
    )
    return msgspec.structs.replace(left, runs=tuple(_with_processes(system, run) for run in left.runs))


def end(system: System, left: Orphans) -> SupervisorSwept | None:
    """See ``Survey``."""
    problems = list(left.problems)
    for run in left.runs:
        if run.this_boot:
            survivors = end_all(system, partial(_marked, system, run.run_id))
            problems += [f"process {it.pid} of an earlier run could not be ended" for it in survivors]
    return orphans.finish(left, problems)


def judge(system: System, boot_id: str, record: run_record.RunRecord) -> Verdict:
    """Tell whether the run lives."""
    if record.boot_id != boot_id:
        return "past"
    return "lives" if any(still(system, owner) for owner in record.owners) else "dead"


def still(system: System, identity: run_record.Identity) -> Process | None:
    """Read the process of that identity; ``None`` if it is dead."""
    process = system.read(identity.pid)
    return process if process is not None and process.birth == identity.start and not process.dead else None


def _with_processes(system: System, run: DeadRun) -> DeadRun:
    if not run.this_boot:
        return run
    found = (SweptProcess(it.pid, command_of(it.pid)) for it in _marked(system, run.run_id))
    return msgspec.structs.replace(run, processes=tuple(found))


def _marked(system: System, run_id: str) -> list[Process]:
    """Find the processes with the run's id in their environment. Leave out us and our ancestors."""
    processes = system.processes()
    ancestors = set()
    pid = os.getpid()
    while pid in processes and pid not in ancestors:
        ancestors.add(pid)
        pid = processes[pid].ppid
    others = (it for it in processes.values() if it.pid not in ancestors and not it.dead)
    return [it for it in others if system.variable(it.pid, RUN_ID) == run_id]
