"""This module is a ``sidecar.host.survey.Survey``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import msgspec
import psutil

from sidecar.host import runs
from sidecar.host.orphans import Verdict
from sidecar.host.runs import Overview, Program
from sidecar.host.shared import RUN_ID, SERVICE, command_of
from sidecar.host.survey import NO_STDIN_GUARD, Layer, LayerTable, layers_of
from sidecar.host.windows import winapi
from sidecar.host.windows.host import WindowsHost, holder_of, listeners
from sidecar.host.windows.orphans import end, find, judge
from sidecar.host.windows.processes import environment, identify, lives
from sidecar.host.windows.session import WindowsSession
from sidecar.state import run_record

__all__ = ["end", "find", "find_layers", "holder_of", "overview"]

LAYERS: LayerTable = {
    "jobObject": (
        "when the supervisor dies, the system ends all that was started; no process can leave the job",
        "The process that started this is in a job that allows no nested job. Start the sidecar outside of it.",
    ),
    "parentWatch": (
        "the app's death is seen at once, without polling",
        (
            "We may not open the process that started this; it may be another user's. The end of stdin still tells of "
            "the app's death."
        ),
    ),
    "stdinGuard": ("Vite ends with its stdin, even if the whole sidecar is killed at once", NO_STDIN_GUARD),
}
"""Each layer by its name in ``initialize``: its meaning, and why it may be absent. Windows has no other layers."""


def overview() -> Overview:
    """See ``Survey``."""
    return runs.look(_ProcessTable())


def find_layers() -> list[Layer]:
    """See ``Survey``. Do what a start does: put this process into a job."""
    try:
        session = WindowsSession(None)
    except ProcessLookupError:
        watched = False  # the process that started us has ended meanwhile; a sidecar would not have started at all
    else:
        watched = session.watches_app
    host = WindowsHost("doctor", parent_watched=watched, child_died=lambda: None)
    if host.own_job is not None:
        winapi.let_out(host.own_job)  # else it would hold processes that break away from a trial's job, and hide that
    claimed: dict[str, bool | str] = msgspec.to_builtins(host.guarantees())
    return layers_of(LAYERS, claimed)


class _ProcessTable:
    """See ``ProcessTable``: the marks in the environments that the processes were started with."""

    def __init__(self) -> None:
        self.marks: dict[int, tuple[str, str | None]] = {}
        for pid in psutil.pids():
            found = environment(pid)
            if RUN_ID in found:
                self.marks[pid] = (found[RUN_ID], found.get(SERVICE))

    def judge(self, record: run_record.RunRecord) -> Verdict:
        return judge(record)

    def owners(self, record: run_record.RunRecord) -> tuple[run_record.Identity | None, run_record.Identity | None]:
        return None, next(iter(record.owners), None)

    def program(self, identity: run_record.Identity | None) -> Program | None:
        if identity is None or not lives(identity):
            return None
        age = winapi.now() - identity.start
        return Program(identity.pid, identity.start, command_of(identity.pid), max(0, age // winapi.UNITS_PER_MS))

    def tree(self, run_id: str, service: str, root: int | None) -> list[int]:
        found = {pid for pid, mark in self.marks.items() if mark == (run_id, service)}
        if root is not None:
            try:
                found |= {root, *(it.pid for it in psutil.Process(root).children(recursive=True))}
            except psutil.NoSuchProcess:
                pass  # it has ended since
        return sorted(found)

    def listens(self, pids: list[int], port: int) -> bool:
        return any(pid in pids for _, _, pid in listeners(port))

    def strangers(self, known: set[str]) -> Iterator[Program]:
        for pid, (run_id, _) in self.marks.items():
            found = self.program(identify(pid)) if run_id not in known else None
            if found is not None:
                yield found
