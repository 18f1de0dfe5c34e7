"""See ``sidecar.doctor.ground.Ground``: this module is one."""

from __future__ import annotations

import sys
from typing import Any

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor.ground import VITE, Member, Plan, Run
from sidecar.doctor.linux.roll import LinuxRoll
from sidecar.doctor.linux.trees import SIZES, grow, limit_life
from sidecar.host import bundle
from sidecar.host.leftovers import DeadGroup, Leftovers
from sidecar.host.linux import cgroup, sweep
from sidecar.host.linux.tree import read_process

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

BLOW = "SIGKILL"

PLANS = {
    "the app": Plan(("app",), ("parentWatch",)),
    "the app, while the supervisor is stopped": Plan(
        ("app",), ("guard", "parentWatch"), needs="parentWatch", stopped=("supervisor",)
    ),
    "the supervisor (no control group)": Plan(("supervisor",), ("guard", "subreaper"), grouped=False),
    "the guard": Plan(("guard",), ("subreaper",)),
    "the bootloader": Plan(("bootloader",), ("guard",)),
    "guard and supervisor at once": Plan(
        ("supervisor", "guard"),
        ("controlGroup", "parentDeathSignal", "stdinGuard"),
        leaves_rest=True,
        needs="controlGroup",
    ),
    "guard and supervisor at once (no control group)": Plan(
        ("supervisor", "guard"), ("runCookie", "parentDeathSignal", "stdinGuard"), leaves_rest=True, grouped=False
    ),
}
"""Where a control group ends the tree, neither the subreaper nor the cookie is needed: these are tried without one.

Of the app's end of the sidecar's stdin we hold a copy, so that its death is seen by the watch alone.
"""

UNTRIED = {
    "stdinGuard": "there is no node that works",
    "pidNamespace": "only a service that asks for it has one",
}


def make_roll() -> LinuxRoll:
    """See ``Ground``."""
    return LinuxRoll()


def find_ours(app: int, supervisor: int) -> dict[str, int]:
    """See ``Ground``: the guard is the supervisor's parent, and the bootloader the guard's."""
    del app
    found = read_process(supervisor)
    guard = None if found is None else read_process(found.ppid)
    if guard is None:
        raise ProcessLookupError
    ours = {"supervisor": supervisor, "guard": guard.pid}
    return ours if bundle.unpacked_folder() is None else {**ours, "bootloader": guard.ppid}


def find_group(guarantees: dict[str, Any], ours: dict[str, int]) -> str | None:
    """See ``Ground``: beside doctor's own, which is the guard's, too."""
    parent, guard = cgroup.own_folder(), read_process(ours["guard"])
    if not guarantees["controlGroup"] or parent is None or guard is None:
        return None
    return cgroup.folder_of(guard, parent)


def end_group(group: str) -> None:
    """See ``Ground``."""
    if cgroup.is_orphaned(group):
        sweep.end(Leftovers(groups=(DeadGroup(group, ()),)))


def overdue(run: Run) -> tuple[str, ...]:
    """See ``Ground``: what the supervisor itself has started, and Vite; who others have started may live on."""
    programs = run.living_programs() if run.guarantees["parentDeathSignal"] else ()
    return (*programs, *(run.living_members(VITE) if run.guarantees["stdinGuard"] else ()))


def is_excused(member: Member, guarantees: dict[str, Any]) -> bool:
    """See ``Ground``: a daemon with an empty environment, where there is no control group."""
    return not guarantees["controlGroup"] and (member.kind, member.role) == ("scrubbed", "daemon")
