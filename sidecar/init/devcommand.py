"""What a ``beforeDevCommand`` does: it starts the dev server and nothing else, it surely starts no server, or neither.

A second dev server beside the service's is the ghost that the sidecar is to end. So only what is on ``_QUIET`` (or a
script whose text starts nothing) passes for something that starts no server, and all that is not understood is told
with its reason. A command is followed through package.json's scripts, the packages of a workspace, ``concurrently`` and
the like, and the text of a node script (``nodescript``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec import Struct, field, structs

from sidecar.init import nodescript
from sidecar.init.javascript import HOLE
from sidecar.init.nodescript import Reading
from sidecar.services import project as services
from sidecar.services.frameworks import PROGRAMS
from sidecar.tauri import project

SCRIPTS_DEEP = 8
"""A script that runs a script that runs ...: no project goes further, but one may go round in circles."""
PACKAGES_MOST = 200
"""So many packages of a workspace are looked at."""

_QUIET = {
    *(
        "echo",
        "printf",
        "true",
        ":",
        "mkdir",
        "mkdirp",
        "cp",
        "mv",
        "rm",
        "touch",
        "chmod",
        "ls",
        "cat",
        "test",
        "sleep",
    ),
    *("copyfiles", "cpx", "cpy", "cpy-cli", "del-cli", "ncp", "rimraf", "shx", "exit"),
    *("kill", "kill-port", "killall", "pkill", "lsof", "netstat", "fuser", "taskkill", "wait-on"),
    *("tsc", "vue-tsc", "svelte-check", "eslint", "prettier", "stylelint", "biome", "oxlint"),
    *("graphql-codegen", "openapi-typescript", "orval", "relay-compiler", "buf", "protoc", "typed-css-modules", "tcm"),
    *("babel", "swc", "sass", "postcss", "tailwindcss", "unocss", "rustc", "rustfmt", "wasm-bindgen"),
}
"""Programs that open no port of their own whatever they are told: files, checkers, compilers and generators of code."""
_QUIET_WITH = {
    "cargo": {"build", "check", "clippy", "doc", "fetch", "fmt", "metadata", "test", "tree", "update"},
    "git": {"checkout", "config", "fetch", "lfs", "pull", "rev-parse", "submodule"},
    "wasm-pack": {"build", "test"},
    "svelte-kit": {"sync"},
    "prisma": {"generate", "validate", "format"},
    "panda": {"codegen", "cssgen"},
    "paraglide-js": {"compile"},
    "lingui": {"compile", "extract"},
    "react-router": {"typegen"},
    "astro": {"sync", "check"},
    "nuxt": {"prepare"},
    "nuxi": {"prepare"},
}
"""The same, with the first word that makes them one. ``cargo run`` and ``prisma studio`` are servers."""

_BINS = "node_modules/.bin/"
"""Where a package's programs are."""

_KILLERS = {"kill", "kill-port", "killall", "pkill", "lsof", "netstat", "fuser", "taskkill"}
"""A script that starts Vite may look for an old one with these, and end it. The sidecar needs none of it."""

_FILTERS = {"awk", "cut", "findstr", "grep", "head", "sort", "tail", "true"}
"""What stands between them in a pipe."""

_PLACES = {"--prefix", "--cwd", "-C", "--dir"}
_WORKSPACES = {"-w", "--workspace", "--filter", "-F"}
_MANAGER_FLAGS = {"--silent", "-s", "--no-audit", "--no-fund", "--if-present", "--color"}
_RUN_WORDS = {"run", "run-script", "task", "start"}
_EXEC_WORDS = {"exec", "x", "dlx"}
_EXEC_FLAGS = {"-y", "--yes", "--no-install", "--no", "--"}
_NODE_FLAGS = re.compile(
    r"--(?:no-warnings|no-deprecation|enable-source-maps|experimental-[\w-]+|trace-[\w-]+)(?:=.*)?"
    r"|--(?:esm|swc|transpile-only)|--max-old-space-size=\d+"
)
_LOADERS = {
    *(("--import", name) for name in ("tsx", "tsx/esm", "ts-node/register", "@swc-node/register/esm-register")),
    *(("--loader", name) for name in ("tsx", "ts-node/esm")),
    *((flag, name) for flag in ("-r", "--require") for name in ("tsx/cjs", "ts-node/register", "esbuild-register")),
}
"""With these node runs TypeScript."""
_RUNTIMES = {"node", "tsx", "ts-node", "bun", "deno"}
_DENO_FLAGS = re.compile(r"-A|--allow-[\w-]+(?:=.*)?")

