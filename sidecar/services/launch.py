"""Turn a service's configuration into a program to start: find node, Vite and commands, and fill in ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from sidecar.config.references import address_values, fill
from sidecar.config.services import (
    CommandService,
    DevServer,
    NodeServer,
    PortConfig,
    Service,
    TaskService,
    ViteService,
    type_of,
    url_of,
)
from sidecar.core.events import Endpoint, Launch
from sidecar.errors import (
    ConfigurationError,
    NodeNotFoundError,
    ProcessSpawnFailedError,
    ProjectNotFoundError,
    ViteNotFoundError,
)
from sidecar.files import is_file, is_folder, is_there, read_json
from sidecar.host import stdin_guard
from sidecar.host.programs import (
    SEPARATORS,
    absolute,
    name_of_path,
    runs,
    scripts,
    shell,
    spellings,
    with_upper_drive,
)
from sidecar.services.dev_script import NotUnderstood, Start, Step
from sidecar.services.environment import filled, from_env_file, path_of, told_by_npm, with_folder, with_node
from sidecar.services.frameworks import BY_TYPE, VITE, Framework
from sidecar.services.node import Missing, Node, find, on_path
from sidecar.services.package_json import find_manager, read_package, upwards
from sidecar.services.paths import plain_path
from sidecar.services.project import heed, wanted_port
from sidecar.services.vite_config import PORT_VARIABLE, ServerPort
from sidecar.state import run_record

VITE_PORT = VITE.port
COMMAND_PORT_ENV = "PORT"


class _BinField(msgspec.Struct):
    """The field of a package.json that names its programs."""

    bin: dict[str, str] | str = ""


def port_config(config: Service) -> PortConfig | None:
    """Return the port that the service wants: its own, else the one that its project asks for; ``None`` if none."""
    if not isinstance(config, DevServer) or config.port.preferred:
        return config.port
    row = BY_TYPE[type_of(config)]
    start = _start(config, row)
    return _port(config, row, wanted_port(config.root, start if isinstance(start, Start) else Start(row), row))


def _port(config: DevServer, row: Framework, wanted: ServerPort) -> PortConfig:
    strict = config.port.strict or wanted.strict
    return msgspec.structs.replace(config.port, preferred=wanted.port or row.port, strict=strict)


def keeps_port(config: Service) -> bool:
    """Tell whether we may hold the port by a bound socket.

    node can still listen there, because it sets SO_REUSEADDR. An unknown program perhaps does not set it.
    """
    return isinstance(config, ViteService)


def project_key(name: str, config: Service) -> str:
    """Return the key of a remembered port: this service in this folder."""
    return f"{project_prefix(config.root if isinstance(config, DevServer) else config.cwd)}{name}"


def project_prefix(folder: str) -> str:
    """Return the common prefix of the keys of all services in this folder. The service's name follows it."""
    # a path need not be valid text in the file system's encoding, but the key is written as JSON
    return os.fsencode(f"{os.path.normcase(os.path.realpath(folder))}::").decode("utf-8", "backslashreplace")


def plan(name: str, config: Service, warn: Callable[[str], None] = lambda _text: None) -> Launch:
    """Find the program. ``with_endpoint`` fills in the ports later.

    ``warn`` gets a text if the project does not get what it asks for: its version of node is not installed, or we
    ignore its script. Raises ``ConfigurationError`` or a subclass, or ``ProcessSpawnFailedError``.
    """
    from_file = from_env_file(name, config)
    config = msgspec.structs.replace(config, env={**from_file, **config.env}) if from_file else config
    made = _plan_server(name, config, warn) if isinstance(config, DevServer) else _plan_command(name, config, warn)
    # the app shows the page: with this, Vite's server.open and similar options of other servers open no browser
    env = {"BROWSER": "none", **made.env}
    isolated = config.isolation == "pidNamespace"
    return msgspec.structs.replace(made, env=env, pid_namespace=isolated, verbatim=frozenset(from_file))


