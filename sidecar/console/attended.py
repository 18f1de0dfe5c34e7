"""The view of ``sidecar dev`` at a terminal of Linux or macOS: lines, a status line below, keys, and job control."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from sidecar.config import Service
from sidecar.console.colour import shows_colour
from sidecar.console.dev import begin, on_signal, show_lines, unprobed_of
from sidecar.console.front import DevFront
from sidecar.console.look import load_look
from sidecar.console.opener import Opener
from sidecar.console.screen import Screen
from sidecar.console.status import StatusLine
from sidecar.console.terminal import Terminal, read_keys
from sidecar.console.view import Keys, TerminalDisplay
from sidecar.events import Event
from sidecar.host.fds import encoding_of, takes_escapes
from sidecar.parent import Run
from sidecar.runtime import Call, Inbox
from sidecar.threads import start_thread

KEYS_IN_FLIGHT = 16
"""So many keys may wait for the loop; further ones are lost, as a person expects who leans on the keyboard."""


def open_view(
    terminal: Terminal | None,
    opener: Opener | None,
    page: str,
    services: Mapping[str, Service],
    run: Run,
    inbox: Inbox,
    open_page: Callable[[str], None] | None,
) -> DevFront:
    """See ``dev.OpenView``; without ``terminal`` no keys are read."""
    if not os.isatty(1):
        return show_lines(page, services, run, inbox, open_page)
    encoding = encoding_of(1)
    controls = takes_escapes(1)

    def measure() -> Iterable[Event]:
        counted = [size for size in map(run.host.memory, services) if size is not None]
        status.remember(sum(counted) if counted else None)
        return ()

    unprobed = unprobed_of(services)
    probed = page not in unprobed
    status = StatusLine(page, 1, lambda: inbox.put(Call(measure)), keys=terminal is not None, probed=probed)
    load = partial(load_look, encoding, terminal=controls, colour=shows_colour())
    screen = Screen(1, load, status if controls else None, encoding)
    view = TerminalDisplay(screen, status, terminal, unprobed)
    front = DevFront(page, inbox, view, open_page)
    on_signal(signal.SIGWINCH, inbox, view.resized)
    signal.signal(signal.SIGCONT, partial(_job_signal, inbox, view, view.resume))
    if terminal is not None:
        if terminal.suspends:
            signal.signal(signal.SIGTSTP, partial(_job_signal, inbox, view, view.suspend))
        _listen(inbox, terminal, Keys(list(services), front, view, screen, status, opener))
    begin(screen, services)
    return front


def _listen(inbox: Inbox, terminal: Terminal, keys: Keys) -> None:
    room = threading.Semaphore(KEYS_IN_FLIGHT)

    def press(key: str) -> Iterable[Event]:
        room.release()
        return keys.press(key)

    def pressed(key: str) -> None:
        if room.acquire(blocking=False):
            inbox.put(Call(partial(press, key)))

    start_thread("keys", partial(read_keys, terminal, pressed, lambda: inbox.put(Call(keys.hang_up))))


def _job_signal(
    inbox: Inbox, view: TerminalDisplay, work: Callable[[], Iterable[Event]], number: int, _frame: object
) -> None:
    """Set down in the handler itself: the loop may be waiting for the writer."""
    view.continued = number == signal.SIGCONT
    inbox.put(Call(work))
