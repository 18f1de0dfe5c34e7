"""Find which layers of the kill hold on macOS: do what a start does, with a process that does nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

assert sys.platform != "win32"  # for mypy: kqueue

from sidecar.host.darwin.guard import identify, watch
from sidecar.host.darwin.host import claims
from sidecar.host.darwin.kernel_events import EVFILT_PROC, NOTE_EXIT, KernelEvents
from sidecar.host.darwin.lineage import System
from sidecar.host.survey import NO_STDIN_GUARD, Layer, LayerTable, layers_of

NOTICE_S = 10.0
"""The bound for an event. It comes in less than a millisecond."""

LAYERS: LayerTable = {
    "guard": (
        "a second process follows the tree from fork to fork, and kills it when the app or the supervisor dies",
        "The system does not report another process's end (kqueue, EVFILT_PROC). A sandbox has to allow it.",
    ),
    "parentWatch": (
        "the app's death is seen at once, without polling",
        "The process that started this is gone or may not be watched. The end of stdin still tells of the app's death.",
    ),
    "stdinGuard": ("Vite ends with its stdin, even if the whole sidecar is killed at once", NO_STDIN_GUARD),
    "runCookie": (
        "the next start finds what was left, by the mark in its environment; macOS hides that of its own programs",
        "",
    ),
}
"""Each layer by its name in ``initialize``: its meaning, and why it may be absent (the last never is).

The other layers do not exist on macOS.
"""


def find_layers(system: System, make_kernel_events: Callable[[], KernelEvents]) -> list[Layer]:
    """See ``Survey``. Raises ``OSError`` if the system has no process to spare."""
    kernel_events = make_kernel_events()
    guarded = _is_told_of_an_end(system, kernel_events)
    claimed = msgspec.to_builtins(
        claims(guarded=guarded, parent_watched=guarded and _watches_app(system, kernel_events))
    )
    return layers_of(LAYERS, claimed)


def _is_told_of_an_end(system: System, kernel_events: KernelEvents) -> bool:
    """Tell whether the kernel reports a process's end, as the guard needs it. Try it with a child that does nothing."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    process = system.read(child)
    try:
        if process is not None:
            watch(system, kernel_events, process, forks=True)
    except OSError:
        process = None  # EPERM: a sandbox refuses it
    os.close(write)  # now the child ends
    told = [] if process is None else kernel_events.wait(NOTICE_S)
    os.waitpid(child, 0)
    return any(it.ident == child and it.filter == EVFILT_PROC and it.fflags & NOTE_EXIT for it in told)


def _watches_app(system: System, kernel_events: KernelEvents) -> bool:
    """Tell whether the kernel lets us watch the process that started us."""
    try:
        app = identify(system, None, None).app
        if app is not None:
            watch(system, kernel_events, app)
    except OSError:
        return False  # ESRCH: it has ended, and a sidecar would not have started; EPERM: a sandbox refuses it
    return app is not None
