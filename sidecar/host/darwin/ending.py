"""How a tree is ended, process by process, where no subreaper collects orphans (macOS)."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable

assert sys.platform != "win32"  # for mypy: signals that stop

from sidecar.host.darwin.kin import Process, System

KILL_BOUND_S = 10.0
"""A tree that is not gone by then holds processes in the kernel, or that we may not kill: they are named."""

RESCAN_S = 0.0005
"""Between two looks at a tree whose processes were all sent SIGKILL: about what a death takes."""


def send(system: System, process: Process, number: int) -> None:
    """Signal exactly this process, or nothing.

    Between the check and the signal there are microseconds, for which the kernel has no remedy here. It gives a pid
    away again only after all the others (99,999), which takes minutes. Raises ``PermissionError`` where it belongs to
    another user.
    """
    again = system.read(process.pid)
    if again is None or again.birth != process.birth or again.dead:
        return
    try:
        system.kill(process.pid, number)
    except ProcessLookupError:
        pass  # it went between the check and the signal


def end_all(system: System, look: Callable[[], Iterable[Process]], bound_s: float = KILL_BOUND_S) -> list[Process]:
    """SIGKILL what ``look`` gives until it gives nothing alive; what is left when the bound is reached.

    Each is stopped first, and killed when one more look has shown what it had forked by then: whoever is killed earlier
    makes orphans of children that nobody has seen yet. A fork storm loses, as who is stopped forks no more.
    """
    deadline = time.monotonic() + bound_s
    stopped: set[int] = set()
    killed: set[int] = set()
    while True:
        alive = [it for it in look() if not it.dead]
        if not alive:
            return []
        acted = False
        for it in alive:
            number, done = (signal.SIGKILL, killed) if it.birth in stopped else (signal.SIGSTOP, stopped)
            if it.birth in done:
                continue
            try:
                send(system, it, number)
            except PermissionError:
                pass  # another user's (set-id) process; it is named in the end
            done.add(it.birth)
            acted = True
        if time.monotonic() >= deadline:
            return alive
        if not acted:
            time.sleep(RESCAN_S)
