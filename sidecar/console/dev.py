"""``sidecar dev``: one service, or those of a Tauri project, supervised in this terminal (or for a pipe)."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import dropwhile
from pathlib import Path
from types import SimpleNamespace

from msgspec import structs

from sidecar import __version__
from sidecar.config import CommandService, DevServer, PortConfig, Service, TcpReady, ready_probe
from sidecar.console.colour import ask_for_colours, shows_colour
from sidecar.console.front import DevFront, JsonDisplay
from sidecar.console.look import load_look
from sidecar.console.places import finder
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
from sidecar.host.patterns import matches_in_time
from sidecar.parent import Run, jitter
from sidecar.pumps import Outbox
from sidecar.runtime import Call, Inbox, Runtime
from sidecar.services.choice import find_start, service_of, told_service
from sidecar.services.project import Start, look, understand_words
from sidecar.stdio import take_standard_streams
from sidecar.tauri.project import Project, find, read
from sidecar.tauri.section import read_services
from sidecar.threads import start_thread
from sidecar.wire.messages import Server

EXIT_FAILED = 1

_DEV_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\]):(\d{1,5})(?:/|$)")

_ASSIGNMENT = re.compile(r"\w+=")

NAME_LENGTH = 32
"""A service is named after its program, which may be called anything; each line begins with the name."""


PHONE_HOST = "TAURI_DEV_HOST"
"""Tauri's CLI says by it which address of this machine a phone will ask for the page."""

OpenView = Callable[[str, Mapping[str, Service], Run, Inbox, Callable[[str], None] | None], DevFront]
"""Makes the view of: the service with the page, all services, this run, its inbox; and what opens the page."""


def serve(
    tether: Tether, options: SimpleNamespace, open_view: OpenView, open_page: Callable[[str], None] | None
) -> int:
    """Be the supervisor until the services or the person end it; the exit code."""
    colour = not options.json and shows_colour()
    try:
        page, services = choose_services(
            options.root, options.program, options.host, options.port, strict=options.strict_port, colour=colour
        )
    except ConfigurationError as error:
        say("error", error.message)
        return EXIT_FAILED
    timeout_ms = round((options.ready_timeout or 0) * 1000)  # 0: a slow start is told of, and never ended
    services = {name: structs.replace(each, ready_timeout_ms=timeout_ms) for name, each in services.items()}
    inbox = Inbox()
    run = Run(tether, inbox)
    core = Supervisor(Server("tauri-sidecar", __version__), os.getpid(), run.host.guarantees(), jitter, matches_in_time)
    insistent = getattr(signal, "SIGQUIT", None)  # Windows has none
    if insistent is not None:
        on_signal(insistent, inbox, partial(_end_at_once, insistent))
    if options.json:
        _, fd = take_standard_streams()
        outbox = Outbox(fd)
        start_thread("output", outbox.run)
        front = DevFront(page, inbox, JsonDisplay(outbox), open_page)
    else:
        front = open_view(page, services, run, inbox, open_page)
    front.begin(services, finder(run.host))
    code = Runtime(core, run, front, inbox, keep_ansi=colour).run()
    run.end()
    return front.exit_code if code == 0 else code


def choose_services(
    root: str | None, program: list[str], host: str | None, port: int | None, *, strict: bool = False, colour: bool
) -> tuple[str, dict[str, Service]]:
    """What the command line asks for, by name, and the one with the page.

    In a Tauri project that is its ``plugins.sidecar``. Where a phone is to reach the page, Tauri's CLI names the host.
    Raises ``ConfigurationError``.
    """
    host = host or (os.environ.get(PHONE_HOST) if not program else None) or None
    place = None if program else find(Path(root or "."))
    project = read(place) if place is not None else None
    asked = read_services(project) if project is not None else None
    if asked is None or not asked.services:
        name, service = choose_service(root, program, host, port, ask_for_colours({}) if colour else {}, strict=strict)
        return name, {name: service if project is None else _preferring_dev_url(service, project)}
    page = asked.page or next(iter(asked.services))
    services = {name: _coloured(each) if colour else each for name, each in asked.services.items()}
    if host or port or strict:
        services[page] = _listening(services[page], host, port, strict=strict)
    if project is not None:
        services[page] = _preferring_dev_url(services[page], project)
    return page, services


