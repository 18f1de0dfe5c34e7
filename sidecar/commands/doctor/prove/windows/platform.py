"""The ``Platform`` for Windows. See ``sidecar.commands.doctor.prove.platform``."""

from __future__ import annotations

import sys
from typing import Any

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from sidecar.commands.doctor.prove.platform import Member, Plan, Run
from sidecar.commands.doctor.prove.windows.liveness import WindowsLiveness
from sidecar.commands.doctor.prove.windows.trees import SIZES, grow, limit_life
from sidecar.host import frozen
from sidecar.host.windows.processes import open_process, parent_of

__all__ = [
    "BLOW",
    "PLANS",
    "SIZES",
    "UNTRIED",
    "end_group",
    "find_group",
    "find_ours",
    "grow",
    "is_excused",
    "limit_life",
    "make_liveness",
    "overdue",
]

BLOW = "TerminateProcess"

PLANS = {
    "the app": Plan(("app",), ("parentWatch",)),
    "the supervisor": Plan(("supervisor",), ("jobObject",), leaves_rest=True),
    "the bootloader": Plan(("bootloader",), ()),
    "all of them at once": Plan(("supervisor", "bootloader", "app"), ("jobObject",), leaves_rest=True),
}
"""A killed supervisor leaves its record, but no process.

We hold the other end of the sidecar's stdin. So the app's death does not close it, and only the watch can see it.
"""

UNTRIED = {"stdinGuard": "the job ends Vite before its stdin could"}


def make_liveness() -> WindowsLiveness:
    """See ``Platform``."""
    return WindowsLiveness()


def find_ours(app: int, supervisor: int) -> dict[str, int]:
    """See ``Platform``. The app's child is the supervisor itself, or the bootloader that has started it."""
    chain = _up_to(app, supervisor)
    if len(chain) > 1 and frozen.unpacked_folder() is not None:
        return {"supervisor": supervisor, "bootloader": chain[1]}
    return {"supervisor": supervisor}


def _up_to(top: int, pid: int) -> list[int]:
    """Return ``pid`` and all above it, up to the child of ``top``. Raises ``ProcessLookupError`` if one has ended."""
    process, found = open_process(pid), []
    while process is not None and pid != top:
        found.append(pid)
        above = parent_of(pid, process)
        _winapi.CloseHandle(process)
        pid, process = above or (0, None)
    if process is None:
        raise ProcessLookupError
    _winapi.CloseHandle(process)
    return found


def find_group(guarantees: dict[str, Any], ours: dict[str, int]) -> str | None:
    """See ``Platform``. There are no control groups here."""
    del guarantees, ours
    return None


def end_group(group: str) -> None:
    """See ``Platform``."""
    del group


def overdue(run: Run) -> tuple[str, ...]:
    """See ``Platform``. No process may live until the next start, which finds only a record."""
    return run.living_programs() + run.living_members()


def is_excused(member: Member, guarantees: dict[str, Any]) -> bool:
    """See ``Platform``."""
    del member, guarantees
    return False
