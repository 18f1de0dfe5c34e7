"""From a service's configuration to a program that can be started: finds node, vite, commands; fills in ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from sidecar.config import (
    CommandService,
    DevServer,
    NodeServer,
    PortConfig,
    Service,
    ViteService,
    fill,
    type_of,
    url_of,
)
from sidecar.errors import (
    ConfigurationError,
    NodeNotFoundError,
    ProcessSpawnFailedError,
    ProjectNotFoundError,
    ViteNotFoundError,
)
from sidecar.events import Endpoint, Launch
from sidecar.host.programs import (
    SEPARATORS,
    STDIN_GUARD,
    absolute,
    has_stdin_guard,
    name_of_path,
    runs,
    scripts,
    shell,
    spellings,
    with_upper_drive,
)
from sidecar.services.files import FILE_BYTES_MOST, read_head
from sidecar.services.frameworks import BY_TYPE, VITE, Framework
from sidecar.services.node import Missing, Node, find, on_path
from sidecar.services.project import (
    NotUnderstood,
    Start,
    Step,
    find_manager,
    heed,
    read_package,
    upwards,
    wanted_port,
)
from sidecar.services.viteconfig import PORT_VARIABLE

VITE_PORT = VITE.port
COMMAND_PORT_ENV = "PORT"


class _BinField(msgspec.Struct):
    """The one field of a package.json that we need to find its program."""

    bin: dict[str, str] | str = ""


def port_config(config: Service) -> PortConfig | None:
    """The port that the service wants: its own, else the one that its project asks for; ``None`` if it has none."""
    if isinstance(config, CommandService) or config.port.preferred:
        return config.port
    row = BY_TYPE[type_of(config)]
    start = _start(config, row)
    wanted = wanted_port(config.root, start if isinstance(start, Start) else Start(row), row)
    strict = config.port.strict or wanted.strict
    return msgspec.structs.replace(config.port, preferred=wanted.port or row.port, strict=strict)


def keeps_port(config: Service) -> bool:
    """Whether we may hold its port by a bound socket: node sets SO_REUSEADDR, an unknown program may not."""
    return isinstance(config, ViteService)


def project_key(name: str, config: Service) -> str:
    """What a remembered port belongs to: this service of this folder."""
    return f"{project_prefix(config.root if isinstance(config, DevServer) else config.cwd)}{name}"


def project_prefix(folder: str) -> str:
    """What the keys of all services of this folder begin with; behind it stands the service's name."""
    # a path need not be text in the file system's encoding, but the key is written as JSON
    return os.fsencode(f"{os.path.normcase(os.path.realpath(folder))}::").decode("utf-8", "backslashreplace")


def plan(name: str, config: Service, warn: Callable[[str], None] = lambda _text: None) -> Launch:
    """Find the program; ports are not filled in yet (``with_endpoint``).

    ``warn`` gets a text if the project asks for something that it does not get: its version of node is not installed,
    or its script is passed over.
    Raises ``ConfigurationError`` or one of its kinds, or ``ProcessSpawnFailedError``.
    """
    made = _plan_command(name, config, warn) if isinstance(config, CommandService) else _plan_server(name, config, warn)
    # the app shows the page: with this Vite's server.open, and its like, open no browser beside it
    env = {"BROWSER": "none", **made.env}
    return msgspec.structs.replace(made, env=env, pid_namespace=config.isolation == "pidNamespace")


def with_endpoint(launch: Launch, config: Service, endpoint: Endpoint | None) -> Launch:
    """The launch with its port in it."""
    if endpoint is None:
        return launch
    host, port = endpoint.host, endpoint.port
    url = url_of(host, port)
    path = name_of_path(launch.env)  # its folders may be called anything
    env = {
        name: value if name == path else fill(value, host=host, port=port, url=url)
        for name, value in launch.env.items()
    }
    if config.port is not None and config.port.env:
        env[config.port.env] = str(port)
    env.setdefault(PORT_VARIABLE if isinstance(config, ViteService) else COMMAND_PORT_ENV, str(port))
    program, words = launch.argv[: launch.program_words], launch.argv[launch.program_words :]
    argv = (*program, *(fill(word, host=host, port=port, url=url) for word in words))
    return msgspec.structs.replace(launch, argv=argv, env=env)


