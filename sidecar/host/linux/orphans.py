"""The sweep at the next start: it ends what a run left if its guard and supervisor were killed in the same instant.

There are two ways to find a dead run: by a control group with a dead guard in its name, or by a record with dead
owners. A process belongs to the run if it is in the group, or has the run's id in its environment. A recorded pid never
proves anything.

There are two steps: ``find`` looks, ``end`` acts on what it found. So ``sidecar clean --dry-run`` can show what a sweep
would end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache, partial

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import orphans
from sidecar.host.linux import cgroup
from sidecar.host.linux.processes import (
    Process,
    all_processes,
    below,
    is_gone,
    kill_until_empty,
    pid_namespace,
    variable,
)
from sidecar.host.orphans import DeadGroup, DeadRun, Orphans, Verdict
from sidecar.host.shared import RUN_ID, command_of
from sidecar.protocol.messages import SupervisorSwept, SweptProcess
from sidecar.state import run_record


@cache
def boot_id() -> str:
    """Return this boot's id. A record with another one names no living process."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip().decode("ascii")


def sweep() -> SupervisorSwept | None:
    """End what dead runs left. Return what there was; ``None`` if nothing. Never raises: it must not stop a start."""
    try:
        return end(find())
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM: a process that cannot be read now must not count as dead
        problem = f"what earlier runs left could not be looked for: {error.strerror}. The next start tries again."
        return SupervisorSwept((), 0, 0, 0, (problem,))


def find() -> Orphans:
    """See ``Survey``."""
    orphaned = cgroup.orphaned()
    found, dead = orphans.look(judge, is_gone)
    for record in dead:
        # the group of a run in another session is not beside ours
        if record.group is not None and record.group not in orphaned and cgroup.is_orphaned(record.group):
            orphaned.append(record.group)
    groups = tuple(DeadGroup(folder, _describe(cgroup.members(folder))) for folder in orphaned)
    told = {process.pid for group in groups for process in group.processes}
    runs = tuple(_with_processes(run, told) for run in found.runs)
    return msgspec.structs.replace(found, groups=groups, runs=runs)


def end(left: Orphans) -> SupervisorSwept | None:
    """See ``Survey``. If this raises, some of it may have been ended already."""
    problems = list(left.problems)
    problems += [
        f"the control group {group.folder} could not be emptied and removed"
        for group in left.groups
        if not cgroup.end(group.folder)
    ]
    for run in left.runs:
        if run.this_boot:
            survivors = kill_until_empty(partial(_of, run.run_id))
            problems += [f"process {process.pid} of an earlier run could not be ended" for process in survivors]
    return orphans.finish(left, problems)


def judge(record: run_record.RunRecord) -> Verdict:
    """Tell whether the run lives. Guard and supervisor of an earlier boot are both dead, in any pid namespace."""
    if record.boot_id != boot_id():
        return "past"
    if is_elsewhere(record):
        return "elsewhere"
    return "lives" if any(lives(owner) for owner in record.owners) else "dead"


def is_elsewhere(record: run_record.RunRecord) -> bool:
    """Tell whether the record's pids are from another pid namespace than ours."""
    return record.pid_namespace not in {None, pid_namespace()}


def _with_processes(run: DeadRun, told: set[int]) -> DeadRun:
    if not run.this_boot:
        return run
    pids = [process.pid for process in _of(run.run_id)]
    return msgspec.structs.replace(run, processes=_describe(pid for pid in pids if pid not in told))


def lives(owner: run_record.Identity) -> bool:
    """Tell whether the process exists and is no zombie."""
    return not is_gone(owner.pid, owner.start)


def _of(run_id: str) -> list[Process]:
    """Find the processes with the run's id in their environment, and all below them. Leave out us and our ancestors.

    The deepest come first. A process that shows no id is found through its parent, so the parent must not die earlier.
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
