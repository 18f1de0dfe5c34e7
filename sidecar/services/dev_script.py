"""Find out what a ``dev`` script starts: read its command line as a shell and a package manager do. Nothing is run.

The launch in stdio mode loads this module, so it imports little: msgspec and re, which are loaded already. Everything
else is imported where it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from sidecar.services.frameworks import CALLED, PROGRAMS, Framework

SCRIPTS_DEEP = 5
"""How many scripts that run each other we follow. No real project has more; a circle would have no end."""
COMMAND_MOST = 8_000
"""The longest command that we read. No one writes a longer one by hand."""
SCRIPTS_MENTIONED = 100
"""How many scripts we search for the name of a dev server."""

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
"""Words that run a script of package.json (true) or a package's program (false). Two words are tried before one."""

PORT_MOST = 65_535

EVERYWHERE = "0.0.0.0"  # noqa: S104  what a script may ask for, not what we bind
"""The meaning of ``--host`` without a value."""

NODES = ("node", "tsx", "ts-node", "nodemon", "bun", "deno", "babel-node", "node-dev", "ts-node-dev", "tsnd")
"""Programs that run the file in the next word."""
_ELSEWHERE = {"-w", "--workspace", "-ws", "--workspaces", "--prefix", "-C", "--dir", "--cwd", "-F", "--filter"}
"""Options that make a package manager run the script of another package."""
SEVERAL = ("concurrently", "conc", "npm-run-all", "npm-run-all2", "run-p", "run-s", "turbo", "nx", "lerna", "wsrun")
"""Programs that run several others. Arguments appended to their command line do not reach a server."""
LAUNCHERS = ("cross-env", "env", "npx")
"""Words that may come before a server's command. Arguments behind that command still reach the server."""
# plain texts: re compiles them on first use, and not while we start
NPM_VARIABLE = r"[$%]\{?npm_"
ASSIGNMENT = r"(?s)([A-Za-z_]\w*)=(.*)"
_VITE_VALUES = {"--base", "-l", "--logLevel", "-f", "--filter", "--clearScreen", "--configLoader"}
_PLACE_OF_BINS = "node_modules/.bin/"
_PORT_MOST, _PORT_DIGITS = 65_535, 5


class Step(Struct, frozen=True):
    """A step of a script before the server: a line for the shell, and the variables that are set by then."""

    line: str
    env: dict[str, str] = {}


class Start(Struct, frozen=True):
    """How a command starts one dev server and no other program beside it."""

    framework: Framework
    root: str = "."
    """Vite's root argument."""
    mode: str | None = None
    config: str | None = None
    """Vite's configuration file. Like the root, it is relative to the folder in which the script runs."""
    port: int | None = None
    strict: bool = False
    """Whether no other port will do."""
    host: str | None = None
    """The address that the command asks for. We ignore it in a script: more than loopback has to be configured."""
    args: tuple[str, ...] = ()
    """All other arguments, in their order."""
    env: dict[str, str] = {}
    steps: tuple[Step, ...] = ()
    """Steps that run before the server, one after the other, in the project's folder."""


class NotUnderstood(Struct, frozen=True):
    """A command that we do not understand."""

    reason: str
    """A clause that says why."""
    server: Framework | None = None
    """The dev server that the command seems to start, if any."""


class _Unclear(Exception):  # noqa: N818  it never leaves this module
    """Carries the reason."""


# ── one command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def understand(command: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    """Read a command line: it starts one dev server, perhaps after some steps, or we do not understand it."""
    return _understood(lambda reader: reader.command(command, SCRIPTS_DEEP), command, scripts)


