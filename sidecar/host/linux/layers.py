"""Find which layers of the kill hold here: do what a start does, by the same code, with a process that does nothing."""

from __future__ import annotations

import os
import sys

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import make_host
from sidecar.host.linux import cgroup, pidns
from sidecar.host.linux.guard import watch_app
from sidecar.host.survey import NO_STDIN_GUARD, Layer, LayerTable, layers_of

EMPTY_S = 1.0
"""The bound for our group to become empty. Its one process has ended already; the kernel only has to notice."""

RUN_ID = "doctor"
"""For a host that belongs to no run and starts nothing."""

ISOLATION = "pidNamespace"
ISOLATION_MEANS = "a service with this isolation leaves nothing, even if the whole sidecar is killed at once"


def find_layers() -> list[Layer]:
    """See ``Survey``."""
    return [*layers_of(LAYERS, _claims()), _isolation()]


def _isolation() -> Layer:
    """Find whether a service can have a pid namespace. ``initialize`` does not say: only services that ask get one."""
    refused = pidns.why_not()
    advice = "" if refused is None else f"The kernel refuses it ({refused}). {pidns.ADVICE}, or do without isolation."
    return Layer(ISOLATION, refused is None, ISOLATION_MEANS, advice)


def _claims() -> dict[str, bool | str]:
    """Return what ``initialize`` would claim. A child plays the supervisor, and we play the guard."""
    try:
        app = watch_app(None, None)
    except ProcessLookupError:
        app = None  # the process that started us has ended meanwhile; a sidecar would not have started at all
    enter_read, enter_write = os.pipe()
    told_read, told_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(enter_write)
        contained = os.read(enter_read, 1) == b"y"
        host = make_host(RUN_ID, guarded=True, parent_watched=app is not None, contained=contained)
        os.write(told_write, msgspec.json.encode(host.guarantees()))
        os._exit(0)
    os.close(enter_read)
    os.close(told_write)
    group = cgroup.make(os.getpid(), child)
    os.write(enter_write, b"n" if group is None else b"y")
    os.close(enter_write)
    with os.fdopen(told_read, "rb") as told:
        answer = told.read()
    os.waitpid(child, 0)
    if group is not None:
        cgroup.wait_empty(group, EMPTY_S)
        cgroup.remove(group)
    if app is not None:
        os.close(app)
    return msgspec.json.decode(answer, type=dict[str, bool | str])


def _no_group() -> str:
    folder = cgroup.own_folder()
    if folder is None:
        return (
            "Control groups of version 2 are not mounted, or /proc/self/cgroup does not show them (some containers). "
            "Nothing needs to be done: the guard ends the tree without them. If guard and supervisor are killed "
            "together, a daemon survives only if its environment no longer shows our run id."
        )
    if not os.access(folder, os.W_OK) or not os.access(f"{folder}/cgroup.procs", os.W_OK):
        return (
            f"This user may make no group below this session's group, {folder} (ssh, a container, sudo). An app that a "
            "desktop starts has its own group. Elsewhere use: systemd-run --user --scope -p Delegate=yes COMMAND."
        )
    return f"The kernel refuses a group below {folder}. See its cgroup.max.descendants, cgroup.max.depth, cgroup.type."


def _not_watched() -> str:
    return (
        "The process that started this is outside of our pid namespace, or the kernel is older than 5.3. The end of "
        "stdin still tells of the app's death. Start the sidecar in the app's own namespace."
    )


def _refused() -> str:
    return "The kernel refuses it (prctl). A filter on system calls, such as a container's, has to allow it."


LAYERS: LayerTable = {
    "guard": (
        "a second process kills all below it when the app or the supervisor dies, even if the supervisor hangs",
        _refused,
    ),
    "subreaper": ("daemons stay below guard and supervisor, so that these find them", _refused),
    "parentDeathSignal": ("the kernel ends each service's program when the supervisor dies", _refused),
    "parentWatch": ("the app's death is seen at once, without polling", _not_watched),
    "controlGroup": (
        "a process stays in it even if it daemonises or clears its environment; one write ends all of it",
        _no_group,
    ),
    "stdinGuard": ("Vite ends with its stdin, even if the whole sidecar is killed at once", NO_STDIN_GUARD),
    "runCookie": ("the next start finds what was left, by the mark in its environment", _refused),
}
"""Each layer by its name in ``initialize``: its meaning, and why it may be absent.

``jobObject`` exists on Windows only.
"""
