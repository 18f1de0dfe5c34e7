"""What a project's ``dev`` script and files say of its dev server. Nothing of the project is run for it.

One piece serves ``sidecar dev``, the launch of a service, ``doctor`` and ``init``. The launch in stdio mode loads it,
so it imports little: msgspec and re are there already, all else is imported where it is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.services.files import FILE_BYTES_MOST, read_head
from sidecar.services.frameworks import CALLED, PROGRAMS, SCRIPT, SCRIPTED, TABLE, VITE, Framework, config_files
from sidecar.services.viteconfig import ServerPort, read_server_port

DEV_SCRIPTS = ("dev", "start", "serve", "develop", "docs:dev", "storybook")
"""The scripts that people start a dev server with, in the order in which they are looked at."""

SCRIPTS_DEEP = 5
"""A script that runs a script that runs ...: no project goes further, but one may go round in circles."""

RUN: dict[str, str] = {"npm": "npm run", "pnpm": "pnpm", "yarn": "yarn", "bun": "bun run", "deno": "deno task"}
"""Package manager → what a person types before a script's name."""

LOCKS: dict[str, str] = {
    "package-lock.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "deno.lock": "deno",
    "deno.json": "deno",
    "deno.jsonc": "deno",
}

RUNNERS: dict[tuple[str, ...], bool] = {
    ("npm", "run"): True,
    ("npm", "run-script"): True,
    ("pnpm", "run"): True,
    ("yarn", "run"): True,
    ("bun", "run"): True,
    ("deno", "task"): True,
    ("npm", "exec"): False,
    ("pnpm", "exec"): False,
    ("pnpm", "dlx"): False,
    ("yarn", "exec"): False,
    ("pnpm",): True,
    ("yarn",): True,
    ("bun",): True,
    ("npx",): False,
    ("bunx",): False,
}
"""How a script of package.json (or, where false, a package's program) is run; the longer one is tried first."""

EVERYWHERE = "0.0.0.0"  # noqa: S104  what a script may ask for, not what we bind
"""What ``--host`` without a value asks for."""

_NODES = ("node", "tsx", "ts-node", "nodemon", "bun", "deno", "babel-node", "node-dev", "ts-node-dev", "tsnd")
"""Programs that run the file that is named after them."""
_ELSEWHERE = {"-w", "--workspace", "-ws", "--workspaces", "--prefix", "-C", "--dir", "--cwd", "-F", "--filter"}
"""Options by which a package manager runs the script of another package."""
_SEVERAL = ("concurrently", "conc", "npm-run-all", "npm-run-all2", "run-p", "run-s", "turbo", "nx", "lerna", "wsrun")
"""Programs that run several: what is put behind their words reaches no server."""
_LAUNCHERS = ("cross-env", "env", "npx")
"""What may stand before a server's words, and changes nothing about what may stand behind them."""
_AROUND = ("tauri", "cargo", "sidecar")
"""What starts a dev server by way of us, or around us: such a script says nothing of the server itself."""
# texts, which re compiles and keeps when they are first used: not while we start
_NPM_VARIABLE = r"[$%]\{?npm_"
_ASSIGNMENT = r"(?s)([A-Za-z_]\w*)=(.*)"
_VITE_VALUES = {"--base", "-l", "--logLevel", "-f", "--filter", "--clearScreen", "--configLoader"}
_SERVES = r"dev|start|serve"
"""What is in the names of scripts that may start a server."""
_PLACE_OF_BINS = "node_modules/.bin/"


class Step(Struct, frozen=True):
    """What a script does before it starts the server: a line for the shell, and the variables that are set by then."""

    line: str
    env: dict[str, str] = {}


class Start(Struct, frozen=True):
    """How a command starts one dev server, and nothing else beside it."""

    framework: Framework
    root: str = "."
    """Vite's root argument."""
    mode: str | None = None
    config: str | None = None
    """Vite's configuration file. Like the root, from the folder in which the script runs."""
    port: int | None = None
    strict: bool = False
    """Whether it is to be this port or none."""
    host: str | None = None
    """The address that it asked for. A script's is not taken over: more than loopback has to be asked of us."""
    args: tuple[str, ...] = ()
    """All other arguments, in their order."""
    env: dict[str, str] = {}
    steps: tuple[Step, ...] = ()
    """To be run one after the other before it, in the project's folder."""


