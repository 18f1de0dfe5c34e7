"""What a JavaScript file of the project starts, read from its text: nothing is run.

The answer must not be wrong in one direction: a script that starts a second server must never pass for one that
starts only Vite. So everything is on a list. A module that is on none, a name that is handed on, a value that is
computed where it matters: each is a reason not to touch the project. What is left is small and sure: which program is
started with which arguments, and which files are written.

Only tokens are looked at, as in ``rust``: comments, texts and regular expressions are not taken for code. A text with
``${…}`` in it keeps a hole where the value goes.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from sidecar.files import read_regular
from sidecar.init import javascript as js
from sidecar.init.javascript import HOLE, Token, Tokens

SCRIPT_BYTES_MOST = 64 << 10
"""A script that starts a dev server is a page long."""
FILES_MOST = 16
"""So many files are read for one script, with those that it imports."""

SUFFIXES = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts")

_QUIET_MODULES = {
    *("assert", "buffer", "console", "constants", "crypto", "dns", "dns/promises", "events", "fs", "fs/promises", "os"),
    *("path", "path/posix", "path/win32", "perf_hooks", "process", "querystring", "readline", "readline/promises"),
    *("stream", "stream/promises", "string_decoder", "timers", "timers/promises", "tty", "url", "util", "zlib"),
    *("ansi-colors", "chalk", "colorette", "kleur", "picocolors"),
}
"""With these alone no script starts a program or listens on a port."""
_PORT_MODULES = {"detect-port", "find-free-port", "get-port", "get-port-please", "kill-port", "portfinder"}
"""They look for a free port, or free one. A script that needs no port of its own needs none of them."""
_LISTENERS = {"net": {"createServer", "connect", "createConnection", "Socket"}, "http": {"get", "request"}}
"""What a script that starts Vite does with sockets: it tries whether a port is free, and whether Vite answers."""
_STARTERS = {"spawn", "exec", "execFile", "fork", "spawnSync", "execSync", "execFileSync"}
_STARTER_MODULES = {"child_process", "cross-spawn", "execa"}
_EXECA = {"execa": "spawn", "execaSync": "spawn", "execaCommand": "exec", "execaCommandSync": "exec"}
_VITE_HELPERS = {"createLogger", "defineConfig", "loadEnv", "mergeConfig", "searchForWorkspaceRoot", "version"}
_COMPUTED = {"eval", "Function", "Bun", "Deno", "global", "globalThis", "createRequire"}
"""With one of these a script can do what its text does not say."""
_WRITERS = {
    *("writeFile", "writeFileSync", "appendFile", "appendFileSync", "createWriteStream", "outputFile"),
    *("copyFile", "copyFileSync", "cp", "cpSync", "rename", "renameSync"),
}
_IGNORED_OPTIONS = {
    *("shell", "stdio", "detached", "windowsHide", "encoding", "timeout", "signal", "uid", "gid", "maxBuffer"),
    *("preferLocal", "reject", "stdin", "stdout", "stderr", "windowsVerbatimArguments", "execArgv", "silent"),
}
_PORT_LINE = re.compile(rf"(\w*PORT\w*)=[\"']?{HOLE}[\"']?")
_IGNORED_VITE = {"clearScreen", "customLogger", "logLevel"}


class Command(Struct, frozen=True):
    """A program that the script starts."""

    words: tuple[str, ...]
    """With ``HOLE`` where an argument is computed."""
    shell: str | None = None
    """The whole line, where a shell takes it apart."""
    env: dict[str, str] = {}
    port_env: tuple[str, ...] = ()
    """Variables that carry the port."""
    cwd: str | None = None


class Reading(Struct):
    """What a script does."""

    file: Path
    commands: list[Command] = field(default_factory=list)
    vite: list[list[str]] = field(default_factory=list)
    """For each server that is made with Vite's own functions, the command line that is the same."""
    port_files: list[str] = field(default_factory=list)
    """Files with the port, by their last name."""
    writes: list[str] = field(default_factory=list)
    """Every other file that it writes."""
    listens: bool = False
    """Whether it opens a port, if only to try it."""
    starts: bool = False
    """Whether it can start programs at all."""
    unclear: list[str] = field(default_factory=list)
    """What is not understood."""


class UnreadableError(ValueError):
    """The file is not one that is read; the text says why."""


