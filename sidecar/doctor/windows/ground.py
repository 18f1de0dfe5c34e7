"""See ``sidecar.doctor.ground.Ground``: this module is one."""

from __future__ import annotations

import sys
from typing import Any

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from sidecar.doctor.ground import Member, Plan, Run
from sidecar.doctor.windows.roll import WindowsRoll
from sidecar.doctor.windows.trees import SIZES, grow, limit_life
from sidecar.host import bundle
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
    "make_roll",
    "overdue",
]

BLOW = "TerminateProcess"

PLANS = {
    "the app": Plan(("app",), ("parentWatch",)),
    "the supervisor": Plan(("supervisor",), ("jobObject",), leaves_rest=True),
    "the bootloader": Plan(("bootloader",), ()),
    "all of them at once": Plan(("supervisor", "bootloader", "app"), ("jobObject",), leaves_rest=True),
}
"""A killed supervisor leaves its record, and nothing that lives.

Of the app's end of the sidecar's stdin we hold a copy, so that its death is seen by the watch alone.
"""

UNTRIED = {"stdinGuard": "the job ends Vite before its stdin could"}


def make_roll() -> WindowsRoll:
    """See ``Ground``."""
    return WindowsRoll()


def find_ours(app: int, supervisor: int) -> dict[str, int]:
    """See ``Ground``: what the app has started, be it the supervisor, or what has started that (a bootloader)."""
    chain = _up_to(app, supervisor)
    if len(chain) > 1 and bundle.unpacked_folder() is not None:
        return {"supervisor": supervisor, "bootloader": chain[1]}
    return {"supervisor": supervisor}


def _up_to(top: int, pid: int) -> list[int]:
    """It, its parent, and so on, below ``top``. Raises ``ProcessLookupError`` if one has ended."""
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
    """See ``Ground``: there are none here."""
    del guarantees, ours
    return None


def end_group(group: str) -> None:
    """See ``Ground``."""
    del group


def overdue(run: Run) -> tuple[str, ...]:
    """See ``Ground``: nobody lives until a next start, which only finds a record."""
    return run.living_programs() + run.living_members()


def is_excused(member: Member, guarantees: dict[str, Any]) -> bool:
    """See ``Ground``."""
    del member, guarantees
    return False
