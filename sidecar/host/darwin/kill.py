"""End a tree process by process, on a system without a subreaper (macOS)."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable

assert sys.platform != "win32"  # for mypy: signals that stop

from sidecar.host.darwin.lineage import Process, System

KILL_BOUND_S = 10.0
"""The bound of a kill. Survivors hang in the kernel, or we may not kill them. The caller names them."""

RESCAN_S = 0.0005
"""The time between two looks at a tree after SIGKILL was sent to all of it: about as long as a death takes."""


def send(system: System, process: Process, number: int) -> None:
    """Signal exactly this process, or none.

    The process may end in the microseconds between the check and the signal, and macOS has no pidfd to close this gap.
    But the kernel reuses a pid only after all others (99,999), which takes minutes. Raises ``PermissionError`` if the
    process belongs to another user.
    """
    again = system.read(process.pid)
    if again is None or again.birth != process.birth or again.dead:
        return
    try:
        system.kill(process.pid, number)
    except ProcessLookupError:
        pass  # it ended between the check and the signal


def end_all(system: System, look: Callable[[], Iterable[Process]], bound_s: float = KILL_BOUND_S) -> list[Process]:
    """SIGKILL what ``look`` returns until nothing in it is alive. Return what is left when the bound is reached.

    Each process is stopped first. It is killed after one more look, which shows the children that it forked before the
    stop. If it were killed at once, these children would become orphans before any look had shown them. A fork storm
    loses, because a stopped process forks no more.
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
                pass  # another user's (set-id) process; the caller names it in the end
            done.add(it.birth)
            acted = True
        if time.monotonic() >= deadline:
            return alive
        if not acted:
            time.sleep(RESCAN_S)
