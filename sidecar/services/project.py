"""Find a project's dev server by its script, its files and its packages. Nothing of the project is run.

``look`` answers for a folder, ``heed`` for a service. ``sidecar dev``, the launch of a service, ``doctor`` and ``init``
use them. The launch in stdio mode loads this module, so it imports little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.files import find_below, is_file, is_folder, read_head
from sidecar.services.dev_script import (
    ASSIGNMENT,
    LAUNCHERS,
    NODES,
    NPM_VARIABLE,
    SEVERAL,
    NotUnderstood,
    Start,
    understand_arguments,
    understand_script,
    understand_words,
)
from sidecar.services.frameworks import SCRIPT, SCRIPTED, TABLE, VITE, Framework, config_files
from sidecar.services.package_json import (
    APPS_MOST,
    RUN,
    dependencies,
    file_head,
    find_manager,
    has_any,
    read_package,
    table_of,
    workspace_patterns,
)
from sidecar.services.vite_config import BYTES_MOST, ServerPort, read_server_port

DEV_SCRIPTS = ("dev", "start", "serve", "develop", "docs:dev", "storybook")
"""The usual scripts for a dev server, in the order in which we read them."""
_AROUND = ("tauri", "cargo", "sidecar")
"""Programs that start us, or are us. A script with one of them says nothing about the server itself."""
_SERVES = r"dev|start|serve"
"""The name of a script that may start a server contains one of these."""


class Project(Struct, frozen=True):
    """What a folder's files say about its dev server."""

    folder: str
    start: Start | None = None
    """How to start it; ``None`` if there is none, or we do not understand the script."""
    script: str | None = None
    """The name of the script that says so. If ``None``, ``start`` is the framework's usual command."""
    problem: NotUnderstood | None = None
    """What is wrong with the script, if there is no ``start`` for that reason."""
    instead: tuple[str, str] = ("", "")
    """Options for ``sidecar dev``, and the command line after ``--``, that run the script unchanged."""
    others: tuple[str, ...] = ()
    """Commands that run a script whose name suggests a server, if we found none ourselves."""
    apps: tuple[str, ...] = ()
    """The folders of a workspace with dev servers, if its root has none."""


# ── a folder ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def look(folder: str, *, members: bool = True) -> Project:
    """Find what the project in ``folder`` starts for development, by its script, else by its files.

    With ``members``, and if there is nothing else, name the apps of the workspace.
    """
    package = read_package(folder)
    scripts = table_of(package, "scripts")
    row = None if _is_workspace_only(folder, package) else recognise(folder, package)
    problem, name = None, None
    for each in DEV_SCRIPTS:
        if not isinstance(scripts.get(each), str) or _is_around(scripts[each]):
            continue
        found = understand_script(each, scripts)
        if isinstance(found, NotUnderstood) and (each == "dev" or row is None):
            # if there is a dev server, too, the script "start" starts the server of the release
            found = _scripted(each, scripts) or _reading_port(folder, each, scripts, found) or found
        if isinstance(found, Start):
            return Project(folder, _named(found, package), each)
        if each == "dev":
            problem, name = found, each
            break
    if problem is None and row is not None:
        return Project(folder, Start(row))
    run = RUN[find_manager(folder, package)]
    instead = _instead(run, name, scripts[name]) if name else ("", "")
    others = tuple(
        f"{run} {each}"
        for each, line in scripts.items()
        if re.search(_SERVES, each) and not each.startswith(("pre", "post")) and not _is_around(str(line))
    )
    apps = tuple(find_apps(folder, workspace_patterns(folder, package))) if members else ()
    return Project(folder, script=name, problem=problem, instead=instead, others=others, apps=apps)


def _instead(run: str, name: str, line: str) -> tuple[str, str]:
    """Return options and command that run a script unchanged; with our port, if its last command takes one."""
    row = _last_server(line)
    if row is None:
        return "", f"{run} {name}"
    if not row.listen:
        return f"--port {row.port}", f"{run} {name}"
    return "", " ".join([run, name, *(["--"] if run == "npm run" else []), *row.listen])