def _plan_server(name: str, config: DevServer, warn: Callable[[str], None]) -> Launch:
    row = BY_TYPE[type_of(config)]
    root = with_upper_drive(_plain(name, config.root))
    if not os.path.isdir(root):
        raise ProjectNotFoundError(
            f"{name}: the project folder {root} does not exist. Correct root.", service=name, root=root
        )
    entry = find_program(root, row)
    if entry is None and not any(os.path.lexists(os.path.join(root, file)) for file in row.files()):
        raise ProjectNotFoundError(
            f"{name}: {root} is no {row.title} project: it has no {row.marks()}. Correct root.",
            service=name,
            root=root,
        )
    for variable, value in row.env:
        if variable in config.env:
            field = "port.preferred" if "port" in value else "port.host"
            raise ConfigurationError(
                f"{name}: the sidecar sets {variable} itself, as {row.title} is told no other way. "
                f"Take it out of env, and use {field}.",
                service=name,
                root=root,
            )
    start = _start(config, row)
    if isinstance(start, NotUnderstood) and config.script:
        raise ConfigurationError(f"{name}: {start.reason}. Correct script.", service=name, root=root)
    if isinstance(start, NotUnderstood):
        own = any(os.path.lexists(os.path.join(root, file)) for file in row.files() if file != "package.json")
        if start.server is not row and not own:
            raise ConfigurationError(f"{name}: {start.reason}. Correct type or root.", service=name, root=root)
        warn(f"{name}: {start.reason}. {row.title} is started by itself.")
        start = Start(row)
    if not config.port.preferred and wanted_port(config.root, start, row).passed_over:
        field = "Name it in port.preferred (sidecar dev: --port)"
        warn(f"{name}: server.port of the vite.config is passed over, as it is no plain number. {field}.")
    arguments = [*row.verb, *([start.root] if start.root != "." else []), *row.listen]
    if start.mode:
        arguments += ["--mode", start.mode]
    if start.config:
        arguments += ["--config", start.config]
    arguments += start.args
    program, env = _program(name, config, row, root, entry, warn)
    if isinstance(config, NodeServer):
        env = {**_told_by_npm(root), **env}
    variables = {**dict(row.env), **start.env, **env}
    before = tuple(step_launch(step, root, env) for step in start.steps)
    return Launch((*program, *arguments), root, variables, before=before, program_words=len(program))


def _told_by_npm(root: str) -> dict[str, str]:
    """The variables by which every package manager tells a script of its package: configurations read the version."""
    package = read_package(root)
    said = {f"npm_package_{field}": package.get(field) for field in ("name", "version")}
    return {name: text for name, text in said.items() if isinstance(text, str) and "\0" not in text}


def _start(config: DevServer, row: Framework) -> Start | NotUnderstood:
    """How the service is started: as it says itself, or, where it says nothing, as the project's dev script does."""
    args = tuple(config.args or ())
    if isinstance(config, ViteService) and (config.mode or config.config_file or config.args is not None):
        return Start(row, mode=config.mode, config=config.config_file, args=args)
    if config.args is not None:
        return Start(row, args=args)
    return heed(config.root, row, config.script)