def _coloured(service: Service) -> Service:
    return structs.replace(service, env=ask_for_colours(service.env) | service.env)


def _listening(service: Service, host: str | None, port: int | None, *, strict: bool) -> Service:
    wish = service.port or PortConfig()
    strict = strict or wish.strict
    wish = structs.replace(wish, host=host or wish.host, preferred=port or wish.preferred, strict=strict)
    if strict and wish.preferred is None and isinstance(service, CommandService):
        raise ConfigurationError("--strict-port needs --port: the service with the page prefers no port of its own.")
    return structs.replace(service, port=wish)


def choose_service(
    root: str | None,
    program: list[str],
    host: str | None,
    port: int | None,
    env: dict[str, str],
    *,
    strict: bool = False,
) -> tuple[str, Service]:
    """The one service of a command line in no Tauri project, and its name.

    Raises ``ConfigurationError`` where the project does not say which one that is.
    """
    folder = root or "."
    wish = PortConfig(preferred=port, host=host or "127.0.0.1", strict=strict)
    if not program:
        start = find_start(folder)
        _tell_what_is_passed_over(start, wish)
        return start.framework.name, service_of(start, folder, wish, env)
    if not uses_port(program) and isinstance(known := understand_words(program), Start):
        wish = structs.replace(wish, preferred=port or known.port, host=host or known.host or wish.host)
        wish = structs.replace(wish, strict=strict or known.strict)
        return known.framework.name, told_service(known, folder, wish, env)
    name = _name_of(program)
    listens = port is not None or uses_port(program)  # one that is told none by its words has it as $PORT
    config = CommandService(
        command=program,
        cwd=folder,
        env=env,
        port=wish if listens else None,
        ready=TcpReady() if listens else None,
    )
    return name, config


def _name_of(program: list[str]) -> str:
    """What a person would call it: ``env`` and the variables before it are not it."""
    rest = dropwhile(lambda word: word in {"env", "cross-env"} or _ASSIGNMENT.match(word), program)
    first = next(rest, program[0])
    name = Path(program[0] if first.startswith("-") else first).name[:NAME_LENGTH]
    return name if name.isprintable() and name else "program"


def _tell_what_is_passed_over(start: Start, wish: PortConfig) -> None:
    if start.host is not None and wish.host != start.host:
        say(
            "warning",
            f"--host of the dev script is passed over: it listens on {wish.host}. Use sidecar dev --host ADDRESS",
        )


def _preferring_dev_url(service: Service, project: Project) -> Service:
    """The same on the port that Tauri's window is told to ask for, where neither we nor the script are told one."""
    build = project.config.get("build")
    found = _DEV_URL.match(str(build.get("devUrl", ""))) if isinstance(build, dict) else None
    if found is None or not isinstance(service, DevServer) or service.port.preferred:
        return service
    start = look(service.root).start
    return service if start is not None and start.port else _listening(service, None, int(found[1]), strict=False)


def unprobed_of(services: Mapping[str, Service]) -> frozenset[str]:
    """Those of which it is only known that they run: nothing says when they are ready."""
    return frozenset(name for name, each in services.items() if ready_probe(each) is None)


def show_lines(
    page: str, services: Mapping[str, Service], run: Run, inbox: Inbox, open_page: Callable[[str], None] | None
) -> DevFront:
    """The view where nobody presses keys, or none of ours read them."""
    del run
    encoding = encoding_of(1)
    screen = Screen(1, partial(load_look, encoding, terminal=False, colour=shows_colour()), None, encoding)
    begin(screen, services)
    return DevFront(page, inbox, PlainDisplay(screen, unprobed_of(services)), open_page)


def begin(screen: Screen, services: Iterable[str]) -> None:
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
