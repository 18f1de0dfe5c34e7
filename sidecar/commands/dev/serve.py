"""``sidecar dev``: choose the services and supervise them, in this terminal or for a pipe."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import dropwhile
from pathlib import Path

from msgspec import structs

from sidecar import __version__
from sidecar.commands.dev.client import DevFront, JsonDisplay
from sidecar.commands.dev.listeners import finder
from sidecar.commands.dev.plain import PlainDisplay
from sidecar.commands.dev.program import uses_port
from sidecar.commands.options import DevOptions
from sidecar.commands.stdio import take_standard_streams
from sidecar.config.services import CommandService, DevServer, PortConfig, Service, TaskService, TcpReady, ready_probe
from sidecar.core.events import Event, Interrupted
from sidecar.core.supervisor import Supervisor
from sidecar.diagnostics import say, say_error
from sidecar.errors import ConfigurationError
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED
from sidecar.host.base import Session
from sidecar.host.fds import encoding_of
from sidecar.protocol.messages import Server
from sidecar.runtime.loop import Call, Inbox, Runtime
from sidecar.runtime.run import Run, all_is_loaded, jitter, new_token
from sidecar.runtime.streams import Outbox
from sidecar.services.choice import find_start, service_of, told_service
from sidecar.services.dev_script import Start, understand_words
from sidecar.services.patterns import matches_in_time
from sidecar.services.project import look
from sidecar.state.log_files import log_files_of
from sidecar.tauri.project import Project, find, read
from sidecar.tauri.standalone import find_services
from sidecar.terminal.color import ask_for_colours, shows_colour
from sidecar.terminal.messages import DIM, NAME
from sidecar.terminal.screen import Screen
from sidecar.terminal.style import load_style
from sidecar.threads import start_thread

_DEV_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\]):(\d{1,5})(?:/|$)")

_ASSIGNMENT = re.compile(r"\w+=")

NAME_LENGTH = 32
"""A service is named after its program, and each line begins with the name. So a long name is cut."""


PHONE_HOST = "TAURI_DEV_HOST"
"""Tauri's CLI sets this variable to the address of this machine from which a phone will load the page."""

OpenView = Callable[[str, Mapping[str, Service], str, Run, Inbox, Callable[[str], None] | None], DevFront]
"""Makes the view. Arguments: the service with the page, all services, the file that names them (or ""), the run, its
inbox, and the function that opens the page."""


def serve(session: Session, options: DevOptions, open_view: OpenView, open_page: Callable[[str], None] | None) -> int:
    """Be the supervisor until the services or a person end it; return the exit code."""
    colour = not options.json and shows_colour()
    sources: list[str] = []
    try:
        page, services = choose_services(
            options.root,
            options.program,
            options.host,
            options.port,
            strict=options.strict_port,
            colour=colour,
            config=options.config,
            tell_source=sources.append,
        )
    except ConfigurationError as error:
        say_error(error.message, "errors", error.kind)
        return EXIT_FAILED
    timeout_ms = round((options.ready_timeout or 0) * 1000)  # 0: a slow start is reported, but never fails
    services = {name: structs.replace(each, ready_timeout_ms=timeout_ms) for name, each in services.items()}
    inbox = Inbox()
    run = Run(session, inbox)
    core = Supervisor(
        Server("tauri-sidecar", __version__), os.getpid(), run.host.guarantees(), jitter, new_token, matches_in_time
    )
    insistent = getattr(signal, "SIGQUIT", None)  # Windows has none
    if insistent is not None:
        on_signal(insistent, inbox, partial(_end_at_once, insistent))
    if options.json:
        _, fd = take_standard_streams()
        outbox = Outbox(fd)
        start_thread("output", outbox.run)
        front = DevFront(page, inbox, JsonDisplay(outbox), open_page)
    else:
        front = open_view(page, services, " ".join(sources), run, inbox, open_page)
    front.begin(services, finder(run.host))
    log_files = log_files_of(options.root or ".")
    all_is_loaded()
    code = Runtime(core, run, front, inbox, keep_ansi=colour, log_files=log_files).run()
    run.end()
    return front.exit_code if code == EXIT_CLEAN else code