_PARALLEL_VALUES = {
    "-n",
    "--names",
    "-c",
    "--prefix-colors",
    "-p",
    "--prefix",
    "-l",
    "--prefix-length",
    "-s",
    "--success",
}
_PARALLEL_FLAGS = re.compile(r"-[krg]|--(?:kill-others(?:-on-fail)?|raw|group|no-color|timings|hide=.*|[\w-]+=.*)")
_CMD = re.compile(r"^cmd(?:\.exe)?(?:\s+/\w+)+\s+")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OPERATOR = re.compile(r"\\.|['\"]|&&|;|(?<![<>])&(?!>)", re.DOTALL)
_SHELL = re.compile(r"[<>`\n()]|\$\(|(?<!\|)\|(?!\|)|\|\|")


class Start(Struct):
    """How a command starts a dev server, and nothing else that would be missed."""

    type: str = "vite"
    """Which one: the ``type`` of its service."""
    root: str = "."
    mode: str | None = None
    config: str | None = None
    port: int | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    host: bool = False
    """Whether it asked for an address to listen on."""
    folder: Path | None = None
    """Where it is started, if in another package than the command."""
    script: str | None = None
    """The script of package.json that says more than one command can: steps, or a root and a configuration file."""
    steps: list[str] = field(default_factory=list)
    """What runs to its end before."""
    beside: list[str] = field(default_factory=list)
    """Commands that run beside it, and are no servers."""
    port_env: list[str] = field(default_factory=list)
    """Variables that carry the port to it."""
    readings: list[Reading] = field(default_factory=list)
    """The node scripts that started it: their work is the sidecar's now."""

    @property
    def elsewhere(self) -> bool:
        """Whether it has a root and a configuration file that is not there: a service has one folder for both."""
        return self.root != "." and self.config is not None


class Package(Struct, frozen=True):
    """Where a command runs."""

    folder: Path
    scripts: Mapping[str, Any] = {}
    top: Path | None = None
    """No file outside of it is read; without it, none outside of ``folder``."""
    place: Path | None = None
    """The folder of the package.json that has the scripts, which run there."""

    @property
    def home(self) -> Path:
        """The folder that has all that is read."""
        return self.top or self.folder


class Quiet(Struct, frozen=True):
    """It surely starts no server."""


class Unclear(Struct, frozen=True):
    """It may start a server, or starts more than one thing."""

    reason: str


Meaning = Start | Quiet | Unclear


def package_at(folder: Path, top: Path) -> Package:
    """The package that a command in ``folder`` belongs to: its own package.json, or the nearest above."""
    for place in (folder, *folder.parents):
        if (place / "package.json").is_file():
            scripts = project.parse_file(place / "package.json").get("scripts")
            return Package(folder, scripts if isinstance(scripts, dict) else {}, top, place)
        if place == top:
            break
    return Package(folder, {}, top)


def understand(command: str, package: Package) -> Meaning:
    """What a command does."""
    return _line(command, package, SCRIPTS_DEEP)


# ── a line of the shell ───────────────────────────────────────────────────────────────────────────────────────────────


def _line(command: str, package: Package, deep: int) -> Meaning:
    if deep == 0:
        return Unclear(f"{command!r} goes through more than {SCRIPTS_DEEP} scripts")
    parts = _parts(command)
    if parts is None:
        return Unclear(f"{command!r} has a quote that is never closed")
    texts = [text for text, _ in parts if text]
    if not texts:
        return Unclear(f"{command!r} says nothing")
    if any(mark == "&" for _, mark in parts):
        return _together([(text, _part(text, package, deep)) for text in texts], keeps=False)
    return _sequence(texts[:-1], texts[-1], package, deep)