def _last_words(line: str) -> list[str]:
    """Return the words after the last operator of a shell's line; none if that takes more than a simple look."""
    words = re.split(r"[;&|]", line)[-1].split()
    return [] if re.search(r"""['"`<>()$%\\]""", line) or any(word in SEVERAL for word in words) else words


def _last_server(line: str) -> Framework | None:
    """Find the dev server that gets arguments at the end of a shell's line; ``None`` if it has a port or a host."""
    words = _last_words(line)
    found = (understand_words(words[at:]) for at in range(len(words)))
    start = next((each for each in found if isinstance(each, Start)), None)
    return start.framework if start is not None and start.port is None and start.host is None else None


def _scripted(name: str, scripts: Mapping[str, Any]) -> Start | None:
    """Read a script that ends with a server of ``SCRIPTED``: words at its end tell the server where to listen."""
    head, _, last = scripts[name].rpartition("&&")
    words = last.split()
    if re.search(r"""[;&|'"`<>()$%\\]""", f"{head.replace('&&', '')}{last}") or any(it in SEVERAL for it in words):
        return None
    own = [*takewhile(lambda word: word in LAUNCHERS or re.fullmatch(ASSIGNMENT, word), words)]
    words = words[len(own) :]
    for row in SCRIPTED:
        for called in sorted((each.split() for each in row.called), key=len, reverse=True):
            rest = words[len(called) :]
            if words[: len(called)] == called and not (rest and rest[0] in row.others):
                told = understand_arguments(row, rest)
                if isinstance(told, NotUnderstood):
                    return None
                line = " ".join([*own, *called, *told.args, *row.listen])
                before = scripts.get(f"pre{name}")
                steps = [it for it in (before if isinstance(before, str) else "", head.strip()) if it]
                return Start(row, port=told.port, host=told.host, args=(" && ".join([*steps, line]),))
    return None


def recognise(folder: str, package: Mapping[str, Any]) -> Framework | None:
    """Recognise a folder's framework by a configuration file, else by the dependencies in its package.json."""
    by_file = next((row for row in TABLE if any(has_any(folder, config_files(name)) for name in row.configs)), None)
    depends = dependencies(package)
    by_package = next((row for row in TABLE if not depends.isdisjoint(row.depends)), None)
    if by_file is None or (by_file is VITE and by_package is not None and by_package.vite):
        return by_package
    return by_file


def _named(start: Start, package: Mapping[str, Any]) -> Start:
    """Replace plain Vite by the framework that it serves, if a dependency shows one."""
    if start.framework is not VITE:
        return start
    depends = dependencies(package)
    row = next(row for row in TABLE if row is VITE or (row.vite and not depends.isdisjoint(row.depends)))
    return msgspec.structs.replace(start, framework=row)


def _is_around(script: str) -> bool:
    words = script.split()
    return any(word in _AROUND for word in words[:3]) and words[0] in {*_AROUND, "npx", *RUN}


def _reading_port(folder: str, name: str, scripts: Mapping[str, Any], found: NotUnderstood) -> Start | None:
    """Read a script that takes its port from PORT: the script itself names PORT, or the file that it runs by node.

    The shell runs the script unchanged, so it is the only argument.
    """
    line, before = scripts[name], scripts.get(f"pre{name}")
    reads = re.search(r"\$\{?PORT\b|%PORT%", line) is not None
    if not reads and found.server is None and "&" not in line.replace("&&", ""):
        # not for a script with a dev server or with two programs side by side: the port could be the wrong one's
        words = [word for word in line.split() if not word.startswith("-") and not re.fullmatch(ASSIGNMENT, word)]
        at = next((at for at, word in enumerate(words) if word in NODES), None)
        files = [os.path.join(folder, word) for word in words[at + 1 :]] if at is not None else []
        reads = any(re.search(rb"\bPORT\b", file_head(file)) for file in files)
    whole = f"{before} && {line}" if isinstance(before, str) else line
    return Start(SCRIPT, args=(whole,)) if reads and not re.search(NPM_VARIABLE, whole) else None