def _program(
    name: str, config: DevServer, row: Framework, root: str, entry: str | None, warn: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words that come before all arguments, and the variables."""
    if not isinstance(config, NodeServer):
        found = _find_program(name, row.program, root, config.env, warn)
        if found is None:
            raise ConfigurationError(f"{name}: there is no {row.program} on PATH. Install {row.title}.", service=name)
        return (found[0],), found[1]
    if entry is None:
        yarn, env = _yarn(name, root, config, row, warn)
        return (yarn, "run", row.program), env
    guarded = not isinstance(config, ViteService) or config.stdin_guard
    guard = ("--require", STDIN_GUARD) if guarded and has_stdin_guard() else ()
    node = find_node(name, config)
    if node.problem:
        warn(f"{name}: {node.problem}: {node.program} is taken ({node.why})")
    return (node.program, *guard, entry), _with_node(config.env, node)


def step_launch(step: Step, folder: str, env: Mapping[str, str]) -> Launch:
    """A line of a script as a package manager runs it: by the shell, with the project's programs on PATH."""
    bins = [os.path.join(each, "node_modules", ".bin") for each in upwards(folder)]
    path = os.pathsep.join([*(each for each in bins if os.path.isdir(each)), _path_of(env)])
    return Launch(shell(step.line), folder, {**env, **step.env, name_of_path(env): path})


def _plain(name: str, folder: str) -> str:
    """The folder, absolute; without ``..`` where that changes only its name, as it would not after a symbolic link.

    Raises ``ProjectNotFoundError`` if there is nothing that it could be relative to.
    """
    try:
        named = folder if os.path.isabs(folder) else os.path.join(os.getcwd(), folder)
    except FileNotFoundError:
        raise ProjectNotFoundError(
            f"{name}: the folder that the sidecar was started in has been removed, so there is no {folder} in it. "
            "Start it again elsewhere, or give an absolute path.",
            service=name,
        ) from None
    path = os.path.abspath(folder)
    return path if os.path.realpath(path) == os.path.realpath(named) else named


def find_vite(root: str) -> str | None:
    """Vite's own JS entry as ``require.resolve`` would find it from ``root``."""
    return find_program(root, VITE)


def find_program(root: str, row: Framework) -> str | None:
    """The JS entry of a framework's program: from the nearest ``node_modules`` upwards that has its package.

    A linked project is looked up as it is named first, then where it really is, as node does for a linked file.
    """
    for start in dict.fromkeys((root, os.path.realpath(root))) if row.package else ():
        for folder in upwards(start):
            package = os.path.join(folder, "node_modules", *row.package.split("/"))
            try:
                head = read_head(os.path.join(package, "package.json"), FILE_BYTES_MOST)
                manifest = msgspec.json.decode(head, type=_BinField)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # no such package here, or a broken one: node would look further up, too
            path = manifest.bin if isinstance(manifest.bin, str) else manifest.bin.get(row.program, "")
            entry = os.path.join(package, path or f"bin/{row.program}.js")
            if os.path.isfile(entry):
                return os.path.realpath(entry)
    return None


def _yarn(
    name: str, root: str, config: NodeServer, row: Framework, warn: Callable[[str], None]
) -> tuple[str, dict[str, str]]:
    """Find the yarn of a Plug'n'Play project, whose packages only yarn can read, and its environment."""
    for folder in upwards(root):
        if any(os.path.isfile(os.path.join(folder, file)) for file in (".pnp.cjs", ".pnp.js")):
            found = _find_program(name, "yarn", root, config.env, warn)
            if found is None:
                raise NodeNotFoundError(
                    f"{name}: {folder} uses Yarn Plug'n'Play, but there is no yarn on PATH. Run 'corepack enable'.",
                    service=name,
                )
            return found
    kind = ViteNotFoundError if row.vite else ConfigurationError
    raise kind(
        f"{name}: no {row.package} in {os.path.join(root, 'node_modules')} or above. "
        f"Run '{find_manager(root, read_package(root))} install' there, then start again.",
        service=name,
        root=root,
    )


def find_node(name: str, config: NodeServer) -> Node:
    """The configured node, the one on PATH, or one that ``sidecar.services.node`` finds elsewhere.

    Raises ``NodeNotFoundError``.
    """
    path = _path_of(config.env)
    if config.node is not None:
        named = any(separator in config.node for separator in SEPARATORS)
        program = which(config.node, config.root) if named else on_path(config.node, path)
        if program is None:
            raise NodeNotFoundError(
                f"{name}: {config.node} is not there. Correct the service's node field, or leave it out.", service=name
            )
        beside = os.path.dirname(program)
        return Node(program, "the service's node field", on_path=not named or beside in path.split(os.pathsep))
    found = find(os.path.abspath(config.root), path)
    if isinstance(found, Missing):
        raise NodeNotFoundError(
            f"{name}: there is no node: {found.looked}. "
            "Install Node.js 20.19 or newer, or name it in the service's node field.",
            service=name,
        )
    return found


def _path_of(env: Mapping[str, str]) -> str:
    """Return the PATH of a program that gets ``env`` on top of ours."""
    return env.get(name_of_path(env), os.environ.get("PATH", os.defpath))


def _with_node(env: Mapping[str, str], node: Node) -> dict[str, str]:
    """Return the environment in which a program finds ``node`` by its name."""
    return dict(env) if node.on_path else _with_folder(env, os.path.dirname(node.program))


def _with_folder(env: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the environment with the folder in front of PATH."""
    return {**env, name_of_path(env): f"{folder}{os.pathsep}{_path_of(env)}"}


def _find_program(
    name: str, program: str, folder: str, env: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[str, dict[str, str]] | None:
    """Find a program on PATH, else beside a node that is not on PATH, else on the login shell's PATH.

    Return it with its environment. PATH then has the program's folder and node's: npm, for one, starts node.
    """
    path = _path_of(env)
    if (found := which(program, folder, path)) is not None:
        return found, dict(env)
    if any(separator in program for separator in SEPARATORS):
        return None
    node = find(folder, path)
    with_node = dict(env)
    if isinstance(node, Node):
        if node.problem:
            warn(f"{name}: {node.problem}: {node.program} is taken ({node.why})")
        with_node = _with_node(env, node)
        if (found := on_path(program, os.path.dirname(node.program))) is not None:
            return found, with_node
    from sidecar.host import login_shell

    if (found := on_path(program, login_shell.search_path().path)) is None:
        return None
    return found, _with_folder(with_node, os.path.dirname(found))


def which(program: str, folder: str, path: str | None = None) -> str | None:
    """The program's path as a shell in ``folder`` finds it (``shutil`` would import three compressors for this)."""
    return _find(spellings(program), program, folder, path)


def _find(names: tuple[str, ...], program: str, folder: str, path: str | None) -> str | None:
    if any(separator in program for separator in SEPARATORS):
        places = [""]
    else:
        places = (path if path is not None else os.environ.get("PATH", os.defpath)).split(os.pathsep)
    candidates = (os.path.join(folder, place, name) for place in places for name in names)
    return next((absolute(it) for it in candidates if runs(it)), None)


def _plan_command(name: str, config: CommandService, warn: Callable[[str], None]) -> Launch:
    folder = _plain(name, config.cwd)
    if not os.path.isdir(folder):
        raise ProjectNotFoundError(
            f"{name}: the folder {folder} does not exist. Correct cwd.", service=name, cwd=folder
        )
    program, *words = config.command
    found = _find_program(name, program, folder, config.env, warn)
    if found is None and (script := _find(scripts(program), program, folder, _path_of(config.env))):
        raise ProcessSpawnFailedError(
            f"{name}: {script} is a batch file, which only a shell can run. Name the program that it starts instead, "
            'such as node with its script; or let a shell run it: "cmd", "/d", "/c" before command[0].',
            service=name,
            program=program,
        )
    if found is None:
        bins = (os.path.join(each, "node_modules", ".bin", program) for each in upwards(folder))
        own = next((each for each in bins if os.path.isfile(each)), None)
        advice = f"{own} is one: put npx before it." if own else "Install it, or correct command[0]."
        raise ProcessSpawnFailedError(
            f"{name}: there is no program {program!r} to run (looked in {folder}, on PATH, "
            f"beside node and on the login shell's PATH). {advice}",
            service=name,
            program=program,
        )
    return Launch((found[0], *words), folder, found[1], program_words=1)