def _parts(command: str) -> list[tuple[str, str]] | None:
    """The commands as they are written, each with the operator behind it; ``None`` if a quote is never closed."""
    parts: list[tuple[str, str]] = []
    begin, quote = 0, ""
    for found in _OPERATOR.finditer(command):
        mark = found[0]
        if mark in {"'", '"'}:
            quote = "" if quote == mark else quote or mark
        elif not quote and not mark.startswith("\\"):
            parts.append((command[begin : found.start()].strip(), mark))
            begin = found.end()
    return None if quote else [*parts, (command[begin:].strip(), "")]


def _part(text: str, package: Package, deep: int) -> Meaning:
    if found := _SHELL.search(text):
        return Unclear(f"{text!r} needs a shell for {found[0].strip() or 'more than one line'}")
    try:
        words = shlex.split(text.replace("node_modules\\.bin\\", _BINS))
    except ValueError:
        return Unclear(f"{text!r} has a quote that is never closed")
    return _simple(words, package, deep)


def _sequence(first: list[str], last: str, package: Package, deep: int) -> Meaning:
    """``a && b``: what comes first has ended when the last one runs, so it is a step and no server."""
    place, env, steps = package, dict[str, str](), list[Meaning]()
    for text in first:
        name, _, rest = text.partition(" ")
        if name == "cd":
            folder = rest.strip().strip("'\"")
            if not folder or set(folder) & set("$%~*"):
                return Unclear(f"{text!r} goes to a folder that is not known")
            place = package_at(Path(os.path.normpath(place.folder / folder)), package.home)
        elif name in {"export", "set"} and (given := _ASSIGNMENT.fullmatch(rest.strip())):
            env[given[1]] = given[2].strip("'\"")
        else:
            steps.append(_part(text, place, deep))
            if isinstance(steps[-1], Start):
                return Unclear(f"{text!r} starts a dev server, and something follows it")
    meaning = _part(last, place, deep)
    if not isinstance(meaning, Start):
        return next((each for each in (*steps, meaning) if isinstance(each, Unclear)), meaning)
    if steps and (meaning.steps or place.folder != package.folder):
        return Unclear("it has steps within steps" if meaning.steps else "it has steps, and changes the folder")
    meaning = structs.replace(_moved(meaning, place, package), env={**env, **meaning.env})
    return structs.replace(meaning, steps=list(first)) if steps else meaning


def _together(each: Sequence[tuple[str, Meaning]], *, keeps: bool) -> Meaning:
    """Commands side by side: one may be the dev server, and the others surely none."""
    starts = [meaning for _, meaning in each if isinstance(meaning, Start)]
    for _, meaning in each:
        if isinstance(meaning, Unclear):
            return Unclear(f"{meaning.reason}, beside a dev server") if starts else meaning
    if not starts:
        return Quiet()
    if len(starts) > 1:
        return Unclear("it starts two dev servers")
    beside = [line for line, meaning in each if isinstance(meaning, Quiet)]
    if beside and not keeps:
        return Unclear(f"it starts {' and '.join(map(repr, beside))} beside the dev server")
    return structs.replace(starts[0], beside=[*starts[0].beside, *beside])


# ── a program ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _simple(words: list[str], package: Package, deep: int) -> Meaning:
    """One program with its arguments."""
    env: dict[str, str] = {}
    line = shlex.join(words)
    if words[:1] in (["cross-env"], ["cross-env-shell"], ["env"]):
        words = words[1:]
    while words and (given := _ASSIGNMENT.fullmatch(words[0])):
        env[given[1]] = given[2]
        words = words[1:]
    if not words:
        return Quiet()
    if any("$" in word or "%" in word for word in words) and words[0] not in _QUIET:
        return Unclear(f"{line!r} has a variable in it that a shell fills in")
    meaning = _program(words, package, deep)
    if isinstance(meaning, Start) and env:
        if meaning.steps:
            return Unclear(f"{line!r} sets variables for more than one step")
        return structs.replace(meaning, env={**env, **meaning.env})
    return meaning


