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
from pathlib import Path

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import bundle, records
from sidecar.host.linux import cgroup
from sidecar.host.linux.tree import (
    KILL_BOUND_S,
    RESCAN_S,
    Process,
    all_processes,
    kill_until_empty,
    pid_namespace,
    read_process,
    variable,
)
from sidecar.host.shared import RUN_ID, command_of
from sidecar.wire.messages import SupervisorSwept, SweptProcess, Wire


class DeadGroup(Wire, frozen=True, omit_defaults=False):
    """A control group whose guard is dead, and who is in it."""

    folder: str
    processes: tuple[SweptProcess, ...]


class DeadRun(Wire, frozen=True, omit_defaults=False):
    """A run whose guard and supervisor are dead, and who has its mark, but for those in a group that is told of."""

    record: str
    run_id: str
    this_boot: bool
    processes: tuple[SweptProcess, ...] = ()


class Leftovers(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What dead runs left. Each is dead for good, so that it may be ended later as well as now."""

    groups: tuple[DeadGroup, ...] = ()
    runs: tuple[DeadRun, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Records that are damaged, or of a version that we do not know: they are put aside."""
    drafts: tuple[str, ...] = ()
    """What a supervisor was writing in the instant when it was killed."""
    folders: tuple[str, ...] = ()
    """What killed bootloaders had unpacked."""
    problems: tuple[str, ...] = ()

    def processes(self) -> tuple[SweptProcess, ...]:
        """All that would be ended."""
        return tuple(it for group in self.groups for it in group.processes) + tuple(
            it for run in self.runs for it in run.processes
        )


@cache
def boot_id() -> str:
    """This boot's id: a record of an earlier boot names no living process."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def sweep() -> SupervisorSwept | None:
    """End what dead runs left; what was found, or ``None`` if nothing was. Never raises: it must not stop a start."""
    try:
        return end(find())
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM: nobody is taken for dead who only could not be looked at
        problem = f"what earlier runs left could not be looked for: {error.strerror}. The next start tries again."
        return SupervisorSwept((), 0, 0, 0, (problem,))


def find() -> Leftovers:
    """What dead runs left. Ends and removes nothing. Raises ``OSError`` where nobody can be looked at now."""
    problems: list[str] = []
    orphaned = cgroup.orphaned()
    runs: list[DeadRun] = []
    unreadable: list[str] = []
    drafts: list[str] = []
    try:
        for path, record in records.read_runs():
            if record is None:
                unreadable.append(str(path))
            elif is_over(record):
                runs.append(DeadRun(str(path), record.run_id, this_boot=record.boot_id == boot_id()))
                # one from another session: the groups beside ours do not show it
                if record.group is not None and record.group not in orphaned and cgroup.is_orphaned(record.group):
                    orphaned.append(record.group)
        # a pid that is used again only puts the removal off
        drafts = [str(path) for path, pid in records.drafts() if _is_gone(pid)]
    except OSError as error:
        problems.append(f"the records of earlier runs cannot be read: {error}")
    groups = tuple(DeadGroup(folder, _describe(cgroup.members(folder))) for folder in orphaned)
    told = {process.pid for group in groups for process in group.processes}
    return Leftovers(
        groups=groups,
        runs=tuple(_with_processes(run, told) for run in runs),
        unreadable=tuple(unreadable),
        drafts=tuple(drafts),
        folders=tuple(bundle.left_behind()),
        problems=tuple(problems),
    )


def end(left: Leftovers) -> SupervisorSwept | None:
    """End it, and what has joined it since; what was found, or ``None`` if nothing was.

    Raises ``OSError`` where nobody can be looked at now; what was ended until then is ended.
    """
    if left == Leftovers():
        return None
    problems = list(left.problems)
    problems += [
        f"the control group {group.folder} could not be emptied and removed"
        for group in left.groups
        if not _end_group(group.folder)
    ]
    problems += [_put_aside(Path(path)) for path in left.unreadable]
    for run in left.runs:
        if run.this_boot:
            survivors = kill_until_empty(lambda run_id=run.run_id: _marked(run_id))  # type: ignore[misc]
            problems += [f"process {process.pid} of an earlier run could not be ended" for process in survivors]
    problems += [
        f"the folder {folder}, which a killed bootloader left, could not be removed"
        for folder in left.folders
        if not bundle.remove(folder)
    ]
    for path in (*(run.record for run in left.runs), *left.drafts):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another start that runs now was quicker
        except OSError as error:
            problems.append(f"the file {path} of an earlier run could not be removed: {error.strerror}")
    if not problems and left == Leftovers(drafts=left.drafts):
        return None  # an unfinished record is nobody's news
    return SupervisorSwept(left.processes(), len(left.groups), len(left.runs), len(left.folders), tuple(problems))


def is_over(record: records.RunRecord) -> bool:
    """Whether guard and supervisor are known to be dead, both: in a run of an earlier boot they always are."""
    if record.boot_id != boot_id():
        return True
    return not is_elsewhere(record) and not any(lives(owner) for owner in record.owners)


def is_elsewhere(record: records.RunRecord) -> bool:
    """Whether its pids are of another namespace than ours."""
    return record.pid_namespace not in {None, pid_namespace()}


def _with_processes(run: DeadRun, told: set[int]) -> DeadRun:
    if not run.this_boot:
        return run
    pids = [process.pid for process in _marked(run.run_id)]
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


def _put_aside(path: Path) -> str:
    """What to say of an unreadable record, which the next start need not see again."""
    aside = path.with_suffix(".unreadable")
    try:
        path.replace(aside)
    except OSError as error:
        # ENOENT: another start that runs now was quicker; EISDIR, ENOTEMPTY: no file of ours. The others still count
        return f"the record {path} is damaged, and could not be put aside: {error.strerror}"
    return f"a record of an earlier run is damaged, or of another version; it was put aside: {aside}"


def _is_gone(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.dead


def lives(owner: records.Identity) -> bool:
    """Whether the process is there, and is no zombie."""
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
    others = (it for it in processes.values() if it.pid not in ancestors and not it.dead)
    return [it for it in others if variable(it.pid, RUN_ID) == run_id]


def _describe(pids: Iterable[int]) -> tuple[SweptProcess, ...]:
    return tuple(SweptProcess(pid, command_of(pid)) for pid in pids)
