"""``sidecar dev``: one service, or those of a Tauri project, supervised in this terminal (or for a pipe)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from msgspec import structs

from sidecar import __version__
from sidecar.config import CommandService, PortConfig, Service, TcpReady, ViteService
from sidecar.console.front import DevFront, JsonDisplay
from sidecar.console.look import load_look
from sidecar.console.opener import Opener
from sidecar.console.program import uses_port
from sidecar.console.screen import Screen
from sidecar.console.status import StatusLine
from sidecar.console.terminal import Terminal, read_keys
from sidecar.console.view import Keys, PlainDisplay, TerminalDisplay
from sidecar.console.words import NAME
from sidecar.core.supervisor import Supervisor
from sidecar.diagnostics import say
from sidecar.errors import ConfigurationError
from sidecar.events import Event, Interrupted
from sidecar.host.base import Tether
from sidecar.parent import Run, jitter
from sidecar.pumps import Outbox
from sidecar.runtime import Call, Inbox, Runtime
from sidecar.stdio import take_standard_streams
from sidecar.tauri.project import find, read
from sidecar.tauri.section import read_services
from sidecar.threads import start_thread
from sidecar.wire.messages import Server

EXIT_FAILED = 1

KEYS_IN_FLIGHT = 16
"""So many keys may wait for the loop; further ones are lost, as a person expects who leans on the keyboard."""

NAME_LENGTH = 32
"""A service is named after its program, which may be called anything; each line begins with the name."""


def serve(tether: Tether, options: SimpleNamespace, terminal: Terminal | None, opener: Opener | None) -> int:
    """Be the supervisor until the services or the person end it; the exit code."""
    colour = not options.json and shows_colour()
    try:
        page, services = choose_services(options.root, options.program, options.host, options.port, colour=colour)
    except ConfigurationError as error:
        say("error", error.message)
        return EXIT_FAILED
    inbox = Inbox()
    run = Run(tether, inbox)
    core = Supervisor(Server("tauri-sidecar", __version__), os.getpid(), run.host.guarantees(), jitter)
    _on_signal(signal.SIGQUIT, inbox, _end_at_once)
    open_page = opener.open if options.open and opener is not None else None
    if options.json:
        _, fd = take_standard_streams()
        outbox = Outbox(fd)
        start_thread("output", outbox.run)
        front = DevFront(page, inbox, JsonDisplay(outbox), open_page)
    else:
        front = _open_view(page, list(services), run, inbox, terminal, opener, open_page, colour=colour)
    front.begin(services)
    code = Runtime(core, run, front, inbox, keep_ansi=colour).run()
    run.end()
    return EXIT_FAILED if front.failed and code == 0 else code


def choose_services(
    root: str | None, program: list[str], host: str | None, port: int | None, *, colour: bool
) -> tuple[str, dict[str, Service]]:
    """What the command line asks for, by name, and the one with the page.

    In a Tauri project that is its ``plugins.sidecar``. Raises ``TauriConfigError``.
    """
    env = {"FORCE_COLOR": "1"} if colour and "FORCE_COLOR" not in os.environ else {}
    project = None if program else find(Path(root or "."))
    asked = read_services(read(project)) if project is not None else None
    if asked is None or not asked.services:
        name, service = choose_service(root, program, host, port, env)
        return name, {name: service}
    page = asked.page or next(iter(asked.services))
    services = {name: structs.replace(each, env=env | each.env) for name, each in asked.services.items()}
    if host or port:
        services[page] = _listening(services[page], host, port)
    return page, services


def _listening(service: Service, host: str | None, port: int | None) -> Service:
    wish = service.port or PortConfig()
    wish = structs.replace(wish, host=host or wish.host, preferred=port or wish.preferred)
    return structs.replace(service, port=wish)


def choose_service(
    root: str | None, program: list[str], host: str | None, port: int | None, env: dict[str, str]
) -> tuple[str, Service]:
    """The one service of a command line in no Tauri project, and its name."""
    folder = root or "."
    wish = PortConfig(preferred=port, host=host or "127.0.0.1")
    if not program:
        return "vite", ViteService(root=folder, env=env, port=wish)
    name = Path(program[0]).name[:NAME_LENGTH]
    listens = uses_port(program)
    config = CommandService(
        command=program,
        cwd=folder,
        env=env,
        port=wish if listens else None,
        ready=TcpReady() if listens else None,
    )
    return (name if name.isprintable() and name else "program"), config


def shows_colour() -> bool:
    """Whether stdout is a terminal on which colours are wanted."""
    return shows_controls() and not os.environ.get("NO_COLOR")


def shows_controls() -> bool:
    """Whether stdout is a terminal that can take a line away again."""
    return os.isatty(1) and os.environ.get("TERM") != "dumb"


def _open_view(
    page: str,
    services: list[str],
    run: Run,
    inbox: Inbox,
    terminal: Terminal | None,
    opener: Opener | None,
    open_page: Callable[[str], None] | None,
    *,
    colour: bool,
) -> DevFront:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no sys.stdout if it was closed at the start
    controls = shows_controls()

    def measure() -> Iterable[Event]:
        counted = [size for size in map(run.host.memory, services) if size is not None]
        status.remember(sum(counted) if counted else None)
        return ()

    status = StatusLine(page, 1, lambda: inbox.put(Call(measure)), keys=terminal is not None)
    load = partial(load_look, encoding, terminal=controls, colour=colour)
    screen = Screen(1, load, status if controls else None, encoding)
    if not os.isatty(1):
        output = PlainDisplay(screen)
        front = DevFront(page, inbox, output, open_page)
    else:
        view = TerminalDisplay(screen, status, terminal)
        front = DevFront(page, inbox, view, open_page)
        _on_signal(signal.SIGWINCH, inbox, view.resized)
        signal.signal(signal.SIGCONT, partial(_job_signal, inbox, view, view.resume))
        if terminal is not None:
            if terminal.suspends:
                signal.signal(signal.SIGTSTP, partial(_job_signal, inbox, view, view.suspend))
            _listen(inbox, terminal, Keys(services, front, view, screen, status, opener))
    screen.put((("starting ", ""), (", ".join(services), NAME)))
    start_thread("output", screen.run)
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


def _on_signal(number: int, inbox: Inbox, work: Callable[[], Iterable[Event]]) -> None:
    # the handler interrupts the loop anywhere: it only puts, which is reentrant
    signal.signal(number, lambda *_: inbox.put(Call(work)))


def _job_signal(
    inbox: Inbox, view: TerminalDisplay, work: Callable[[], Iterable[Event]], number: int, _frame: object
) -> None:
    """Set down in the handler itself: the loop may be waiting for the writer."""
    view.continued = number == signal.SIGCONT
    inbox.put(Call(work))


def _end_at_once() -> Iterable[Event]:
    r"""What Ctrl-\ asks for: the second signal is the one that insists."""
    return Interrupted(signal.SIGQUIT), Interrupted(signal.SIGQUIT)