def read(file: Path, top: Path, folder: Path) -> Reading:
    """Read a script that is run in ``folder``, and what it imports, from the project in ``top``.

    Raises ``UnreadableError``.
    """
    reading = Reading(file)
    try:
        _Reader(reading, top, folder).read(file)
    except RecursionError:
        raise UnreadableError(f"{file} is nested too deeply") from None
    reading.unclear = list(dict.fromkeys(reading.unclear))
    return reading


def text_of(file: Path, top: Path) -> str:
    """The text of a regular file below ``top``. Raises ``UnreadableError``."""
    real, home = Path(os.path.realpath(file)), Path(os.path.realpath(top))
    if not real.is_relative_to(home) or "node_modules" in real.relative_to(home).parts:
        raise UnreadableError(f"{file} is not a file of this project")
    try:
        data = read_regular(real, SCRIPT_BYTES_MOST + 1)
    except OSError as error:  # ENOENT, EACCES, EISDIR: a command may name what is not there
        raise UnreadableError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > SCRIPT_BYTES_MOST:
        raise UnreadableError(f"{file} is larger than {SCRIPT_BYTES_MOST >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"{file} is not UTF-8") from None


def find(file: Path) -> Path | None:
    """The file that a script's name stands for, as node and tsx look for it."""
    names = (
        file,
        *(file.with_name(file.name + suffix) for suffix in SUFFIXES),
        *(file / f"index{it}" for it in SUFFIXES),
    )
    if file.suffix in {".js", ".mjs"}:  # TypeScript names its own files by what they become
        names = (*names, file.with_suffix(file.suffix.replace("js", "ts")))
    return next((name for name in names if name.is_file()), None)


# ── meaning ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Reader:
    """One script with its imports; what it finds goes into the reading."""

    def __init__(self, reading: Reading, top: Path, folder: Path) -> None:
        self._reading = reading
        self._top = top
        self._folder = folder
        self._seen: set[Path] = set()

    def read(self, file: Path) -> None:
        self._seen.add(Path(os.path.realpath(file)))
        place = Path(os.path.relpath(file, self._folder)).as_posix()
        module = _Module(js.tokenize(text_of(file, self._top)), self._reading, f"./{place}")
        for name in module.imports():
            if name.startswith("."):
                self._follow(file, name)
        module.look()

    def _follow(self, file: Path, name: str) -> None:
        found = find(file.parent / name)
        if found is None or found.suffix not in SUFFIXES:
            self._reading.unclear.append(f"it imports {name}, which is not read")
            return
        if Path(os.path.realpath(found)) in self._seen:
            return
        if len(self._seen) == FILES_MOST:
            self._reading.unclear.append(f"it imports more than {FILES_MOST} files")
            return
        self.read(found)


class _Module(js.Source):
    """The tokens of one file."""

    def __init__(self, tokens: list[Token], reading: Reading, file: str) -> None:
        super().__init__(tokens, reading.unclear.append)
        self._reading = reading
        self._file = file
        """Its path, from the folder in which the script is run."""
        self._calls: dict[str, str] = {}
        """A local name → the function that starts a program."""
        self._spaces: dict[str, str] = {}
        """A local name → the module whose members are used."""
        self._vite: dict[str, str] = {}
        """A local name → the function of Vite."""
        self._told: list[str] = []
        """Variables that carry the port by way of a file."""
        self._clauses: set[int] = set()
        """Where names are bound by an import: these are no uses."""

    # ── imports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def imports(self) -> Iterator[str]:
        """The modules; what is bound by each is remembered."""
        for at, word in enumerate(self.words):
            if word in {"require", "import"} and self.words[at + 1 : at + 2] == ["("]:
                name = self.text(at + 2)
                if name is None or HOLE in name or self.words[at + 3 : at + 4] != [")"]:
                    self.unclear("it loads a module whose name is computed")
                    continue
                start = at - 1 if self.words[at - 1 : at] == ["await"] else at
                begin, end = self._assigned(start)
                if self.words[at + 4 : at + 5] in (["."], ["("], ["["], ["?."]):
                    self._used_at_once(name.removeprefix("node:"), at + 4)
                else:
                    self._bind(name, begin, end)
                yield name
            elif word in {"from", "import"} and (name := self.text(at + 1)) is not None:
                if word == "from" and not self._is_clause(at):
                    continue
                begin = self._clause_begin(at) if word == "from" else at
                if self.words[begin] == "export" and not name.startswith("."):
                    self.unclear(f"it hands {name!r} on")
                self._bind(name, begin + 1, at)
                yield name

    def _is_clause(self, at: int) -> bool:
        return self.words[self._clause_begin(at)] in {"import", "export"}

    def _clause_begin(self, at: int) -> int:
        for index in range(at - 1, -1, -1):
            if self.words[index] in {"import", "export"}:
                return index
            if self.words[index] in {";", "(", ")"}:
                break
        return at

    def _assigned(self, at: int) -> tuple[int, int]:
        """The span of what stands before ``= require(…)``; an empty one where the value is used at once."""
        if self.words[at - 1 : at] != ["="]:
            return at, at
        for index in range(at - 2, -1, -1):
            if self.words[index] in {"const", "let", "var"}:
                return index + 1, at - 1
            if self.words[index] == ";":
                break
        return at, at

    def _bind(self, name: str, begin: int, end: int) -> None:
        """Remember what an import's clause binds: ``X``, ``* as X``, ``{ a, b as c, d: e }``."""
        name = name.removeprefix("node:")
        if name in _QUIET_MODULES or name in _PORT_MODULES or name.startswith("."):
            return
        if name not in _STARTER_MODULES and name not in _LISTENERS and name != "vite":
            self.unclear(f"it imports {name!r}")
            return
        self._reading.starts |= name in _STARTER_MODULES or name == "vite"
        self._reading.listens |= name in _LISTENERS
        clause = self.words[begin:end]
        if not clause or {".", "="} & set(clause):
            self.unclear(f"it uses {name!r} in a way that is not understood")
            return
        self._clauses.update(range(begin, end))
        braces = False
        for index in range(begin, end):
            word = self.words[index]
            braces = word == "{" or (braces and word != "}")
            if self.tokens[index].kind != "word" or word in {"as", "type"}:
                continue
            following = self.words[index + 1 : index + 2]
            if braces and following in (["as"], [":"]):
                continue  # the name behind it is the local one
            original = self.words[index - 2] if self.words[index - 1] in {"as", ":"} else word
            self._bind_one(name, word, original if braces else "*")

    def _used_at_once(self, module: str, at: int) -> None:
        """``require("x").y(…)``, whatever becomes of it."""
        if module in _QUIET_MODULES or module in _PORT_MODULES or module.startswith("."):
            return
        name = self.words[at + 1] if self.words[at] == "." else ""
        if module == "child_process" and name in _STARTERS and self.words[at + 2 : at + 3] == ["("]:
            self._reading.starts = True
            self._use(at + 1, name)
        else:
            self.unclear(f"it uses {module}.{name}" if name else f"it uses {module!r} in a way that is not understood")

    def _bind_one(self, module: str, local: str, original: str) -> None:
        if module == "vite":
            if original == "*":
                self._spaces[local] = module
            elif original not in _VITE_HELPERS:
                self._vite[local] = original
        elif module in _LISTENERS:
            if original == "*":
                self._spaces[local] = module
            elif original not in _LISTENERS[module]:
                self.unclear(f"it uses {original} of {module!r}")
        elif module == "child_process":
            if original == "*":
                self._spaces[local] = module
            elif original in _STARTERS:
                self._calls[local] = original
        elif module == "cross-spawn":
            self._calls[local] = "spawn"
        elif original in _EXECA:
            self._calls[local] = _EXECA[original]
        else:
            self.unclear(f"it uses {original} of {module!r}")

    # ── uses ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Look at each use of what matters."""
        for at, word in enumerate(self.words):
            if self.tokens[at].kind != "word" or at in self._clauses:
                continue
            before, after = self.words[at - 1] if at else "", self.words[at + 1] if at + 1 < len(self.words) else ""
            member, key = before in {".", "?."}, after == ":" and before in {"{", ","}
            if word in _WRITERS and after == "(":
                self._write(at)
            if member or key:
                continue
            if word in _COMPUTED:
                self.unclear(f"it uses {word}")
            elif word in self._spaces:
                self._use_member(at)
            elif word in self._calls:
                self._use(at, self._calls[word])
            elif word in self._vite:
                self._use_vite(at, self._vite[word])
            elif word == "process" and self.words[at + 2 : at + 3] in (["binding"], ["dlopen"], ["getBuiltinModule"]):
                self.unclear(f"it uses process.{self.words[at + 2]}")
            elif word == "require" and after not in {"(", "."}:
                self.unclear("it hands require on")
        if self._reading.listens and "createServer" in self.words and "close" not in self.words and not self._vite:
            self.unclear("it opens a port and does not close it")
        if any(self.words[at : at + 5] == ["assign", "(", "process", ".", "env"] for at in range(len(self.words))):
            self.unclear("it computes variables")
        self._environment()

    def _use_member(self, at: int) -> None:
        module, words = self._spaces[self.words[at]], self.words
        name = words[at + 2] if words[at + 1 : at + 2] == ["."] else ""
        if module == "vite":
            if name not in _VITE_HELPERS:
                self._use_vite(at + 2, name)
        elif module in _LISTENERS:
            if name not in _LISTENERS[module]:
                self.unclear(f"it uses {module}.{name}" if name else f"it hands {words[at]} on")
        elif name in _STARTERS:
            self._use(at + 2, name)
        elif name != "ChildProcess":
            self.unclear(f"it hands {words[at]} on")

    def _use(self, at: int, function: str) -> None:
        """A call that starts a program."""
        arguments = self.arguments(at)
        if arguments is None:
            self.unclear(f"it hands {self.words[at]} on")
            return
        command = self._command(function, arguments)
        if command is None:
            self.unclear(f"it starts a program that is computed ({self.words[at]})")
        else:
            self._reading.commands.append(command)

    def _command(self, function: str, arguments: list[Tokens]) -> Command | None:
        program = self.value(arguments[0]) if arguments else None
        if program is None or not program.strip() or program.startswith(HOLE):
            return None
        given = list(arguments[1:])
        words: list[str] | None = []
        if (
            given
            and given[0]
            and not (given[0][0].text == "{" or given[0][0].text in {"(", "function"} or js.is_arrow(given[0]))
        ):
            words = self.items(given.pop(0))
        if words is None:
            return None
        options = next((each for each in given if each and each[0].text == "{"), ())
        env, ports, cwd = self._options(options)
        whole = " ".join([program, *words])
        line = function in {"exec", "execSync"} or (not words and " " in program)
        if function == "fork":
            return Command(("node", program, *words), None, env, ports, cwd)
        return Command((js.plain_name(program), *words), whole if line else None, env, ports, cwd)

    def _options(self, tokens: Tokens) -> tuple[dict[str, str], tuple[str, ...], str | None]:
        env: dict[str, str] = {}
        ports: tuple[str, ...] = ()
        cwd: str | None = None
        for key, value in self.members(tokens):
            if key == "env":
                env, ports = self._env(value)
            elif key == "cwd":
                cwd = self._folder(value)
            elif key not in _IGNORED_OPTIONS:
                self.unclear(f"it starts a program with the option {key}")
        return env, ports, cwd

    def _env(self, tokens: Tokens) -> tuple[dict[str, str], tuple[str, ...]]:
        """Variables with their values, and those that carry the port."""
        if js.texts(tokens) == ["process", ".", "env"]:
            return {}, ()
        if len(tokens) == 1 and (known := self.definition(tokens[0].text)):
            tokens = known
        env: dict[str, str] = {}
        ports: list[str] = []
        for key, value in self.members(tokens):
            if key == "..." and js.texts(value) == ["process", ".", "env"]:
                continue
            self._variable(key, value, env, ports)
        return env, tuple(ports)

    def _variable(self, name: str, value: Tokens, env: dict[str, str], ports: list[str]) -> None:
        text = self.value(value)
        if text is not None and HOLE not in text:
            env[name] = text
        elif "PORT" in name.upper():
            ports.append(name)
        elif name != "TAURI_DEV_HOST":
            self.unclear(f"it computes the variable {name}")

    def _environment(self) -> None:
        """``process.env.NAME = value``: every program that is started later has it."""
        env: dict[str, str] = {}
        ports: list[str] = [*self._told]
        for at in range(len(self.words)):
            if self.words[at : at + 4] == ["process", ".", "env", "."] and self.words[at + 5 : at + 6] == ["="]:
                self._variable(self.words[at + 4], self._until(at + 6, {";", ","}), env, ports)
            elif self.words[at : at + 4] == ["process", ".", "env", "["]:
                close = self.close(at + 3)
                if self.words[close + 1 : close + 2] == ["="]:
                    self.unclear("it computes a variable's name")
        if env or ports:
            self._reading.commands = [
                Command(each.words, each.shell, {**env, **each.env}, (*ports, *each.port_env), each.cwd)
                for each in self._reading.commands
            ]

    def _write(self, at: int) -> None:
        """A file that is written: the one with the port, or another."""
        arguments = self.arguments(at)
        target = arguments[-1 if self.words[at].startswith(("copy", "cp", "rename")) else 0] if arguments else ()
        value = self.value(target)
        name = (value or "").replace("\\", "/").rstrip("/").rpartition("/")[2].replace(HOLE, "")
        told = self._told_by(arguments[1]) if arguments and len(arguments) > 1 and name.startswith(".env") else []
        if told and not self._reading.vite:
            self._told += told
            self._reading.port_files.append(name)
        elif "port" in f"{name} {' '.join(js.texts(target))}".lower():
            self._reading.port_files.append(name)
        else:
            self._reading.writes.append(name or "a file")

    def _told_by(self, content: Tokens) -> list[str]:
        """The variables with the port, where a file for dotenv has nothing else."""
        lines = [_PORT_LINE.fullmatch(line) for line in (self.value(content) or "").split()]
        return [line[1] for line in lines if line] if all(lines) else []

    # ── Vite's own functions ─────────────────────────────────────────────────────────────────────────────────────────

    def _use_vite(self, at: int, name: str) -> None:
        arguments = self.arguments(at)
        if arguments is None:
            self.unclear(f"it hands {self.words[at]} of Vite on")
        elif name == "preview":
            self.unclear("it serves what was built before (preview of Vite)")
        elif name != "createServer":
            self.unclear(f"it calls {name} of Vite")
        else:
            options = arguments[0] if arguments else ()
            if len(options) == 1 and (known := self.definition(options[0].text)):
                options = known
            self._reading.vite.append(self._vite_words(options))

    def _vite_words(self, options: Tokens) -> list[str]:
        words: list[str] = []
        for key, value in self.members(options):
            text = self.value(value)
            if key in {"mode", "configFile"} and text and HOLE not in text:
                words += ["--mode" if key == "mode" else "--config", text]
            elif key == "root" and (folder := self._folder(value)) is not None:
                words += [folder] if folder != "." else []
            elif key == "server":
                words += self._server_words(value)
            elif key not in _IGNORED_VITE:
                self.unclear(f"it makes Vite's server with the option {key}")
        return words

    def _server_words(self, options: Tokens) -> list[str]:
        words: list[str] = []
        for key, value in self.members(options):
            text = self.value(value)
            if key == "port" and text and text.isdecimal():
                words += ["--port", text]
            elif key == "host" and js.texts(value) != ["false"]:
                words.append("--host")
            elif key not in {"port", "host", "strictPort", "open"}:
                self.unclear(f"it makes Vite's server with the option server.{key}")
        return words

    def _folder(self, tokens: Tokens) -> str | None:
        """A folder, from the one in which the script is run."""
        found = self._place(tokens, js.VALUES_DEEP)
        if found is None or found.startswith("/") or ":" in found:
            self.unclear("it computes a folder")
            return None
        return posixpath.normpath(found)

    def _place(self, tokens: Tokens, deep: int) -> str | None:
        """A path that is put together from what node says of the script's place; ``None`` where it is not known."""
        tokens = js.bare(tokens)
        said = js.texts(tokens)
        if said == ["process", ".", "cwd", "(", ")"]:
            return "."
        if said in (["__dirname"], ["import", ".", "meta", ".", "dirname"]):
            return posixpath.dirname(self._file)
        if said in (["__filename"], *(["import", ".", "meta", ".", name] for name in ("filename", "url"))):
            return self._file
        if len(tokens) == 1:
            known = self.definition(tokens[0].text) if deep and tokens[0].kind == "word" else None
            return self._place(known, deep - 1) if known else tokens[0].text if tokens[0].kind == "text" else None
        if "(" not in said or js.closing(said, said.index("(")) != len(said) - 1:
            return None
        begin = said.index("(")
        places = [self._place(part, deep) for part in js.split(tokens[begin + 1 : -1], ",") if part]
        known_places = [place for place in places if place is not None]
        if len(known_places) != len(places) or not places:
            return None
        match [word for word in said[:begin] if word not in {".", "path", "url"}]:
            case ["join" | "resolve"]:
                return "/".join(known_places)
            case ["dirname"] if len(places) == 1:
                return posixpath.dirname(posixpath.normpath(known_places[0]))
            case ["fileURLToPath"] if len(places) == 1:
                return known_places[0]
            case ["new", "URL"] if len(places) == 2 and known_places[1] == self._file:  # noqa: PLR2004  a name, a base
                return f"{posixpath.dirname(self._file)}/{known_places[0]}"
            case _:
                return None