class NotUnderstood(Struct, frozen=True):
    """A command that is not understood."""

    reason: str
    """A clause that says why."""
    server: Framework | None = None
    """Whose dev server is in it all the same, as far as one can see."""


class Project(Struct, frozen=True):
    """What a folder's files say of its dev server."""

    folder: str
    start: Start | None = None
    """How it is started; ``None`` where there is none, or it is not understood."""
    script: str | None = None
    """The name of the script that says so; without one, the framework's usual command is taken."""
    problem: NotUnderstood | None = None
    """What is wrong with the script, if that is why there is no ``start``."""
    instead: tuple[str, str] = ("", "")
    """What to give ``sidecar dev`` so that it runs the script as it is: options, and the command line after ``--``."""
    others: tuple[str, ...] = ()
    """The commands that run scripts which may start a server, by their names, where nothing says which."""
    apps: tuple[str, ...] = ()
    """The folders of a workspace that have dev servers, where its root has none."""


class _Unclear(Exception):  # noqa: N818  it never leaves this module
    """Carries the reason."""


# ── one command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def understand(command: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    """What a command line does: starts one dev server, maybe after some steps, or something that is not understood."""
    return _understood(lambda reader: reader.command(command, SCRIPTS_DEEP), command, scripts)


def understand_script(name: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    """The same for a script of package.json, with the one that runs before it."""
    return _understood(lambda reader: reader.script(name, (), SCRIPTS_DEEP), str(scripts.get(name, "")), scripts)


def understand_words(words: list[str]) -> Start | NotUnderstood:
    """The same for words that no shell has to take apart any more."""
    return _understood(lambda reader: reader.words(words, SCRIPTS_DEEP), words[0], {})


def _understood(work: Any, command: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    try:
        start: Start = work(_Reader(scripts))
    except _Unclear as unclear:
        return NotUnderstood(str(unclear), _mentioned(command, scripts, SCRIPTS_DEEP))
    return start


class _Reader:
    """Follows a command through scripts, and collects what is set and run on the way."""

    def __init__(self, scripts: Mapping[str, Any]) -> None:
        self._scripts = scripts
        self._env: dict[str, str] = {}
        self._steps: list[Step] = []

    def script(self, name: str, arguments: tuple[str, ...], deep: int) -> Start:
        if deep == 0:
            raise _Unclear("its scripts run each other")
        before = self._scripts.get(f"pre{name}")
        if isinstance(before, str) and before.strip():
            self._step(before)
        line = self._scripts[name]
        if arguments:
            import shlex

            line = " ".join([line, *map(shlex.quote, arguments)])
        return self.command(line, deep - 1)

    def command(self, line: str, deep: int) -> Start:
        *before, last = _chain(line)
        for text, _ in before:
            given = text.split(maxsplit=1)
            if given[0].lower() in {"set", "export"} and (found := re.fullmatch(_ASSIGNMENT, given[-1])):
                if "$" in found[2] or "%" in found[2]:
                    raise _Unclear("it uses variables")
                self._env[found[1]] = found[2].strip("'\"")
            elif given[0] == "cd":
                raise _Unclear(f"it changes the folder ({text})")
            else:
                self._step(text)
        text, operator = last
        if operator:
            raise _Unclear(f"only a shell understands its {operator}")
        return self.words(_split(text), deep)

    def words(self, words: list[str], deep: int) -> Start:
        if any("$" in word or "%" in word for word in words):
            raise _Unclear("it uses variables")
        words = self._take_node(self._take_env(words))
        program = words[0].replace("\\", "/").removeprefix("./").removeprefix(_PLACE_OF_BINS) if words else ""
        row = CALLED.get(f"{program} {words[1]}") if len(words) > 1 else None
        arguments = words[1:] if row is None else words[2:]
        row = row or CALLED.get(program)
        if row is not None:
            if arguments and arguments[0] in row.others:
                raise _Unclear(f"{program} {arguments[0]} is no dev server")
            return self.arguments(row, arguments)
        if program in PROGRAMS:
            raise _Unclear(f"{' '.join([program, *words[1:2]])} is no dev server")
        if words[:2] == ["npm", "start"]:
            words = ["npm", "run", *words[1:]]
        for length in (2, 1):
            scripts = RUNNERS.get(tuple(words[:length]))
            if scripts is None:
                continue
            rest = words[length:]
            while scripts and rest[:1] in (["-s"], ["--silent"]):
                rest = rest[1:]
            while not scripts and rest[:1] in (["--yes"], ["-y"], ["--no-install"]):
                rest = rest[1:]
            if not rest:
                break
            if rest[0].startswith("-"):
                raise _Unclear(f"{words[0]} is told {rest[0]}")
            if scripts and isinstance(self._scripts.get(rest[0]), str):
                if any(word.partition("=")[0] in _ELSEWHERE for word in rest[1:]):
                    raise _Unclear(f"it runs a script of another package ({' '.join(rest)})")
                arguments = rest[2:] if rest[1:2] == ["--"] else rest[1:]
                return self.script(rest[0], tuple(arguments), deep)
            if deep and rest[0] != words[0]:
                return self.words(rest, deep - 1)
        raise _Unclear(f"the sidecar does not know {words[0]}" if words else "it is empty")

    def _take_node(self, words: list[str]) -> list[str]:
        """The words without a node that is told to run a program of node_modules, such as to have more memory."""
        at = next((at for at, word in enumerate(words) if at and not word.startswith("--")), 0)
        path = words[at].replace("\\", "/") if at and words[0] == "node" else ""
        name = path.rpartition("/")[2].partition(".")[0]
        if "node_modules/" not in path or name not in PROGRAMS:
            return words
        if at > 1:
            self._env["NODE_OPTIONS"] = " ".join([*self._env.get("NODE_OPTIONS", "").split(), *words[1:at]])
        return [name, *words[at + 1 :]]

    def _step(self, line: str) -> None:
        if re.search(_NPM_VARIABLE, line):
            raise _Unclear("it uses variables that npm sets")
        self._steps.append(Step(line, dict(self._env)))

    def _take_env(self, words: list[str]) -> list[str]:
        """The words after the variables that are set before a program."""
        rest = list(words)
        while rest:
            if given := re.fullmatch(_ASSIGNMENT, rest[0]):
                self._env[given[1]] = given[2]
            elif rest[0] not in {"cross-env", "env"}:
                break
            rest.pop(0)
        return rest

    def arguments(self, row: Framework, words: list[str]) -> Start:
        root, mode, config, port, strict, host = ".", None, None, None, False, None
        args: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            if name in row.port_flags:
                value = value if equals else rest.pop(0) if rest else ""
                if not value.isdecimal():
                    raise _Unclear(f"{name} has no number")
                port = int(value)
            elif name in row.host_flags:
                if not equals and rest and not rest[0].startswith("-"):
                    value = rest.pop(0)
                host = value or EVERYWHERE
            elif name in row.open_flags:
                if not equals and rest and rest[0].startswith(("/", "http:", "https:")):
                    rest.pop(0)
            elif not row.vite:
                args.append(word)
            elif not word.startswith("-"):
                if root != ".":
                    raise _Unclear("it has two root folders")
                root = word
            elif name == "--strictPort":
                strict = True
            elif name in {"--mode", "-m", "--config", "-c"}:
                value = value if equals else rest.pop(0) if rest else ""
                if not value:
                    raise _Unclear(f"{name} has no value")
                mode, config = (value, config) if name in {"--mode", "-m"} else (mode, value)
            elif name in _VITE_VALUES and not equals:
                if not rest:
                    raise _Unclear(f"{name} has no value")
                args += [name, rest.pop(0)]
            else:
                args.append(word)
        env = dict(self._env)
        if not row.vite and (told := env.pop("PORT", None)) is not None:
            # others heed it, if no option says more
            if not told.isdecimal():
                raise _Unclear("its PORT is no number")
            port = port or int(told)
        if any(name == "HOST" for name, _ in row.env) and (told := env.pop("HOST", None)):
            host = host or told
        return Start(row, root, mode, config, port, strict, host, tuple(args), env, tuple(self._steps))


def _split(text: str) -> list[str]:
    if not any(mark in text for mark in "'\"\\"):
        return text.split()
    import shlex

    return shlex.split(text)


def _chain(line: str) -> list[tuple[str, str]]:
    """The commands that ``&&`` joins, each with the first operator in it that only a shell can handle, or "".

    Raises ``_Unclear`` where a quote is never closed, a part is empty, or something would go on in the background.
    """
    parts: list[tuple[str, str]] = []
    begin, at, quote, operator = 0, 0, "", ""
    while at < len(line):
        mark = line[at]
        if mark == "\\" and quote != "'":
            at += 1  # the next character is itself
        elif quote:
            if mark == quote:
                quote = ""
            elif quote == '"' and (mark == "`" or line.startswith("$(", at)):
                operator = operator or mark
        elif mark in "'\"":
            quote = mark
        elif line.startswith("&&", at):
            parts.append((line[begin:at].strip(), operator))
            begin, operator = at + 2, ""
            at += 1
        elif mark == "&" and line[at - 1 : at] not in {">", "<"} and line[at + 1 : at + 2] != ">":
            raise _Unclear("it starts something in the background")
        elif mark in ";|<>`\n()&" or line.startswith("$(", at):
            operator = operator or mark
        at += 1
    parts.append((line[begin:].strip(), operator))
    if quote:
        raise _Unclear("a quote in it is never closed")
    if not all(text for text, _ in parts):
        raise _Unclear("a command is missing in it")
    return parts


def _mentioned(command: str, scripts: Mapping[str, Any], deep: int) -> Framework | None:
    """Whose dev server may be in it, in any way: as a word of its own, or in a script that it names."""
    words = re.findall(r"[\w:./@-]+", command)
    for word in (word[:1] + word[1:].partition("@")[0] for word in words):  # npx takes vite@latest
        row = PROGRAMS.get(word)
        row = row or next((PROGRAMS[it] for it in PROGRAMS if word.endswith((f"/{it}", f":{it}", f"/{it}.js"))), None)
        if row is not None:
            return row
    named = [scripts[word] for word in dict.fromkeys(words) if isinstance(scripts.get(word), str)]
    found = (_mentioned(script, scripts, deep - 1) for script in named if deep)
    return next((row for row in found if row is not None), None)


# ── a folder ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def look(folder: str) -> Project:
    """What the project in ``folder`` starts for development, by its script, else by its files."""
    package = read_package(folder)
    scripts = _table(package, "scripts")
    row = None if _is_workspace_only(folder, package) else recognise(folder, package)
    problem, name = None, None
    for each in DEV_SCRIPTS:
        if not isinstance(scripts.get(each), str) or _is_around(scripts[each]):
            continue
        found = understand_script(each, scripts)
        if isinstance(found, NotUnderstood) and (each == "dev" or row is None):
            # beside a dev server, what is called "start" is the server of the release
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
    apps = tuple(find_apps(folder, workspace_patterns(folder, package)))
    return Project(folder, script=name, problem=problem, instead=instead, others=others, apps=apps)


def _instead(run: str, name: str, line: str) -> tuple[str, str]:
    """The options and the command that run a script as it is; with our port, where its last command takes one."""
    row = _last_server(line)
    if row is None:
        return "", f"{run} {name}"
    if not row.listen:
        return f"--port {row.port}", f"{run} {name}"
    return "", " ".join([run, name, *(["--"] if run == "npm run" else []), *row.listen])


def _last_words(line: str) -> list[str]:
    """The words of a line for the shell that come after its last operator; none where that is not plain to see."""
    words = re.split(r"[;&|]", line)[-1].split()
    return [] if re.search(r"""['"`<>()$%\\]""", line) or any(word in _SEVERAL for word in words) else words


def _last_server(line: str) -> Framework | None:
    """Whose dev server would get the arguments that are put behind a line for the shell. It has none of ours yet."""
    words = _last_words(line)
    found = (understand_words(words[at:]) for at in range(len(words)))
    start = next((each for each in found if isinstance(each, Start)), None)
    return start.framework if start is not None and start.port is None and start.host is None else None


def _scripted(name: str, scripts: Mapping[str, Any]) -> Start | None:
    """A script that ends with one of the servers that are told where to listen by words behind it."""
    head, _, last = scripts[name].rpartition("&&")
    words = last.split()
    if re.search(r"""[;&|'"`<>()$%\\]""", f"{head.replace('&&', '')}{last}") or any(it in _SEVERAL for it in words):
        return None
    own = [*takewhile(lambda word: word in _LAUNCHERS or re.fullmatch(_ASSIGNMENT, word), words)]
    words = words[len(own) :]
    for row in SCRIPTED:
        for called in sorted((each.split() for each in row.called), key=len, reverse=True):
            rest = words[len(called) :]
            if words[: len(called)] == called and not (rest and rest[0] in row.others):
                told = _Reader({}).arguments(row, rest)
                line = " ".join([*own, *called, *told.args, *row.listen])
                before = scripts.get(f"pre{name}")
                steps = [it for it in (before if isinstance(before, str) else "", head.strip()) if it]
                return Start(row, port=told.port, host=told.host, args=(" && ".join([*steps, line]),))
    return None


def recognise(folder: str, package: Mapping[str, Any]) -> Framework | None:
    """The framework of a folder, by a configuration file, else by what its package.json depends on."""
    files = _files(folder)
    by_file = next(
        (row for row in TABLE if any(not files.isdisjoint(config_files(name)) for name in row.configs)), None
    )
    depends = _depends(package)
    by_package = next((row for row in TABLE if not depends.isdisjoint(row.depends)), None)
    if by_file is None or (by_file is VITE and by_package is not None and by_package.vite):
        return by_package
    return by_file


def _named(start: Start, package: Mapping[str, Any]) -> Start:
    """The same by the name of what Vite is started for."""
    if start.framework is not VITE:
        return start
    depends = _depends(package)
    row = next(row for row in TABLE if row is VITE or (row.vite and not depends.isdisjoint(row.depends)))
    return msgspec.structs.replace(start, framework=row)


def _files(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()  # ENOENT, ENOTDIR, EACCES: whoever starts something there will say so


def _is_around(script: str) -> bool:
    words = script.split()
    return any(word in _AROUND for word in words[:3]) and words[0] in {*_AROUND, "npx", *RUN}


def _reading_port(folder: str, name: str, scripts: Mapping[str, Any], found: NotUnderstood) -> Start | None:
    """A script that takes its port from PORT: it says so itself, or the file does that it has node run.

    The shell is to run it as it is: it is the one argument.
    """
    line, before = scripts[name], scripts.get(f"pre{name}")
    reads = re.search(r"\$\{?PORT\b|%PORT%", line) is not None
    if not reads and found.server is None and "&" not in line.replace("&&", ""):
        # with a dev server in it, or two programs side by side, the port would be that of the wrong one
        words = [word for word in line.split() if not word.startswith("-") and not re.fullmatch(_ASSIGNMENT, word)]
        at = next((at for at, word in enumerate(words) if word in _NODES), None)
        files = [os.path.join(folder, word) for word in words[at + 1 :]] if at is not None else []
        reads = any(re.search(rb"\bPORT\b", _head(file)) for file in files)
    whole = f"{before} && {line}" if isinstance(before, str) else line
    return Start(SCRIPT, args=(whole,)) if reads and not re.search(_NPM_VARIABLE, whole) else None


def find_manager(folder: str, package: Mapping[str, Any], command: str | None = None) -> str:
    """By the packageManager field, the nearest lock file, or the command's first word; else npm."""
    named = str(package.get("packageManager", "")).partition("@")[0]
    if named in RUN:
        return named
    for place in upwards(os.path.abspath(folder)):
        for name, manager in LOCKS.items():
            if os.path.isfile(os.path.join(place, name)):
                return manager
        if os.path.exists(os.path.join(place, ".git")):
            break  # above the repository nothing belongs to the project
    first = (command or "").split(" ", 1)[0]
    return first if first in RUN else "npm"


def upwards(folder: str) -> Iterator[str]:
    """The folder, and each that it is in."""
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


# ── a service ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def heed(folder: str, row: Framework, script: str | None = None) -> Start | NotUnderstood:
    """How a service that names no more than ``row``'s type is started in ``folder``: as the project's script does it.

    Not understood is a script that may start that framework, and a project of another one. A ``script`` that is named
    has to be there, and to start it.
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
            return Start(row)  # a server beside it, or around it
        verb = "starts" if project.script else "is a project of"
        return NotUnderstood(f'{script} {verb} {other.title}, which has the type "{other.type}"', other)
    if project.apps:
        return NotUnderstood(f"{folder} is the root of a workspace, and its apps are {', '.join(project.apps)}")
    if project.problem is not None and project.problem.server is not None:
        return NotUnderstood(f"{script} is passed over: {project.problem.reason}", row)
    return Start(row)


def _heed_script(folder: str, row: Framework, script: str) -> Start | NotUnderstood:
    scripts = _table(read_package(folder), "scripts")
    if not isinstance(scripts.get(script), str):
        return NotUnderstood(f"there is no script {script} in {os.path.join(folder, 'package.json')}")
    found = understand_script(script, scripts)
    if isinstance(found, NotUnderstood):
        return NotUnderstood(f"the script {script} of {folder} is not understood: {found.reason}", found.server)
    if found.framework.type != row.type:
        return NotUnderstood(f"the script {script} of {folder} starts {found.framework.title}", found.framework)
    return found


def wanted_port(folder: str, start: Start, row: Framework) -> ServerPort:
    """The port that the project asks for: in its script, else in Vite's configuration."""
    if start.port is not None or not row.vite:
        return ServerPort(start.port, start.strict)
    root = os.path.join(folder, start.root)
    names = [start.config] if start.config else [each for name in VITE.configs for each in config_files(name)]
    files = (os.path.join(folder if start.config else root, name) for name in names)
    found = next((file for file in files if os.path.isfile(file)), None)
    said = read_server_port(_head(found).decode("utf-8", "replace")) if found else ServerPort()
    if os.path.isdir(os.path.join(folder, "src-tauri")):
        # Tauri's templates are strict because its window knows one port only; the plugin tells the window which it is
        return msgspec.structs.replace(said, strict=False)
    return said


# ── workspaces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_apps(folder: str, patterns: list[str]) -> list[str]:
    """The folders below that have dev servers, of those that match a workspace's patterns; relative to ``folder``."""
    from pathlib import Path

    root = Path(folder)
    found: list[str] = []
    for pattern in patterns:
        wanted = pattern.removeprefix("./").rstrip("/")
        if wanted.startswith(("!", "/")) or ".." in wanted.split("/"):
            continue
        for manifest in sorted(root.glob(f"{wanted}/package.json")):
            name = manifest.parent.relative_to(root).as_posix()
            if name not in found and "node_modules" not in manifest.parts and look(str(manifest.parent)).start:
                found.append(name)
    return found


def workspace_patterns(folder: str, package: Mapping[str, Any]) -> list[str]:
    """Where a workspace's members are: npm, yarn and bun have it in package.json, pnpm in a file of its own."""
    value = package.get("workspaces")
    value = value.get("packages") if isinstance(value, dict) else value
    patterns = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    text = _head(os.path.join(folder, "pnpm-workspace.yaml")).decode("utf-8", "replace").replace("\r\n", "\n")
    block = re.search(r"^packages:[ \t]*(?:#.*)?\n((?:[ \t]*(?:-.*|#.*)?\n?)+)", text, re.MULTILINE)
    for line in block[1].splitlines() if block else ():
        item = re.fullmatch(r"""\s*-\s*['"]?(.+?)['"]?\s*(?:#.*)?""", line)
        if item:
            patterns.append(item[1])
    return patterns


def _is_workspace_only(folder: str, package: Mapping[str, Any]) -> bool:
    """Whether it is a workspace's root with nothing to serve: the packages that it depends on are its members'."""
    if not workspace_patterns(folder, package):
        return False
    own = {"index.html", *(each for row in TABLE for name in row.configs for each in config_files(name))}
    return _files(folder).isdisjoint(own)


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_package(folder: str) -> dict[str, Any]:
    """The folder's package.json; empty where there is none, or none that can be read."""
    return _parse_package(folder)[0]


def package_fault(folder: str) -> str:
    """What is wrong with the folder's package.json; empty where nothing is, or there is none."""
    return _parse_package(folder)[1]


def _parse_package(folder: str) -> tuple[dict[str, Any], str]:
    head = _head(os.path.join(folder, "package.json"))
    if not head:
        return {}, ""
    try:
        value = msgspec.json.decode(head.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {}, "it is too large" if len(head) == FILE_BYTES_MOST else str(error)
    return (value, "") if isinstance(value, dict) else ({}, "it is no object")


def _head(path: str) -> bytes:
    return read_head(path, FILE_BYTES_MOST)


def _table(package: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = package.get(name)
    return value if isinstance(value, dict) else {}


def _depends(package: Mapping[str, Any]) -> set[str]:
    return {*_table(package, "dependencies"), *_table(package, "devDependencies")}
