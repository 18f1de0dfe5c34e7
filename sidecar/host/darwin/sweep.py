"""The next start on macOS: what a run left behind whose guard and supervisor were killed in the same instant.

A dead run is known by its record, whose owners are dead, and what belongs to it by the run's id in a process's
environment; never by a recorded pid. A daemon that emptied its environment is not found.
"""

from __future__ import annotations

import os
import sys

assert sys.platform != "win32"  # for mypy: signals that stop

from sidecar.host import bundle, records
from sidecar.host.darwin.ending import end_all
from sidecar.host.darwin.kin import Process, System
from sidecar.host.shared import RUN_ID, command_of
from sidecar.wire.messages import SupervisorSwept, SweptProcess


def sweep(system: System, boot_id: str) -> SupervisorSwept | None:
    """End it; what was found, or ``None`` if nothing was. Never raises: it must not stop a start."""
    problems: list[str] = []
    ended: list[SweptProcess] = []
    over = 0
    try:
        runs = records.read_runs()
    except OSError as error:
        runs = []
        problems.append(f"the records of earlier runs cannot be read: {error}")
    for path, record in runs:
        if record is None:
            problems.append(f"the record {path} is damaged, or of another version: remove it")
            continue
        this_boot = record.boot_id == boot_id
        if this_boot and any(_lives(system, owner) for owner in record.owners):
            continue
        over += 1
        if this_boot:
            ended += [SweptProcess(it.pid, command_of(it.pid)) for it in _marked(system, record.run_id)]
            left = end_all(system, lambda run_id=record.run_id: _marked(system, run_id))  # type: ignore[misc]
            problems += [f"process {it.pid} of an earlier run could not be ended" for it in left]
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another start that runs now was quicker
        except OSError as error:
            problems.append(f"the file {path} of an earlier run could not be removed: {error.strerror}")
    folders = bundle.left_behind()
    problems += [f"the folder {it}, left by a killed bootloader, stays" for it in folders if not bundle.remove(it)]
    if not (over or folders or problems):
        return None
    return SupervisorSwept(tuple(ended), 0, over, len(folders), tuple(problems))


def _lives(system: System, owner: records.Identity) -> bool:
    process = system.read(owner.pid)
    return process is not None and process.birth == owner.start and not process.dead


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
