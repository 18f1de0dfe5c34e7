"""Choose the service that a folder stands for. ``sidecar dev`` starts it, and ``doctor`` names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from msgspec import structs

from sidecar.config.services import SERVICE_TYPES, CommandService, PortConfig, Service, TcpReady
from sidecar.errors import ConfigurationError
from sidecar.files import is_file
from sidecar.services.dev_script import Start, Step
from sidecar.services.frameworks import SCRIPT, VITE
from sidecar.services.launch import step_launch
from sidecar.services.package_json import package_fault
from sidecar.services.project import find_apps, look

EXAMPLE = "node server.js --port {port}"

OTHERS_MOST = 3
"""How many scripts a message names to choose from."""

_PLAIN = str.maketrans(dict.fromkeys("/._-:~", "x"))
"""The characters beside letters and digits that need no quotes in a shell."""


def find_start(folder: str) -> Start:
    """Find how to start the project's dev server.

    Raises ``ConfigurationError``, which says what was found instead, and which command to use.
    """
    if is_file(folder):
        raise ConfigurationError(
            f"{folder} is a file, not a project folder.",
            f"A program goes after --, as in: sidecar dev -- node {folder}",
        )
    found = look(folder)
    if found.start is not None:
        return found.start
    package = os.path.join(folder, "package.json")
    if found.apps:
        raise ConfigurationError(
            f"{folder} is the root of a workspace and has no dev server of its own.", _use(folder, found.apps)
        )
    if found.problem is not None:
        options, words = found.instead
        commands = [f"as it is: {_command(folder, options)} -- {words}"]
        if found.problem.server is not None:
            row = found.problem.server
            commands.append(f"{row.title} alone: {_command(folder)} -- {' '.join((row.program, *row.verb))}")
        else:
            commands += (f"what is in {app}: {_command(_below(folder, app))}" for app in find_apps(folder, ["*"]))
        raise ConfigurationError(
            f"{package}: the script {found.script} is not understood: {found.problem.reason}.",
            f"Start {', or '.join(commands)}",
        )
    if is_file(os.path.join(folder, "index.html")):
        return Start(VITE)  # no other server claims this page, so Vite serves it, if a folder above has Vite
    if not is_file(package):
        if below := find_apps(folder, ["*"]):
            raise ConfigurationError(f"{folder} has no dev server of its own.", _use(folder, below))
        return Start(VITE)  # the launch then says what is missing
    if fault := package_fault(folder):
        raise ConfigurationError(f"{package} cannot be understood: {fault}.", "Correct it.")
    commands = [f"{_command(folder)} -- {words}" for words in found.others[:OTHERS_MOST]]
    advice = f"Use: {' or '.join(commands)}" if commands else f"Name the program: {_command(folder)} -- {EXAMPLE}"
    raise ConfigurationError(
        f"{package}: there is no dev script, and no dev server is recognised by the files or the dependencies.", advice
    )


def _use(folder: str, apps: Iterable[str]) -> str:
    return f"Use: {' or '.join(_command(_below(folder, app)) for app in apps)}"


def _below(folder: str, app: str) -> str:
    return os.path.normpath(os.path.join(folder, app))


def _command(folder: str, options: str = "") -> str:
    """Return the command that a person types for a start in ``folder``."""
    place = "" if os.path.normpath(folder) == "." else folder
    if not place.replace("\\", "/").translate(_PLAIN).isalnum():
        place = f'"{place}"' if place else ""
    return " ".join(["sidecar dev", *([place] if place else []), *([options] if options else [])])


def service_of(start: Start, folder: str, wish: PortConfig, env: dict[str, str]) -> Service:
    """Make the service that does what the project's script says. The launch of a dev server reads the script itself."""
    row = start.framework
    if row.type != SCRIPT.type:
        return _server(start, folder, wish, env, {})
    step = step_launch(Step(start.args[0]), folder, {**env, **dict(row.env)})
    own = {name: value for name, value in step.env.items() if name != row.reads}
    port = structs.replace(wish, preferred=wish.preferred or start.port or row.port, env=row.reads or None)
    return CommandService(command=list(step.argv), cwd=folder, env=own, port=port, ready=TcpReady())


def told_service(start: Start, folder: str, wish: PortConfig, env: dict[str, str]) -> Service:
    """Make the service for a command line that names a dev server's program. It ignores the project's script."""
    args = [*([start.root] if start.root != "." else []), *start.args]
    more: dict[str, object] = {"args": args}
    if start.framework.vite:
        more |= {"mode": start.mode, "config_file": start.config}
    return _server(start, folder, wish, env | start.env, more)


def _server(start: Start, folder: str, wish: PortConfig, env: dict[str, str], more: dict[str, object]) -> Service:
    shape: Callable[..., Service] = SERVICE_TYPES[start.framework.type]
    return shape(root=folder, env=env, port=wish, **more)