def with_endpoint(
    launch: Launch, config: Service, endpoint: Endpoint | None, known: Mapping[str, str] | None = None
) -> Launch:
    """Fill in the launch's references: its own port, and what is ``known`` of other services."""
    known = dict(known or {})
    if endpoint is not None:
        known |= address_values(endpoint.host, endpoint.port, url_of(endpoint.host, endpoint.port))
    env = filled(launch.env, known, launch.verbatim)
    if endpoint is not None:
        port = str(endpoint.port)
        if config.port is not None and config.port.env:
            env[config.port.env] = port
        usual = PORT_VARIABLE if isinstance(config, ViteService) else COMMAND_PORT_ENV
        if usual not in env or usual in launch.verbatim:
            env[usual] = port  # this port was chosen, so it replaces the one in an envFile
    program, words = launch.argv[: launch.program_words], launch.argv[launch.program_words :]
    argv = (*program, *(fill(word, known) for word in words))
    # a step's line is the project's own text and stays as it is; its variables are the service's, so fill them in
    before = tuple(
        msgspec.structs.replace(step, env=filled(step.env, known, launch.verbatim)) for step in launch.before
    )
    return msgspec.structs.replace(launch, argv=argv, env=env, before=before)


def _plan_server(name: str, config: DevServer, warn: Callable[[str], None]) -> Launch:
    row = BY_TYPE[type_of(config)]
    root = with_upper_drive(plain_path(name, config.root))
    if not os.path.isdir(root):
        raise ProjectNotFoundError(
            f"{name}: the project folder {root} does not exist.", "Correct root.", service=name, root=root
        )
    entry = find_program(root, row)
    if entry is None and not any(is_there(os.path.join(root, file)) for file in row.files()):
        raise ProjectNotFoundError(
            f"{name}: {root} is no {row.title} project: it has no {row.marks()}.",
            "Correct root.",
            service=name,
            root=root,
        )
    for variable, value in row.env:
        if variable in config.env:
            field = "port.preferred" if "port" in value else "port.host"
            raise ConfigurationError(
                f"{name}: the sidecar sets {variable} itself, because {row.title} takes its address no other way.",
                f"Remove {variable} from env, and use {field}.",
                service=name,
                root=root,
            )
    start = _start(config, row)
    if isinstance(start, NotUnderstood) and config.script:
        raise ConfigurationError(f"{name}: {start.reason}.", "Correct script.", service=name, root=root)
    if isinstance(start, NotUnderstood):
        own = any(is_there(os.path.join(root, file)) for file in row.files() if file != "package.json")
        if start.server is not row and not own:
            raise ConfigurationError(f"{name}: {start.reason}.", "Correct type or root.", service=name, root=root)
        warn(f"{name}: {start.reason}. The sidecar starts {row.title} directly.")
        start = Start(row)
    port = config.port
    if not port.preferred:
        wanted = wanted_port(config.root, start, row)
        port = _port(config, row, wanted)
        if wanted.passed_over:
            field = "Name it in port.preferred (sidecar dev: --port)"
            warn(f"{name}: server.port of the vite.config is ignored, as it is no plain number. {field}.")
    arguments = [*row.verb, *([start.root] if start.root != "." else []), *row.listen]
    if start.mode:
        arguments += ["--mode", start.mode]
    if start.config:
        arguments += ["--config", start.config]
    arguments += start.args
    program, env = _program(name, config, row, root, entry, warn)
    if isinstance(config, NodeServer):
        env = {**told_by_npm(root), **env}
    variables = {**dict(row.env), **start.env, **env}
    before = tuple(step_launch(step, root, env) for step in start.steps)
    return Launch((*program, *arguments), root, variables, before=before, program_words=len(program), port=port)


def _start(config: DevServer, row: Framework) -> Start | NotUnderstood:
    """Find how to start the service: as its configuration says, else as the project's dev script does."""
    args = tuple(config.args or ())
    if isinstance(config, ViteService) and (config.mode or config.config_file or config.args is not None):
        return Start(row, mode=config.mode, config=config.config_file, args=args)
    if config.args is not None:
        return Start(row, args=args)
    return heed(config.root, row, config.script)


