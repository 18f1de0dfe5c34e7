"""Which layers of the kill hold on macOS: found by doing what a start does, with a process of no use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

assert sys.platform != "win32"  # for mypy: kqueue

from sidecar.host.darwin.guard import identify, watch
from sidecar.host.darwin.host import claims
from sidecar.host.darwin.kin import System
from sidecar.host.darwin.notices import EVFILT_PROC, NOTE_EXIT, Notices
from sidecar.host.survey import NO_STDIN_GUARD, Layer, LayerTable, layers_of

NOTICE_S = 10.0
"""A notice comes in less than a millisecond."""

LAYERS: LayerTable = {
    "guard": (
        "a second process follows the tree from fork to fork, and kills it when the app or the supervisor dies",
        "The system does not tell of another process's end (kqueue, EVFILT_PROC): a sandbox has to allow it.",
    ),
    "parentWatch": (
        "the app's death is seen at once, without polling",
        "Who started this has ended, or may not be watched. The end of stdin still tells of the app's death.",
    ),
    "stdinGuard": ("Vite ends with its stdin, even when everything of ours was killed at once", NO_STDIN_GUARD),
    "runCookie": (
        "the next start finds what was left, by the mark in its environment; the system's own programs show none",
        "",
    ),
}
"""By their names in ``initialize``: what each means, and why it may be absent (the last never is).

The others are not macOS's.
"""


def find_layers(system: System, make_notices: Callable[[], Notices]) -> list[Layer]:
    """See ``Survey``. Raises ``OSError`` if the system has no process to spare."""
    notices = make_notices()
    guarded = _is_told_of_an_end(system, notices)
    claimed = msgspec.to_builtins(claims(guarded=guarded, parent_watched=guarded and _watches_app(system, notices)))
    return layers_of(LAYERS, claimed)


def _is_told_of_an_end(system: System, notices: Notices) -> bool:
    """Whether the kernel tells of a process's end, as the guard has to be told: here of a child that does nothing."""
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
            watch(system, notices, process, forks=True)
    except OSError:
        process = None  # EPERM: a sandbox refuses it
    os.close(write)  # its end
    told = [] if process is None else notices.wait(NOTICE_S)
    os.waitpid(child, 0)
    return any(it.ident == child and it.filter == EVFILT_PROC and it.fflags & NOTE_EXIT for it in told)


def _watches_app(system: System, notices: Notices) -> bool:
    """Whether it tells of the one that started us."""
    try:
        app = identify(system, None, None).app
        if app is not None:
            watch(system, notices, app)
    except OSError:
        return False  # ESRCH: it has ended, and a sidecar would not have started; EPERM: a sandbox refuses it
    return app is not None
