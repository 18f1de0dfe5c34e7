"""What dead runs left, for all systems: records, drafts, unpacked folders. A run is dead if all its owners are.

``look`` only finds things, so ``sidecar clean --dry-run`` can show them. ``finish`` removes files and folders, once the
processes are dead. Only ``seen`` reads the disks to which programs unpack. Such a disk may hang, so a start calls
``seen`` after it has killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from sidecar.host import frozen, unpacked
from sidecar.protocol.messages import SupervisorSwept, SweptProcess, Wire
from sidecar.state import atomic as drafts
from sidecar.state import run_record

Verdict = Literal["lives", "dead", "past", "elsewhere"]
"""The state of a run. ``lives``: one of its owners (guard, supervisor) lives. ``dead``: all are dead. ``past``: all are
dead, because the system has booted since. ``elsewhere``: its pids are from another pid namespace."""


class DeadGroup(Wire, frozen=True, omit_defaults=False):
    """A control group with a dead guard, and the processes in it."""

    folder: str
    processes: tuple[SweptProcess, ...]


class DeadRun(Wire, frozen=True, omit_defaults=False):
    """A run with a dead guard and a dead supervisor, and the processes with its mark that no ``DeadGroup`` lists."""

    record: str
    run_id: str
    this_boot: bool
    processes: tuple[SweptProcess, ...] = ()
    unpacked: tuple[run_record.UnpackedFolder, ...] = ()
    """The folders that its services have unpacked, as the record names them. Some may be gone."""


class Orphans(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What dead runs left. A dead run never comes back, so what it left may be ended now or later."""

    groups: tuple[DeadGroup, ...] = ()
    runs: tuple[DeadRun, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Records that are damaged, or of a version that we do not know. ``clear`` puts them aside."""
    drafts: tuple[str, ...] = ()
    """Files that a supervisor was writing when it was killed."""
    folders: tuple[str, ...] = ()
    """Folders that killed bootloaders of ours had unpacked, see ``seen``."""
    problems: tuple[str, ...] = ()

    def processes(self) -> tuple[SweptProcess, ...]:
        """Return all processes that ``end`` would end."""
        return tuple(it for group in self.groups for it in group.processes) + tuple(
            it for run in self.runs for it in run.processes
        )


def look(
    judge: Callable[[run_record.RunRecord], Verdict], is_gone: Callable[[int], bool]
) -> tuple[Orphans, list[run_record.RunRecord]]:
    """Find everything but processes, groups and unpacked folders. Return also the dead runs' records."""
    problems: list[str] = []
    runs: list[DeadRun] = []
    dead: list[run_record.RunRecord] = []
    unreadable: list[str] = []
    unfinished: list[str] = []
    try:
        for path, record in run_record.read_runs():
            if record is None:
                unreadable.append(str(path))
            elif (verdict := judge(record)) in {"dead", "past"}:
                runs.append(DeadRun(path, record.run_id, this_boot=verdict == "dead", unpacked=record.unpacked))
                dead.append(record)
        unfinished = run_record.left_drafts(is_gone)
    except OSError as error:
        problems.append(f"the records of earlier runs cannot be read: {error}")
    found = Orphans(
        runs=tuple(runs),
        unreadable=tuple(unreadable),
        drafts=tuple(unfinished),
        problems=tuple(problems),
    )
    return found, dead


def seen(left: Orphans) -> Orphans:
    """Return the same with the unpacked folders that are there, and without those that are gone."""
    runs = (
        replace(run, unpacked=tuple(it for it in run.unpacked if unpacked.is_there(it.path, it.identity)))
        for run in left.runs
    )
    return replace(left, runs=tuple(runs), folders=tuple(frozen.left_behind()))


def finish(left: Orphans, problems: list[str]) -> SupervisorSwept | None:
    """Remove what is left besides processes and groups, and make the report: ``None`` if there is nothing to report."""
    left = seen(left)
    problems = problems + clear(left)
    if not problems and left == Orphans(drafts=left.drafts):
        return None  # an unfinished file is not worth a report
    folders = len(left.folders) + sum(len(run.unpacked) for run in left.runs)
    return SupervisorSwept(left.processes(), len(left.groups), len(left.runs), folders, tuple(problems))


def clear(left: Orphans) -> list[str]:
    """Remove everything but groups and processes. Return a message for each thing that could not be removed.

    The record of a run whose folder stays is kept, so that the next start tries again.
    """
    problems = [_put_aside(path) for path in left.unreadable]
    problems += [
        f"the folder {folder}, which a killed bootloader left, could not be removed"
        for folder in left.folders
        if not frozen.remove(folder)
    ]
    removals: list[tuple[str, Callable[[str], None]]] = []
    for run in left.runs:
        stuck = [it.path for it in run.unpacked if not unpacked.remove(it.path, it.identity)]
        problems += [
            f"the folder {folder}, which a service of an earlier run has unpacked, could not be removed"
            for folder in stuck
        ]
        if not stuck:
            removals.append((run.record, os.unlink))
    removals += [(path, drafts.remove_left) for path in left.drafts]
    for path, remove in removals:
        try:
            remove(path)
        except FileNotFoundError:
            pass  # another start that runs now was quicker
        except OSError as error:
            problems.append(f"the file {path} of an earlier run could not be removed: {error.strerror}")
    return problems


def _put_aside(path: str) -> str:
    """Rename an unreadable record, so that no later start reads it. Return what to report."""
    aside = f"{os.path.splitext(path)[0]}.unreadable"
    try:
        os.replace(path, aside)
    except OSError as error:
        # ENOENT: another start that runs now was quicker; EISDIR, ENOTEMPTY: no file of ours. Go on with the others
        return f"the record {path} is damaged, and could not be put aside: {error.strerror}"
    return f"a record of an earlier run is damaged, or of another version; it was put aside: {aside}"
