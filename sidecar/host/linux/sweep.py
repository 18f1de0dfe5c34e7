"""The next start: what a run left behind whose guard and supervisor were killed in the same instant.

A dead run is known by its control group, whose name has a dead guard in it, or by its record, whose owners are dead.
What belongs to it is known by the group, or by the run's id in a process's environment; never by a recorded pid.

Two steps, so that ``sidecar clean --dry-run`` shows what a sweep would end: ``find`` looks, ``end`` acts on what it
found.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from functools import cache

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import leftovers, records
from sidecar.host.leftovers import DeadGroup, DeadRun, Leftovers, Verdict
from sidecar.host.linux import cgroup
from sidecar.host.linux.tree import (
    KILL_BOUND_S,
    RESCAN_S,
    Process,
    all_processes,
    below,
    is_gone,
    kill_until_empty,
    pid_namespace,
    variable,
)
from sidecar.host.shared import RUN_ID, command_of
from sidecar.wire.messages import SupervisorSwept, SweptProcess


@cache
def boot_id() -> str:
    """This boot's id: a record of an earlier boot names no living process."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def sweep() -> SupervisorSwept | None:
    """End what dead runs left; what was found, or ``None`` if nothing was. Never raises: it must not stop a start."""
    try:
        return end(find())
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM: nobody is taken for dead who only could not be looked at
        problem = f"what earlier runs left could not be looked for: {error.strerror}. The next start tries again."
        return SupervisorSwept((), 0, 0, 0, (problem,))


def find() -> Leftovers:
    """See ``Survey``."""
    orphaned = cgroup.orphaned()
    found, dead = leftovers.look(judge, is_gone)
    for record in dead:
        # one from another session: the groups beside ours do not show it
        if record.group is not None and record.group not in orphaned and cgroup.is_orphaned(record.group):
            orphaned.append(record.group)
    groups = tuple(DeadGroup(folder, _describe(cgroup.members(folder))) for folder in orphaned)
    told = {process.pid for group in groups for process in group.processes}
    runs = tuple(_with_processes(run, told) for run in found.runs)
    return msgspec.structs.replace(found, groups=groups, runs=runs)


def end(left: Leftovers) -> SupervisorSwept | None:
    """See ``Survey``. What was ended until nobody could be looked at any more is ended."""
    if left == Leftovers():
        return None
    problems = list(left.problems)
    problems += [
        f"the control group {group.folder} could not be emptied and removed"
        for group in left.groups
        if not _end_group(group.folder)
    ]
    for run in left.runs:
        if run.this_boot:
            survivors = kill_until_empty(lambda run_id=run.run_id: _of(run_id))  # type: ignore[misc]
            problems += [f"process {process.pid} of an earlier run could not be ended" for process in survivors]
    problems += leftovers.clear(left)
    return leftovers.report(left, problems)


def judge(record: records.RunRecord) -> Verdict:
    """Whether the run lives. Guard and supervisor of an earlier boot are dead, both, wherever they were."""
    if record.boot_id != boot_id():
        return "past"
    if is_elsewhere(record):
        return "elsewhere"
    return "lives" if any(lives(owner) for owner in record.owners) else "dead"


def is_elsewhere(record: records.RunRecord) -> bool:
    """Whether its pids are of another namespace than ours."""
    return record.pid_namespace not in {None, pid_namespace()}


def _with_processes(run: DeadRun, told: set[int]) -> DeadRun:
    if not run.this_boot:
        return run
    pids = [process.pid for process in _of(run.run_id)]
    return msgspec.structs.replace(run, processes=_describe(pid for pid in pids if pid not in told))


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


def lives(owner: records.Identity) -> bool:
    """Whether the process is there, and is no zombie."""
    return not is_gone(owner.pid, owner.start)


def _of(run_id: str) -> list[Process]:
    """Who has the run's id in its environment, and all below; but for those that we run in ourselves.

    The deepest first: whoever shows no id is found by its parent, which must not be gone before.
    """
    processes = all_processes()
    ancestors = set()
    pid = os.getpid()
    while pid in processes:
        ancestors.add(pid)
        pid = processes[pid].ppid
    others = (it for it in processes.values() if it.pid not in ancestors and not it.dead)
    marked = [it for it in others if variable(it.pid, RUN_ID) == run_id and not is_gone(it.pid, it.start)]
    found = {it.pid: it for it in [*marked, *below([it.pid for it in marked], processes)]}
    return [it for it in reversed(found.values()) if not it.dead]


def _describe(pids: Iterable[int]) -> tuple[SweptProcess, ...]:
    return tuple(SweptProcess(pid, command_of(pid)) for pid in pids)