def _program(words: list[str], package: Package, deep: int) -> Meaning:
    if words[0].startswith((_BINS, f"./{_BINS}")):
        words = [words[0].rpartition("/")[2], *words[1:]]
    name, rest = words[0], words[1:]
    if name in _QUIET or (rest and rest[0] in _QUIET_WITH.get(name, ())):
        return Quiet()
    if name in PROGRAMS:
        return _server(words)
    if name in _RUNTIMES and (meaning := _script_file(words, package, deep)):
        return meaning
    if name in {"npx", "bunx", "pnpx"}:
        return _executed(rest, words, package, deep)
    if name in services.RUN:
        return _managed(words, package, deep)
    if name in {"concurrently", "conc"}:
        return _concurrently(rest, package, deep)
    if name in {"run-p", "run-s", "npm-run-all", "npm-run-all2"}:
        return _run_all(words, package, deep)
    return Unclear(_why(words))


def _why(words: Sequence[str]) -> str:
    said = shlex.join(words)
    known = {
        "start-server-and-test": "starts a server and waits for it",
        "turbo": "runs tasks that turbo.json orders",
        "nx": "runs a target that nx.json and project.json define",
        "make": "runs what the Makefile says",
        "tauri": "starts the app itself",
    }
    return f"{said!r} {known.get(words[0], 'may start a server')}"


def _server(words: list[str]) -> Meaning:
    """A dev server's own command."""
    found = services.understand_words(words)
    if isinstance(found, services.NotUnderstood):
        return Unclear(f"{shlex.join(words)!r}: {found.reason}")
    return Start(
        type=found.framework.type,
        root=found.root,
        mode=found.mode,
        config=found.config,
        port=found.port,
        args=list(found.args),
        host=found.host is not None,
    )


def _executed(rest: list[str], words: Sequence[str], package: Package, deep: int) -> Meaning:
    """A package's program, by npx and the like."""
    rest = list(rest)
    while rest and rest[0] in _EXEC_FLAGS:
        rest.pop(0)
    if not rest or rest[0].startswith("-"):
        return Unclear(f"{shlex.join(words)!r} is not understood")
    program = re.sub(r"(?<=.)@[\w.^~-]+$", "", rest[0])
    return _program([program, *rest[1:]], package, deep - 1) if deep > 1 else Unclear(_why(rest))


# ── package managers ──────────────────────────────────────────────────────────────────────────────────────────────────


def _managed(words: list[str], package: Package, deep: int) -> Meaning:
    """``npm run dev`` and its like, in this package or in another one of the workspace."""
    manager, rest = words[0], list(words[1:])
    said = shlex.join(words)
    place: Package | None = package
    before: list[str] = []
    behind: list[str] = []
    if "--" in rest:
        cut = rest.index("--")
        rest, behind = rest[:cut], rest[cut + 1 :]
    if manager == "yarn" and rest[:1] == ["workspace"] and len(rest) > 1:
        place, rest = _member(package, rest[1]), rest[2:]
    while rest:
        word, equals, value = rest[0].partition("=")
        if word in _PLACES | _WORKSPACES and (manager != "pnpm" or word != "-w" or equals):
            if not equals:
                if len(rest) == 1:
                    return Unclear(f"{said!r} ends in the middle")
                value = rest.pop(1)
            place = _folder(package, value) if word in _PLACES else _member(package, value)
            rest.pop(0)
        elif word in _MANAGER_FLAGS:
            rest.pop(0)
        elif not before:
            before = [rest.pop(0)]
        elif before[0] in _RUN_WORDS - {"start"} and len(before) == 1:
            before.append(rest.pop(0))
        else:
            break
    if place is None:
        return Unclear(f"{said!r} names a package that is not found for sure")
    if not before:
        return Unclear(f"{said!r} is not understood")
    if manager == "deno" and before[0] != "task":
        return Unclear(f"{said!r} is not understood")
    name = before[1] if len(before) > 1 else before[0]
    if before[0] in _EXEC_WORDS:
        return _moved(_executed([*rest, *behind], words, place, deep), place, package)
    if before[0] in {"run", "run-script", "task"} and len(before) == 1:
        return Unclear(f"{said!r} names no script")
    if isinstance(place.scripts.get(name), str):
        arguments = [*rest, *behind]
        if manager == "npm" and (kept := next((word for word in rest if word.startswith("-")), None)):
            return Unclear(f"{said!r}: npm keeps {kept} for itself")
        there = structs.replace(place, folder=place.place or place.folder)
        return _moved(_run_script(manager, name, arguments, there, deep), there, package)
    if manager in {"yarn", "pnpm", "bun"} and (len(before) == 1 or manager == "bun"):
        return _moved(_executed([name, *rest, *behind], words, place, deep), place, package)
    if manager == "deno":
        return Unclear(f"{said!r} runs what deno.json says")
    if place.place is None:
        return Unclear(f"{said!r}: there is no package.json in {place.folder}")
    return Unclear(f"{said!r}: there is no script {name} in {place.place / 'package.json'}")


