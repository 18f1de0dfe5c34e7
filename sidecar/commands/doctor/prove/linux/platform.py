"""The ``Platform`` for Linux. See ``sidecar.commands.doctor.prove.platform``."""

from __future__ import annotations

import sys
from typing import Any

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.commands.doctor.prove.linux.liveness import LinuxLiveness
from sidecar.commands.doctor.prove.linux.trees import SIZES, grow, limit_life
from sidecar.commands.doctor.prove.platform import VITE, Member, Plan, Run
from sidecar.host import frozen
from sidecar.host.linux import cgroup, orphans
from sidecar.host.linux.processes import read_process
from sidecar.host.orphans import DeadGroup, Orphans

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
"""A control group covers for the subreaper and the cookie, so these are tested without one.

We hold the other end of the sidecar's stdin. So the app's death does not close it, and only the watch can see the
death.
"""

UNTRIED = {
    "stdinGuard": "no working node was found",
    "pidNamespace": "only a service that asks for it has one",
}


def make_liveness() -> LinuxLiveness:
    """See ``Platform``."""
    return LinuxLiveness()


def find_ours(app: int, supervisor: int) -> dict[str, int]:
    """See ``Platform``. The guard is the supervisor's parent, and the bootloader is the guard's."""
    del app
    found = read_process(supervisor)
    guard = None if found is None else read_process(found.ppid)
    if guard is None:
        raise ProcessLookupError
    ours = {"supervisor": supervisor, "guard": guard.pid}
    return ours if frozen.unpacked_folder() is None else {**ours, "bootloader": guard.ppid}


def find_group(guarantees: dict[str, Any], ours: dict[str, int]) -> str | None:
    """See ``Platform``. The run's group is beside that of doctor and the guard."""
    parent, guard = cgroup.own_folder(), read_process(ours["guard"])
    if not guarantees["controlGroup"] or parent is None or guard is None:
        return None
    return cgroup.folder_of(guard, parent)


def end_group(group: str) -> None:
    """See ``Platform``."""
    if cgroup.is_orphaned(group):
        orphans.end(Orphans(groups=(DeadGroup(group, ()),)))


def overdue(run: Run) -> tuple[str, ...]:
    """See ``Platform``. The supervisor's direct children and Vite should be dead; their children may live on."""
    programs = run.living_programs() if run.guarantees["parentDeathSignal"] else ()
    return (*programs, *(run.living_members(VITE) if run.guarantees["stdinGuard"] else ()))


def is_excused(member: Member, guarantees: dict[str, Any]) -> bool:
    """See ``Platform``. Without a control group a daemon with an empty environment may survive."""
    return not guarantees["controlGroup"] and (member.kind, member.role) == ("scrubbed", "daemon")