def understand_script(name: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    """Read a script of package.json, with its ``pre`` script."""
    return _understood(lambda reader: reader.script(name, (), SCRIPTS_DEEP), str(scripts.get(name, "")), scripts)


def understand_words(words: list[str]) -> Start | NotUnderstood:
    """Read a command that is split into words already."""
    return _understood(lambda reader: reader.words(words, SCRIPTS_DEEP), words[0], {})


def understand_arguments(row: Framework, words: list[str]) -> Start | NotUnderstood:
    """Read the arguments behind a dev server's command, such as ``--port 3000``."""
    return _understood(lambda reader: reader.arguments(row, words), "", {})


def _understood(work: Any, command: str, scripts: Mapping[str, Any]) -> Start | NotUnderstood:
    try:
        start: Start = work(_Reader(scripts))
    except _Unclear as unclear:
        return NotUnderstood(str(unclear), _mentioned(command, scripts, set()))
    return start


class _Reader:
    """Follows a command through scripts, and collects the variables and steps on the way."""

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
        if len(line) > COMMAND_MOST:
            raise _Unclear(f"it is longer than {COMMAND_MOST} characters")
        *before, last = _chain(line)
        for text, _ in before:
            given = text.split(maxsplit=1)
            if given[0].lower() in {"set", "export"} and (found := re.fullmatch(ASSIGNMENT, given[-1])):
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
                raise _Unclear(f"{words[0]} gets the option {rest[0]}")
            if scripts and isinstance(self._scripts.get(rest[0]), str):
                if any(word.partition("=")[0] in _ELSEWHERE for word in rest[1:]):
                    raise _Unclear(f"it runs a script of another package ({' '.join(rest)})")
                arguments = rest[2:] if rest[1:2] == ["--"] else rest[1:]
                return self.script(rest[0], tuple(arguments), deep)
            if deep and rest[0] != words[0]:
                return self.words(rest, deep - 1)
        raise _Unclear(f"the sidecar does not know {words[0]}" if words else "it is empty")

    def _take_node(self, words: list[str]) -> list[str]:
        """Take off a leading ``node`` that runs a program of node_modules (to give it more memory, say)."""
        at = next((at for at, word in enumerate(words) if at and not word.startswith("--")), 0)
        path = words[at].replace("\\", "/") if at and words[0] == "node" else ""
        name = path.rpartition("/")[2].partition(".")[0]
        if "node_modules/" not in path or name not in PROGRAMS:
            return words
        if at > 1:
            self._env["NODE_OPTIONS"] = " ".join([*self._env.get("NODE_OPTIONS", "").split(), *words[1:at]])
        return [name, *words[at + 1 :]]

    def _step(self, line: str) -> None:
        if re.search(NPM_VARIABLE, line):
            raise _Unclear("it uses variables that npm sets")
        self._steps.append(Step(line, dict(self._env)))

    def _take_env(self, words: list[str]) -> list[str]:
        """Take off the variables that are set before a program. Return the other words."""
        rest = list(words)
        while rest:
            if given := re.fullmatch(ASSIGNMENT, rest[0]):
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
                port = _port(name, value)
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
            # other servers take the port from PORT, unless an option names one
            number = _port("its PORT", told)
            port = port or number
        if any(name == "HOST" for name, _ in row.env) and (told := env.pop("HOST", None)):
            host = host or told
        return Start(row, root, mode, config, port, strict, host, tuple(args), env, tuple(self._steps))


def _port(name: str, text: str) -> int:
    """Return the number of a port. Raises ``_Unclear``."""
    if not text.isdecimal():
        raise _Unclear(f"{name} is no number" if " " in name else f"{name} has no number")
    if len(text) > _PORT_DIGITS or int(text) > _PORT_MOST:
        raise _Unclear(f"{name} is larger than any port" if " " in name else f"{name} has no port's number")
    return int(text)


def _split(text: str) -> list[str]:
    if not any(mark in text for mark in "'\"\\"):
        return text.split()
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        raise _Unclear("it ends in the middle of a word") from None  # a backslash is its last character


def _chain(line: str) -> list[tuple[str, str]]:
    """Split a line at ``&&``. With each command, return its first operator that only a shell can handle, or "".

    Raises ``_Unclear`` if a quote is never closed, a part is empty, or a program would run in the background.
    """
    parts: list[tuple[str, str]] = []
    begin, at, quote, operator = 0, 0, "", ""
    while at < len(line):
        mark = line[at]
        if mark == "\\" and quote != "'":
            at += 1  # skip the escaped character
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


def _mentioned(command: str, scripts: Mapping[str, Any], seen: set[str]) -> Framework | None:
    """Find a dev server that the command may start: one of its words, or a word of a script that it names.

    Each script is read once: scripts that name each other could lead on without end.
    """
    words = re.findall(r"[\w:./@-]+", command[:COMMAND_MOST])
    for word in (word[:1] + word[1:].partition("@")[0] for word in words):  # npx accepts vite@latest
        row = PROGRAMS.get(word)
        row = row or next((PROGRAMS[it] for it in PROGRAMS if word.endswith((f"/{it}", f":{it}", f"/{it}.js"))), None)
        if row is not None:
            return row
    for word in words:
        if word in seen or len(seen) == SCRIPTS_MENTIONED or not isinstance(scripts.get(word), str):
            continue
        seen.add(word)
        row = _mentioned(scripts[word], scripts, seen)
        if row is not None:
            return row
    return None
