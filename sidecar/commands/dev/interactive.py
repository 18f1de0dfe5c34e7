"""The view of ``sidecar dev`` in a terminal on Linux and macOS: output, status lines below, keys, and job control."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from sidecar.commands.dev.client import DevFront
from sidecar.commands.dev.opener import Opener
from sidecar.commands.dev.serve import begin, on_signal, show_lines, unprobed_of
from sidecar.commands.dev.status_line import READY, StatusLines
from sidecar.commands.dev.view import Keys, TerminalDisplay
from sidecar.config.services import Service, TaskService
from sidecar.core.events import Event
from sidecar.host.fds import encoding_of, takes_escapes
from sidecar.runtime.loop import Call, Inbox
from sidecar.runtime.run import Run
from sidecar.terminal.color import shows_colour
from sidecar.terminal.screen import Screen
from sidecar.terminal.style import load_style
from sidecar.terminal.tty import Terminal, read_keys
from sidecar.threads import start_thread

KEYS_IN_FLIGHT = 16
"""This many key presses may wait for the loop. More are dropped, as when a key is held down."""


def open_view(
    terminal: Terminal | None,
    opener: Opener | None,
    page: str,
    services: Mapping[str, Service],
    source: str,
    run: Run,
    inbox: Inbox,
    open_page: Callable[[str], None] | None,
) -> DevFront:
    """See ``serve.OpenView``. Without ``terminal`` it reads no keys."""
    if not os.isatty(1):
        return show_lines(page, services, source, run, inbox, open_page)
    encoding = encoding_of(1)
    controls = takes_escapes(1)

    def measure() -> Iterable[Event]:
        for name in services:
            status.remember(name, run.host.memory(name))
        return ()

    unprobed = unprobed_of(services)
    words = {name: _when_ready(each, probed=name not in unprobed) for name, each in services.items()}
    status = StatusLines(words, page, 1, lambda: inbox.put(Call(measure)), keys=terminal is not None)
    load = partial(load_style, encoding, terminal=controls, colour=shows_colour(), services=list(services))
    screen = Screen(1, load, status if controls else None, encoding)
    view = TerminalDisplay(screen, status, terminal, unprobed)
    front = DevFront(page, inbox, view, open_page, attended=terminal is not None)
    on_signal(signal.SIGWINCH, inbox, view.resized)
    signal.signal(signal.SIGCONT, partial(_job_signal, inbox, view, view.resume))
    if terminal is not None:
        if terminal.suspends:
            signal.signal(signal.SIGTSTP, partial(_job_signal, inbox, view, view.suspend))
        _listen(inbox, terminal, Keys(front, view, screen, status, opener))
    begin(screen, services, source)
    return front


def _when_ready(service: Service, *, probed: bool) -> str:
    """Return the word for the state ``ready`` of this service."""
    if isinstance(service, TaskService):
        return "done"
    return READY if probed else "running"


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
    """Handle SIGCONT or SIGTSTP. Note it here in the handler, because the loop may be waiting for the writer."""
    view.continued = number == signal.SIGCONT
    inbox.put(Call(work))