def _run_script(manager: str, name: str, arguments: Sequence[str], package: Package, deep: int) -> Meaning:
    """A script of package.json with its ``pre``; its ``post`` comes when the server has ended, and that is never."""
    script = str(package.scripts[name])
    meaning = _line(" ".join([script, *map(shlex.quote, arguments)]), package, deep - 1)
    if isinstance(meaning, Start):
        if f"post{name}" in package.scripts:
            return Unclear(f"the script {name} has a script post{name}, which would not run any more")
        if f"pre{name}" in package.scripts and manager in {"npm", "bun", "pnpm"}:
            if meaning.steps:
                return Unclear("it has steps within steps")
            meaning = structs.replace(meaning, steps=[f"{manager} run pre{name}"])
        if not meaning.script and not meaning.readings and (meaning.steps or meaning.elsewhere):
            if arguments:
                return Unclear(f"the script {name} has more than one command can say, and is given arguments")
            told = Start(type=meaning.type, folder=meaning.folder, script=name, host=meaning.host, port=meaning.port)
            meaning = structs.replace(told, steps=meaning.steps, beside=meaning.beside)
    elif isinstance(meaning, Unclear):
        return Unclear(f"{meaning.reason} (script {name})" if "(script " not in meaning.reason else meaning.reason)
    return meaning


def _moved(meaning: Meaning, place: Package, package: Package) -> Meaning:
    """What was understood in another package is run in its folder."""
    if isinstance(meaning, Start) and meaning.folder is None and place.folder != package.folder:
        return structs.replace(meaning, folder=place.folder)
    return meaning


def _folder(package: Package, name: str) -> Package | None:
    folder = package.folder / name
    return package_at(folder, package.home) if (folder / "package.json").is_file() else None


def _member(package: Package, name: str) -> Package | None:
    """The one package of the workspace with this name, or in this folder; ``None`` where that is not sure."""
    if set(name) & set("*!{}[]") or "..." in name or name.startswith("^"):
        return None
    if name.startswith("."):
        return _folder(package, name)
    found = [
        each
        for each in _members(package)
        if project.parse_file(each / "package.json").get("name") == name or each == package.folder / name
    ]
    return package_at(found[0], package.home) if len(found) == 1 else None


def _members(package: Package) -> Iterator[Path]:
    """The folders of the workspace that the package is in."""
    for place in (package.folder, *package.folder.parents):
        if patterns := services.workspace_patterns(str(place), services.read_package(str(place))):
            folders = {file.parent for each in patterns if not each.startswith("!") for file in _glob(place, each)}
            yield from sorted(folders)[:PACKAGES_MOST]
            return
        if place == package.home:
            return


def _glob(place: Path, pattern: str) -> Iterator[Path]:
    pattern = pattern.strip("/").removeprefix("./")
    if not pattern or pattern.startswith("..") or ":" in pattern:
        return
    for file in place.glob(f"{pattern}/package.json"):
        if "node_modules" not in file.parts:
            yield file


# ── several at once ───────────────────────────────────────────────────────────────────────────────────────────────────


def _concurrently(rest: list[str], package: Package, deep: int) -> Meaning:
    lines: list[str] = []
    rest = list(rest)
    while rest:
        word = rest.pop(0)
        if word in _PARALLEL_VALUES:
            rest[:1] = []
        elif word.startswith("-"):
            if not _PARALLEL_FLAGS.fullmatch(word):
                return Unclear(f"concurrently is given {word}, which is not understood")
        else:
            lines += _shortened(word, package)
    return _together([(line, _line(line, package, deep - 1)) for line in lines], keeps=True)