def choose_services(
    root: str | None,
    program: list[str],
    host: str | None,
    port: int | None,
    *,
    strict: bool = False,
    colour: bool,
    config: str | None = None,
    tell_source: Callable[[str], None] = lambda _text: None,
) -> tuple[str, dict[str, Service]]:
    """Return the name of the service with the page, and all services by name.

    All services come from the first of these sources that exists: the program, the file ``config``,
    ``sidecar.json``, ``plugins.sidecar`` of a Tauri project, and detection. ``tell_source`` gets the file's name, or
    "detected". If a phone must reach the page, Tauri's CLI gives the host. Raises ``ConfigurationError``.
    """
    host = host or (os.environ.get(PHONE_HOST) if not program else None) or None
    place = None if program else find(Path(root or "."))
    project = read(place) if place is not None else None
    asked = None if program else find_services(Path(root or "."), project, config, matches_in_time)
    if asked is not None and asked.services:
        tell_source(asked.source)
    if asked is None or not asked.services:
        if not program:
            tell_source("detected")
        name, service = choose_service(root, program, host, port, ask_for_colours({}) if colour else {}, strict=strict)
        return name, {name: service if project is None else _preferring_dev_url(service, project)}
    page = asked.page or next((name for name, each in asked.services.items() if not isinstance(each, TaskService)), "")
    if not page:
        raise ConfigurationError(f"{asked.source} has only tasks, so there is nothing to run.", "Add a service.")
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
    """Return the name and the service of a command line, or of a folder that declares no services.

    Raises ``ConfigurationError`` if the folder does not say how to start its dev server.
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
    listens = port is not None or uses_port(program)  # a program without {port} in its words gets $PORT
    config = CommandService(
        command=program,
        cwd=folder,
        env=env,
        port=wish if listens else None,
        ready=TcpReady() if listens else None,
    )
    return name, config


def _name_of(program: list[str]) -> str:
    """Return what a person would call the program. ``env`` and variables before it do not count."""
    rest = dropwhile(lambda word: word in {"env", "cross-env"} or _ASSIGNMENT.match(word), program)
    first = next(rest, program[0])
    name = Path(program[0] if first.startswith("-") else first).name[:NAME_LENGTH]
    return name if name.isprintable() and name else "program"


def _tell_what_is_passed_over(start: Start, wish: PortConfig) -> None:
    if start.host is not None and wish.host != start.host:
        say(
            "warning",
            f"--host of the dev script is ignored: the server listens on {wish.host}. Use sidecar dev --host ADDRESS",
        )


def _preferring_dev_url(service: Service, project: Project) -> Service:
    """Return the service with the port of Tauri's ``devUrl``, unless its configuration or its script names a port."""
    build = project.config.get("build")
    found = _DEV_URL.match(str(build.get("devUrl", ""))) if isinstance(build, dict) else None
    if found is None or not isinstance(service, DevServer) or service.port.preferred:
        return service
    start = look(service.root).start
    return service if start is not None and start.port else _listening(service, None, int(found[1]), strict=False)


def unprobed_of(services: Mapping[str, Service]) -> frozenset[str]:
    """Return the services without a probe: they run, but nothing says when they are ready."""
    unprobed = (name for name, each in services.items() if ready_probe(each) is None)
    return frozenset(name for name in unprobed if not isinstance(services[name], TaskService))


def show_lines(
    page: str,
    services: Mapping[str, Service],
    source: str,
    run: Run,
    inbox: Inbox,
    open_page: Callable[[str], None] | None,
) -> DevFront:
    """Make the view without keys: for a pipe, and on Windows."""
    del run
    encoding = encoding_of(1)
    screen = Screen(
        1, partial(load_style, encoding, terminal=False, colour=shows_colour(), services=list(services)), None, encoding
    )
    begin(screen, services, source)
    return DevFront(page, inbox, PlainDisplay(screen, unprobed_of(services)), open_page)


def begin(screen: Screen, services: Iterable[str], source: str) -> None:
    """Put the first line, and start the thread that writes all lines."""
    where = ((f"  ({source})", DIM),) if source else ()
    screen.put((("starting ", ""), (", ".join(services), NAME), *where))
    start_thread("output", screen.run)


def on_signal(number: int, inbox: Inbox, work: Callable[[], Iterable[Event]]) -> None:
    """Do ``work`` on the loop when the signal comes."""
    # the handler interrupts the loop anywhere, so it only calls put, which is reentrant
    signal.signal(number, lambda *_: inbox.put(Call(work)))


def _end_at_once(number: int) -> Iterable[Event]:
    r"""Do what Ctrl-\ asks for. The second interrupt ends everything at once."""
    return Interrupted(number), Interrupted(number)
