"""The supervisor's side of the guard and the app: what it watches, and what it tells the guard."""

from __future__ import annotations

import os
import select
import signal
import sys

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.events import AppGone
from sidecar.host.lifeline import ON_WATCH, Lifeline
from sidecar.runtime import Inbox, SignalSeen


def await_guard(lifeline: Lifeline) -> None:
    """Wait until the guard is on watch: no child may start before, or it could outlive us both.

    Its end instead is not lost: ``watch_lifeline`` will read it again.
    """
    os.read(lifeline.signals, 1)


def watch_lifeline(lifeline: Lifeline, inbox: Inbox) -> None:
    """A thread's body: signals that the guard passes on, its death, and the app's."""
    poll = select.poll()
    poll.register(lifeline.signals, select.POLLIN)
    if lifeline.app is not None:
        poll.register(lifeline.app, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == lifeline.app:
                inbox.put(AppGone("the app has ended"))
                poll.unregister(fd)
                continue
            numbers = os.read(lifeline.signals, 512)
            if not numbers:
                inbox.put(AppGone("the guard has ended"))
                return
            for number in numbers:
                if number != ON_WATCH:
                    inbox.put(SignalSeen(number, forwarded=True))


def announce_grace(lifeline: Lifeline, ms: int) -> None:
    """Tell the guard how long to wait for us when the app dies."""
    try:
        os.write(lifeline.orders, b"%d\n" % ms)
    except BrokenPipeError:
        pass  # the guard is dead, which the lifeline's end tells


def wake_guard(lifeline: Lifeline) -> None:
    """A guard that was stopped (SIGSTOP) would stay for ever: let it see our end."""
    if os.getppid() == lifeline.guard_pid:  # while it is our parent, the pid is its own
        os.kill(lifeline.guard_pid, signal.SIGCONT)


def jitter() -> float:
    """A float in [0, 1) for the backoff (``random`` costs more to import than all of this module)."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)