def _shortened(word: str, package: Package) -> list[str]:
    """``npm:watch-*`` is every script with such a name."""
    manager, colon, pattern = word.partition(":")
    if not colon or manager not in services.RUN or " " in word:
        return [word]
    return [f"{manager} run {name}" for name in _named(pattern, package)] or [word]


def _named(pattern: str, package: Package) -> list[str]:
    return [name for name in package.scripts if fnmatchcase(name, pattern)]


def _run_all(words: list[str], package: Package, deep: int) -> Meaning:
    """``run-p``, ``run-s`` and ``npm-run-all``: scripts by their names."""
    parallel = words[0] == "run-p"
    names: list[str] = []
    for word in words[1:]:
        if word in {"-p", "--parallel", "-s", "--sequential", "--serial"} and words[0].startswith("npm-run-all"):
            if names:
                return Unclear(f"{shlex.join(words)!r} has groups")
            parallel = word in {"-p", "--parallel"}
        elif word.startswith("-"):
            if word not in {"-l", "-r", "-n", "--silent", "--race", "--print-label", "--print-name"}:
                return Unclear(f"{words[0]} is given {word}, which is not understood")
        else:
            names += _named(word.replace("**", "*"), package) or [word]
    lines = [f"npm run {name}" for name in names]
    if not lines:
        return Unclear(f"{shlex.join(words)!r} names no script")
    if not parallel:
        return _sequence(lines[:-1], lines[-1], package, deep - 1)
    return _together([(line, _line(line, package, deep - 1)) for line in lines], keeps=True)


# ── scripts of node ───────────────────────────────────────────────────────────────────────────────────────────────────


def _script_file(words: list[str], package: Package, deep: int) -> Meaning | None:
    """``node dev.js`` and its like; ``None`` where the words are something else, as in ``bun run dev``."""
    runtime, rest = words[0], list(words[1:])
    if runtime == "node" and rest[:1] == ["--run"] and len(rest) > 1:
        return _managed(["npm", "run", rest[1], *rest[2:]], package, deep)
    if runtime in {"bun", "deno"}:
        if rest[:1] == ["run"]:
            rest.pop(0)
        elif runtime == "deno":
            return None
    while rest and (_NODE_FLAGS.fullmatch(rest[0]) or (runtime == "deno" and _DENO_FLAGS.fullmatch(rest[0]))):
        rest.pop(0)
    if tuple(rest[:2]) in _LOADERS:
        rest = rest[2:]
    if runtime in {"bun", "deno"} and (not rest or "." not in rest[0].rpartition("/")[2]):
        return None
    if not rest or rest[0].startswith("-") or (runtime == "tsx" and rest[0] == "watch"):
        return Unclear(f"{shlex.join(words)!r} is not understood")
    name, arguments = rest[0].replace("\\", "/"), rest[1:]
    if name.endswith("node_modules/vite/bin/vite.js"):
        meaning = _server(["vite", *arguments])
        memory = " ".join(word for word in words[: words.index(rest[0])] if word.startswith("--max-old"))
        return (
            structs.replace(meaning, env={"NODE_OPTIONS": memory}) if memory and isinstance(meaning, Start) else meaning
        )
    return _read_script(name, words, package, deep)


def _read_script(name: str, words: Sequence[str], package: Package, deep: int) -> Meaning:
    file = nodescript.find(package.folder / name)
    if file is None:
        return Unclear(f"{shlex.join(words)!r}: there is no {package.folder / name}")
    try:
        reading = nodescript.read(file, package.home, package.folder)
    except nodescript.UnreadableError as error:
        return Unclear(f"{shlex.join(words)!r}: {error}")
    reading.file = file
    if reading.unclear:
        return Unclear(f"{name} is not understood: {', '.join(reading.unclear)}")
    if not reading.starts:
        if reading.listens:
            return Unclear(f"{name} opens a port")
        return Quiet()
    return _started(reading, name, package, deep)


