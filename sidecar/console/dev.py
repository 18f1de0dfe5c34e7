"""``sidecar dev``: one service, or those of a Tauri project, supervised in this terminal (or for a pipe)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from msgspec import structs

from sidecar import __version__
from sidecar.config import CommandService, PortConfig, Service, TcpReady, ViteService
from sidecar.console.colour import ask_for_colours, shows_colour
from sidecar.console.front import DevFront, JsonDisplay
from sidecar.console.look import load_look
from sidecar.console.plain import PlainDisplay
from sidecar.console.program import uses_port
from sidecar.console.screen import Screen
from sidecar.console.words import NAME
from sidecar.core.supervisor import Supervisor
from sidecar.diagnostics import say
from sidecar.errors import ConfigurationError
from sidecar.events import Event, Interrupted
from sidecar.host.base import Tether
from sidecar.host.fds import encoding_of
from sidecar.parent import Run, jitter
from sidecar.pumps import Outbox
from sidecar.runtime import Call, Inbox, Runtime
from sidecar.stdio import take_standard_streams
from sidecar.tauri.project import find, read
from sidecar.tauri.section import read_services
from sidecar.threads import start_thread
from sidecar.wire.messages import Server

EXIT_FAILED = 1

NAME_LENGTH = 32
"""A service is named after its program, which may be called anything; each line begins with the name."""


OpenView = Callable[[str, list[str], Run, Inbox, Callable[[str], None] | None], DevFront]
"""Makes the view of: the service with the page, all services, this run, its inbox; and what opens the page."""


def serve(
    tether: Tether, options: SimpleNamespace, open_view: OpenView, open_page: Callable[[str], None] | None
) -> int:
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
    insistent = getattr(signal, "SIGQUIT", None)  # Windows has none
    if insistent is not None:
        on_signal(insistent, inbox, partial(_end_at_once, insistent))
    if options.json:
        _, fd = take_standard_streams()
        outbox = Outbox(fd)
        start_thread("output", outbox.run)
        front = DevFront(page, inbox, JsonDisplay(outbox), open_page)
    else:
        front = open_view(page, list(services), run, inbox, open_page)
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
    project = None if program else find(Path(root or "."))
    asked = read_services(read(project)) if project is not None else None
    if asked is None or not asked.services:
        name, service = choose_service(root, program, host, port, ask_for_colours({}) if colour else {})
        return name, {name: service}
    page = asked.page or next(iter(asked.services))
    services = {name: _coloured(each) if colour else each for name, each in asked.services.items()}
    if host or port:
        services[page] = _listening(services[page], host, port)
    return page, services


def _coloured(service: Service) -> Service:
    return structs.replace(service, env=ask_for_colours(service.env) | service.env)


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


def show_lines(
    page: str, services: list[str], run: Run, inbox: Inbox, open_page: Callable[[str], None] | None
) -> DevFront:
    """The view where nobody presses keys, or none of ours read them."""
    del run
    encoding = encoding_of(1)
    screen = Screen(1, partial(load_look, encoding, terminal=False, colour=shows_colour()), None, encoding)
    begin(screen, services)
    return DevFront(page, inbox, PlainDisplay(screen), open_page)


def begin(screen: Screen, services: list[str]) -> None:
    """The first line, and the thread that writes it and all others."""
    screen.put((("starting ", ""), (", ".join(services), NAME)))
    start_thread("output", screen.run)


def on_signal(number: int, inbox: Inbox, work: Callable[[], Iterable[Event]]) -> None:
    """Do ``work`` on the loop when the signal comes."""
    # the handler interrupts the loop anywhere: it only puts, which is reentrant
    signal.signal(number, lambda *_: inbox.put(Call(work)))


def _end_at_once(number: int) -> Iterable[Event]:
    r"""What Ctrl-\ asks for: the second signal is the one that insists."""
    return Interrupted(number), Interrupted(number)
