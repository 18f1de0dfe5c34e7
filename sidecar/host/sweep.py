"""The next start: what a run left behind whose guard and supervisor were killed in the same instant.

A dead run is known by its control group, whose name has a dead guard in it, or by its record, whose owners are dead.
What belongs to it is known by the group, or by the run's id in a process's environment; never by a recorded pid.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import bundle, cgroup, records
from sidecar.host.linux import RUN_ID
from sidecar.host.sockets import command_of
from sidecar.host.tree import (
    KILL_BOUND_S,
    RESCAN_S,
    Process,
    all_processes,
    environment,
    kill_until_empty,
    read_process,
)
from sidecar.wire.messages import SupervisorSwept, SweptProcess


def boot_id() -> str:
    """This boot's id: a record of an earlier boot names no living process."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def sweep() -> SupervisorSwept | None:
    """End what dead runs left; what was found, or ``None`` if nothing was. Never raises: it must not stop a start."""
    ended: list[SweptProcess] = []
    problems: list[str] = []
    groups = cgroup.orphaned()
    for group in groups:
        ended += _describe(cgroup.members(group))
        if not _end_group(group):
            problems.append(f"the control group {group} could not be emptied and removed")
    runs = 0
    try:
        runs = _sweep_records(ended, problems)
    except OSError as error:
        problems.append(f"the records of earlier runs cannot be read: {error}")
    folders = _remove_folders(problems)
    if not (ended or problems or groups or runs or folders):
        return None
    return SupervisorSwept(tuple(ended), len(groups), runs, folders, tuple(problems))


def _remove_folders(problems: list[str]) -> int:
    """Remove what killed bootloaders had unpacked; how many."""
    removed = 0
    for folder in bundle.left_behind():
        if bundle.remove(folder):
            removed += 1
        else:
            problems.append(f"the folder {folder}, which a killed bootloader left, could not be removed")
    return removed


def _end_group(group: str) -> bool:
    deadline = time.monotonic() + KILL_BOUND_S
    while True:
        cgroup.kill(group)
        cgroup.kill_each(group)
        if cgroup.remove(group):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(RESCAN_S)


def _sweep_records(ended: list[SweptProcess], problems: list[str]) -> int:
    count = 0
    this_boot = boot_id()
    for path, record in records.read_runs():
        if record is None:
            problems.append(_put_aside(path))
            continue
        if record.boot_id == this_boot:
            if any(_lives(owner) for owner in record.owners):
                continue
            count += 1
            found = _marked(record.run_id)
            ended += _describe([process.pid for process in found])
            left = kill_until_empty(lambda run_id=record.run_id: _marked(run_id))  # type: ignore[misc]
            problems += [f"process {process.pid} of an earlier run could not be ended" for process in left]
        path.unlink(missing_ok=True)
    return count


def _put_aside(path: Path) -> str:
    """What to say of an unreadable record, which the next start need not see again."""
    aside = path.with_suffix(".unreadable")
    try:
        path.replace(aside)
    except OSError as error:
        # ENOENT: another start that runs now was quicker; EISDIR, ENOTEMPTY: no file of ours. The others still count
        return f"the record {path} is damaged, and could not be put aside: {error.strerror}"
    return f"a record of an earlier run is damaged, or of another version; it was put aside: {aside}"


def _lives(owner: records.Identity) -> bool:
    process = read_process(owner.pid)
    return process is not None and process.start == owner.start and not process.dead


def _marked(run_id: str) -> list[Process]:
    """The processes that have the run's id in their environment, but for those that we run in ourselves."""
    processes = all_processes()
    ancestors = set()
    pid = os.getpid()
    while pid in processes:
        ancestors.add(pid)
        pid = processes[pid].ppid
    mark = f"{RUN_ID}={run_id}\0".encode()
    return [it for it in processes.values() if it.pid not in ancestors and not it.dead and mark in environment(it.pid)]


def _describe(pids: list[int]) -> list[SweptProcess]:
    return [SweptProcess(pid, command_of(pid)) for pid in pids]