def _started(reading: nodescript.Reading, name: str, package: Package, deep: int) -> Meaning:
    """What a script does that starts programs: Vite once, and nothing else that would be missed."""
    starts: list[Start] = []
    others: list[str] = []
    for words in reading.vite:
        meaning = _server(["vite", *words])
        if isinstance(meaning, Unclear):
            return meaning
        if isinstance(meaning, Start):
            starts.append(meaning)
    for command in reading.commands:
        if _is_cleanup(command.shell or _line_of_shell(command.words) or shlex.join(command.words)):
            continue
        meaning = _spawned(command, package, deep)
        if isinstance(meaning, Start):
            starts.append(meaning)
        else:
            others.append(shlex.join(command.words) if not command.shell else command.shell)
    if not starts:
        return Unclear(f"{name} starts {_listed(others)}") if others else Quiet()
    more = [f"it starts {_listed(others)}"] if others else []
    more += [f"it writes {_listed(reading.writes)}"] if reading.writes else []
    different = [start for start in starts if start != starts[0]]
    more += ["it starts Vite in more than one way"] if different else []
    if more:
        return Unclear(f"{name} does more than start Vite: {', '.join(more)}")
    return structs.replace(starts[0], readings=[reading, *starts[0].readings])


def _is_cleanup(line: str) -> bool:
    """Whether it only looks for what an earlier run has left, and ends it."""
    line = _CMD.sub("", line.replace("2>&1", ""))
    parts = [part.split() for part in line.split("|") if part.strip()]
    runs = [next((it for it in part[1:] if it[0] != "-"), "") if part[0] == "xargs" else part[0] for part in parts]
    return bool(runs) and not set(line) & set(";&`\n") and all(name in _KILLERS | _FILTERS for name in runs)


def only_ends(line: str, scripts: Mapping[str, Any]) -> bool:
    """Whether a step only ends what an earlier run has left, itself or as one of the ``scripts``."""
    words = line.split()
    if words[1:2] == ["run"] and len(words) == 3:  # noqa: PLR2004  npm run NAME
        line = str(scripts.get(words[2], line))
    return _is_cleanup(re.sub(r"^npx (?:-y |--yes )?|\|\| *(?:exit 0|true|:)$", "", line.strip()))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name.replace(HOLE, '…')}'" for name in dict.fromkeys(names))


def _spawned(command: nodescript.Command, package: Package, deep: int) -> Meaning:
    """A program that a script starts, as if it stood in a shell."""
    line = command.shell or _line_of_shell(command.words)
    words = list(command.words)
    if line is not None:
        if _SHELL.search(line) or "&" in line or ";" in line:
            return Unclear("a shell's line")
        try:
            words = shlex.split(line)
        except ValueError:
            return Unclear("a quote that is never closed")
    known = _without_holes(words)
    if known is None:
        return Unclear("a computed argument")
    place = (
        package
        if command.cwd in {None, "."}
        else package_at(Path(os.path.normpath(package.folder / str(command.cwd))), package.home)
    )
    meaning = _moved(_simple(known, place, deep - 1), place, package) if deep > 1 else Unclear("too deep")
    if not isinstance(meaning, Start):
        return meaning
    if command.env and meaning.steps:
        return Unclear("variables for more than one step")
    return structs.replace(meaning, env={**meaning.env, **command.env}, port_env=[*meaning.port_env, *command.port_env])


def _line_of_shell(words: Sequence[str]) -> str | None:
    """The line of ``cmd /c …`` and ``sh -c …``."""
    if words[0].lower() == "cmd":
        rest = list(words[1:])
        while rest and rest[0].startswith("/"):
            rest.pop(0)
        return " ".join(rest)
    return words[2] if words[0] in {"sh", "bash"} and words[1:2] == ("-c",) and len(words) == 3 else None  # noqa: PLR2004


def _without_holes(words: Sequence[str]) -> list[str] | None:
    """Without the port that the script has chosen, and its address; ``None`` where more is computed."""
    known: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in {"--port", "--host"} and rest and HOLE in rest[0]:
            known += ["--host"] if word == "--host" else []
            rest.pop(0)
        elif word.startswith(("--port=", "--host=")) and HOLE in word:
            known += ["--host"] if word.startswith("--host") else []
        elif HOLE in word:
            return None
        else:
            known.append(word)
    return known
