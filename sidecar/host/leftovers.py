"""What runs that were killed whole have left, as far as it is the same everywhere: records, drafts, unpacked folders.

Two steps, so that ``sidecar clean --dry-run`` shows what a sweep would end: ``look`` finds, ``clear`` removes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from sidecar.host import bundle, drafts, records
from sidecar.wire.messages import SupervisorSwept, SweptProcess, Wire

Verdict = Literal["lives", "dead", "past", "elsewhere"]
"""Of a run: an owner lives; all are dead; all are, for the system was booted since; or its pids mean nothing here."""


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


def look(
    judge: Callable[[records.RunRecord], Verdict], is_gone: Callable[[int], bool]
) -> tuple[Leftovers, list[records.RunRecord]]:
    """Everything but processes and groups, and the dead runs' records. Ends and removes nothing."""
    problems: list[str] = []
    runs: list[DeadRun] = []
    dead: list[records.RunRecord] = []
    unreadable: list[str] = []
    unfinished: list[str] = []
    try:
        for path, record in records.read_runs():
            if record is None:
                unreadable.append(str(path))
            elif (verdict := judge(record)) in {"dead", "past"}:
                runs.append(DeadRun(path, record.run_id, this_boot=verdict == "dead"))
                dead.append(record)
        unfinished = records.left_drafts(is_gone)
    except OSError as error:
        problems.append(f"the records of earlier runs cannot be read: {error}")
    found = Leftovers(
        runs=tuple(runs),
        unreadable=tuple(unreadable),
        drafts=tuple(unfinished),
        folders=tuple(bundle.left_behind()),
        problems=tuple(problems),
    )
    return found, dead


def clear(left: Leftovers) -> list[str]:
    """Remove it, but for groups and processes; what to say of what could not be."""
    problems = [_put_aside(path) for path in left.unreadable]
    problems += [
        f"the folder {folder}, which a killed bootloader left, could not be removed"
        for folder in left.folders
        if not bundle.remove(folder)
    ]
    removals: list[tuple[str, Callable[[str], None]]] = [(run.record, os.unlink) for run in left.runs]
    removals += [(path, drafts.remove_left) for path in left.drafts]
    for path, remove in removals:
        try:
            remove(path)
        except FileNotFoundError:
            pass  # another start that runs now was quicker
        except OSError as error:
            problems.append(f"the file {path} of an earlier run could not be removed: {error.strerror}")
    return problems


def report(left: Leftovers, problems: list[str]) -> SupervisorSwept | None:
    """What to tell of it; ``None`` if there is nothing to tell."""
    if not problems and left == Leftovers(drafts=left.drafts):
        return None  # an unfinished file is nobody's news
    return SupervisorSwept(left.processes(), len(left.groups), len(left.runs), len(left.folders), tuple(problems))


def _put_aside(path: str) -> str:
    """What to say of an unreadable record, which the next start need not see again."""
    aside = f"{os.path.splitext(path)[0]}.unreadable"
    try:
        os.replace(path, aside)
    except OSError as error:
        # ENOENT: another start that runs now was quicker; EISDIR, ENOTEMPTY: no file of ours. The others still count
        return f"the record {path} is damaged, and could not be put aside: {error.strerror}"
    return f"a record of an earlier run is damaged, or of another version; it was put aside: {aside}"