def _program(
    name: str, config: DevServer, row: Framework, root: str, entry: str | None, warn: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the words before all arguments, and the variables."""
    if not isinstance(config, NodeServer):
        found = _find_program(name, row.program, root, config.env, warn)
        if found is None:
            problem = f"{name}: there is no {row.program} on PATH."
            raise ConfigurationError(problem, f"Install {row.title}.", service=name)
        return (found[0],), found[1]
    if entry is None:
        yarn, env = _yarn(name, root, config, row, warn)
        return (yarn, "run", row.program), env
    guarded = not isinstance(config, ViteService) or config.stdin_guard
    guard = _stdin_guard(name, warn) if guarded else ()
    node = find_node(name, config)
    if node.problem:
        warn(f"{name}: {node.problem}: {node.program} is used ({node.why})")
    return (node.program, *guard, entry), with_node(config.env, node)


def _stdin_guard(name: str, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Return the words that make node end with its stdin; none if the script is not available."""
    if not stdin_guard.exists():
        return ()
    try:
        return ("--require", stdin_guard.place())
    except OSError as error:
        warn(
            f"{name}: the script that ends node with its stdin cannot be kept in the state folder: {error}. "
            f"{run_record.STATE_DIR} can name another folder."
        )
        return ()


def step_launch(step: Step, folder: str, env: Mapping[str, str]) -> Launch:
    """Make the launch of a script's line as package managers do: by the shell, with the project's programs on PATH."""
    bins = [os.path.join(each, "node_modules", ".bin") for each in upwards(folder)]
    path = os.pathsep.join([*(each for each in bins if is_folder(each)), path_of(env)])
    return Launch(shell(step.line), folder, {**env, **step.env, name_of_path(env): path})


def find_vite(root: str) -> str | None:
    """Find Vite's own JS entry, as ``require.resolve`` would from ``root``."""
    return find_program(root, VITE)


def find_program(root: str, row: Framework) -> str | None:
    """Find the JS entry of a framework's program, in the nearest ``node_modules`` upwards that has its package.

    If ``root`` is a link, search from its name first, then from its target, as node does for a linked file.
    """
    for start in dict.fromkeys((root, os.path.realpath(root))) if row.package else ():
        for folder in upwards(start):
            package = os.path.join(folder, "node_modules", *row.package.split("/"))
            manifest = read_json(os.path.join(package, "package.json"), _BinField)
            if manifest is None:
                continue  # no such package here, or a broken one: node would search further up, too
            path = manifest.bin if isinstance(manifest.bin, str) else manifest.bin.get(row.program, "")
            entry = os.path.join(package, path or f"bin/{row.program}.js")
            if is_file(entry):
                return os.path.realpath(entry)
    return None


def _yarn(
    name: str, root: str, config: NodeServer, row: Framework, warn: Callable[[str], None]
) -> tuple[str, dict[str, str]]:
    """Find yarn, and its environment, for a Plug'n'Play project: only yarn can read the packages there."""
    for folder in upwards(root):
        if any(is_file(os.path.join(folder, file)) for file in (".pnp.cjs", ".pnp.js")):
            found = _find_program(name, "yarn", root, config.env, warn)
            if found is None:
                raise NodeNotFoundError(
                    f"{name}: {folder} uses Yarn Plug'n'Play, but there is no yarn on PATH.",
                    "Run 'corepack enable'.",
                    service=name,
                    program="yarn",
                )
            return found
    kind = ViteNotFoundError if row.vite else ConfigurationError
    raise kind(
        f"{name}: no {row.package} in {os.path.join(root, 'node_modules')} or above.",
        f"Run '{find_manager(root, read_package(root))} install' there, then start again.",
        service=name,
        root=root,
    )


def find_node(name: str, config: NodeServer) -> Node:
    """Find the configured node, the one on PATH, or one that ``sidecar.services.node`` finds elsewhere.

    Raises ``NodeNotFoundError``.
    """
    path = path_of(config.env)
    if config.node is not None:
        named = any(separator in config.node for separator in SEPARATORS)
        program = which(config.node, config.root) if named else on_path(config.node, path)
        if program is None:
            raise NodeNotFoundError(
                f"{name}: {config.node} is not there.",
                "Correct the service's node field, or leave it out.",
                service=name,
            )
        beside = os.path.dirname(program)
        return Node(program, "the service's node field", on_path=not named or beside in path.split(os.pathsep))
    found = find(os.path.abspath(config.root), path)
    if isinstance(found, Missing):
        raise NodeNotFoundError(
            f"{name}: there is no node: {found.looked}.",
            "Install Node.js 20.19 or newer, or name it in the service's node field.",
            service=name,
        )
    return found


def _find_program(
    name: str, program: str, folder: str, env: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[str, dict[str, str]] | None:
    """Find a program on PATH, else beside a node that is not on PATH, else on the login shell's PATH.

    Return it with its environment. There PATH has the program's folder and node's, because npm, for example, starts
    node.
    """
    path = path_of(env)
    if (found := which(program, folder, path)) is not None:
        return found, dict(env)
    if any(separator in program for separator in SEPARATORS):
        return None
    node = find(folder, path)
    variables = dict(env)
    if isinstance(node, Node):
        if node.problem:
            warn(f"{name}: {node.problem}: {node.program} is used ({node.why})")
        variables = with_node(env, node)
        if (found := on_path(program, os.path.dirname(node.program))) is not None:
            return found, variables
    from sidecar.services import login_shell

    if (found := on_path(program, login_shell.search_path().path)) is None:
        return None
    return found, with_folder(variables, os.path.dirname(found))


def which(program: str, folder: str, path: str | None = None) -> str | None:
    """Return the program's path as a shell in ``folder`` finds it. ``shutil`` would import three compressors for it."""
    return _find(spellings(program), program, folder, path)


def _find(names: tuple[str, ...], program: str, folder: str, path: str | None) -> str | None:
    if any(separator in program for separator in SEPARATORS):
        places = [""]
    else:
        places = (path if path is not None else os.environ.get("PATH", os.defpath)).split(os.pathsep)
    candidates = (os.path.join(folder, place, name) for place in places for name in names)
    return next((absolute(it) for it in candidates if runs(it)), None)


def _plan_command(name: str, config: CommandService | TaskService, warn: Callable[[str], None]) -> Launch:
    folder = plain_path(name, config.cwd)
    if not os.path.isdir(folder):
        raise ProjectNotFoundError(
            f"{name}: the folder {folder} does not exist.", "Correct cwd.", service=name, cwd=folder
        )
    program, *words = config.command
    found = _find_program(name, program, folder, config.env, warn)
    if found is None and (script := _find(scripts(program), program, folder, path_of(config.env))):
        raise ProcessSpawnFailedError(
            f"{name}: {script} is a batch file, which only a shell can run.",
            "Name the program that it starts instead, "
            'such as node with its script. If that cannot be done, put "cmd", "/d", "/c" before command[0]. A stop may '
            "then take all of stop.timeoutMs, because cmd asks whether to end the batch job.",
            service=name,
            program=program,
        )
    if found is None:
        bins = (os.path.join(each, "node_modules", ".bin", program) for each in upwards(folder))
        own = next((each for each in bins if is_file(each)), None)
        advice = f"But {own} exists: put npx before the command." if own else "Install it, or correct command[0]."
        raise ProcessSpawnFailedError(
            f"{name}: there is no program {program!r} to run (looked in {folder}, on PATH, "
            "beside node and on the login shell's PATH).",
            advice,
            service=name,
            program=program,
        )
    return Launch((found[0], *words), folder, found[1], program_words=1, port=config.port)