# ── a service ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def heed(folder: str, row: Framework, script: str | None = None) -> Start | NotUnderstood:
    """Find how the project's script starts the service in ``folder``, which names only its type: that of ``row``.

    The result is ``NotUnderstood`` for an unclear script that may start this framework, and for a project of another
    framework. If ``script`` is given, that script must exist and start this framework.
    """
    if script is not None:
        return _heed_script(folder, row, script)
    project = look(folder)
    script = f"the script {project.script} of {folder}" if project.script else folder
    if project.start is not None:
        other = project.start.framework
        if other.type == row.type:
            return project.start
        if other.type == SCRIPT.type:
            return Start(row)  # the script's server runs beside this one, or around it
        verb = "starts" if project.script else "is a project of"
        return NotUnderstood(f'{script} {verb} {other.title}, which has the type "{other.type}"', other)
    if project.apps:
        return NotUnderstood(f"{folder} is the root of a workspace, and its apps are {', '.join(project.apps)}")
    if project.problem is not None and project.problem.server is not None:
        return NotUnderstood(f"{script} is ignored: {project.problem.reason}", row)
    return Start(row)


def _heed_script(folder: str, row: Framework, script: str) -> Start | NotUnderstood:
    scripts = table_of(read_package(folder), "scripts")
    if not isinstance(scripts.get(script), str):
        return NotUnderstood(f"there is no script {script} in {os.path.join(folder, 'package.json')}")
    found = understand_script(script, scripts)
    if isinstance(found, NotUnderstood):
        return NotUnderstood(f"the script {script} of {folder} is not understood: {found.reason}", found.server)
    if found.framework.type != row.type:
        return NotUnderstood(f"the script {script} of {folder} starts {found.framework.title}", found.framework)
    return found


def wanted_port(folder: str, start: Start, row: Framework) -> ServerPort:
    """Find the port that the project asks for: in its script, else in Vite's configuration."""
    if start.port is not None or not row.vite:
        return ServerPort(start.port, start.strict)
    root = os.path.join(folder, start.root)
    names = [start.config] if start.config else [each for name in VITE.configs for each in config_files(name)]
    files = (os.path.join(folder if start.config else root, name) for name in names)
    found = next((file for file in files if is_file(file)), None)
    text = read_head(found, BYTES_MOST + 1) if found else b""
    said = read_server_port(text.decode("utf-8", "replace"))
    if len(text) > BYTES_MOST:
        said = ServerPort(passed_over=True)
    if is_folder(os.path.join(folder, "src-tauri")):
        # Tauri's templates are strict because the window knows only one port; but the plugin tells it the right one
        return msgspec.structs.replace(said, strict=False)
    return said


# ── workspaces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_apps(folder: str, patterns: list[str]) -> list[str]:
    """Find the folders that match a workspace's patterns and have dev servers; relative to ``folder``."""
    found: list[str] = []
    looked = 0
    for pattern in patterns[:APPS_MOST]:
        wanted = pattern.removeprefix("./").rstrip("/")
        if wanted.startswith(("!", "/")) or ".." in wanted.split("/"):
            continue
        for manifest in find_below(folder, f"{wanted}/package.json"):
            app = os.path.dirname(manifest)
            name = os.path.relpath(app, folder).replace(os.sep, "/")
            looked += 1
            if looked > APPS_MOST:
                return found
            # ignore the members of a member: it may be the root itself, which pnpm lists as "."
            if name not in found and look(app, members=False).start:
                found.append(name)
    return found


def _is_workspace_only(folder: str, package: Mapping[str, Any]) -> bool:
    """Tell whether the folder is a workspace's root without a server. Then its dependencies are for its members."""
    if not workspace_patterns(folder, package):
        return False
    own = {"index.html", *(each for row in TABLE for name in row.configs for each in config_files(name))}
    return not has_any(folder, own)
