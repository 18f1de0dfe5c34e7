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
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from sidecar.init import javascript as js
from sidecar.init.javascript import HOLE, Token, Tokens

SCRIPT_BYTES_MOST = 64 << 10
"""A script that starts a dev server is a page long."""
FILES_MOST = 16
"""So many files are read for one script, with those that it imports."""
DEEP = 4
"""A name that stands for a name that stands for ...: so far it is followed."""

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


def read(file: Path, top: Path) -> Reading:
    """Read a script and what it imports from the project in ``top``. Raises ``UnreadableError``."""
    reading = Reading(file)
    _Reader(reading, top).read(file)
    reading.unclear = list(dict.fromkeys(reading.unclear))
    return reading


def text_of(file: Path, top: Path) -> str:
    """The text of a regular file below ``top``. Raises ``UnreadableError``."""
    real, home = Path(os.path.realpath(file)), Path(os.path.realpath(top))
    if not real.is_relative_to(home) or "node_modules" in real.relative_to(home).parts:
        raise UnreadableError(f"{file} is not a file of this project")
    try:
        with real.open("rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise UnreadableError(f"{file} is not a file")
            data = opened.read(SCRIPT_BYTES_MOST + 1)
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

    def __init__(self, reading: Reading, top: Path) -> None:
        self._reading = reading
        self._top = top
        self._seen: set[Path] = set()

    def read(self, file: Path) -> None:
        self._seen.add(Path(os.path.realpath(file)))
        module = _Module(js.tokenize(text_of(file, self._top)), self._reading)
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


class _Module:
    """The tokens of one file."""

    def __init__(self, tokens: list[Token], reading: Reading) -> None:
        self._tokens = tokens
        self._words = [token.text if token.kind != "text" else "" for token in tokens]
        self._reading = reading
        self._calls: dict[str, str] = {}
        """A local name → the function that starts a program."""
        self._spaces: dict[str, str] = {}
        """A local name → the module whose members are used."""
        self._vite: dict[str, str] = {}
        """A local name → the function of Vite."""
        self._clauses: set[int] = set()
        """Where names are bound by an import: these are no uses."""

    # ── imports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def imports(self) -> Iterator[str]:
        """The modules; what is bound by each is remembered."""
        for at, word in enumerate(self._words):
            if word in {"require", "import"} and self._words[at + 1 : at + 2] == ["("]:
                name = self._text(at + 2)
                if name is None or HOLE in name or self._words[at + 3 : at + 4] != [")"]:
                    self._unclear("it loads a module whose name is computed")
                    continue
                start = at - 1 if self._words[at - 1 : at] == ["await"] else at
                begin, end = self._assigned(start)
                if self._words[at + 4 : at + 5] in (["."], ["("], ["["], ["?."]):
                    self._used_at_once(name.removeprefix("node:"), at + 4)
                else:
                    self._bind(name, begin, end)
                yield name
            elif word in {"from", "import"} and (name := self._text(at + 1)) is not None:
                if word == "from" and not self._is_clause(at):
                    continue
                begin = self._clause_begin(at) if word == "from" else at
                if self._words[begin] == "export" and not name.startswith("."):
                    self._unclear(f"it hands {name!r} on")
                self._bind(name, begin + 1, at)
                yield name

    def _is_clause(self, at: int) -> bool:
        return self._words[self._clause_begin(at)] in {"import", "export"}

    def _clause_begin(self, at: int) -> int:
        for index in range(at - 1, -1, -1):
            if self._words[index] in {"import", "export"}:
                return index
            if self._words[index] in {";", "(", ")"}:
                break
        return at

    def _assigned(self, at: int) -> tuple[int, int]:
        """The span of what stands before ``= require(…)``; an empty one where the value is used at once."""
        if self._words[at - 1 : at] != ["="]:
            return at, at
        for index in range(at - 2, -1, -1):
            if self._words[index] in {"const", "let", "var"}:
                return index + 1, at - 1
            if self._words[index] == ";":
                break
        return at, at

    def _bind(self, name: str, begin: int, end: int) -> None:
        """Remember what an import's clause binds: ``X``, ``* as X``, ``{ a, b as c, d: e }``."""
        name = name.removeprefix("node:")
        if name in _QUIET_MODULES or name in _PORT_MODULES or name.startswith("."):
            return
        if name not in _STARTER_MODULES and name not in _LISTENERS and name != "vite":
            self._unclear(f"it imports {name!r}")
            return
        self._reading.starts |= name in _STARTER_MODULES or name == "vite"
        self._reading.listens |= name in _LISTENERS
        clause = self._words[begin:end]
        if not clause or {".", "="} & set(clause):
            self._unclear(f"it uses {name!r} in a way that is not understood")
            return
        self._clauses.update(range(begin, end))
        braces = False
        for index in range(begin, end):
            word = self._words[index]
            braces = word == "{" or (braces and word != "}")
            if self._tokens[index].kind != "word" or word in {"as", "type"}:
                continue
            following = self._words[index + 1 : index + 2]
            if braces and following in (["as"], [":"]):
                continue  # the name behind it is the local one
            original = self._words[index - 2] if self._words[index - 1] in {"as", ":"} else word
            self._bind_one(name, word, original if braces else "*")

    def _used_at_once(self, module: str, at: int) -> None:
        """``require("x").y(…)``, whatever becomes of it."""
        if module in _QUIET_MODULES or module in _PORT_MODULES or module.startswith("."):
            return
        name = self._words[at + 1] if self._words[at] == "." else ""
        if module == "child_process" and name in _STARTERS and self._words[at + 2 : at + 3] == ["("]:
            self._reading.starts = True
            self._use(at + 1, name)
        else:
            self._unclear(f"it uses {module}.{name}" if name else f"it uses {module!r} in a way that is not understood")

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
                self._unclear(f"it uses {original} of {module!r}")
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
            self._unclear(f"it uses {original} of {module!r}")

    # ── uses ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Look at each use of what matters."""
        for at, word in enumerate(self._words):
            if self._tokens[at].kind != "word" or at in self._clauses:
                continue
            before, after = self._words[at - 1] if at else "", self._words[at + 1] if at + 1 < len(self._words) else ""
            member, key = before in {".", "?."}, after == ":" and before in {"{", ","}
            if word in _WRITERS and after == "(":
                self._write(at)
            if member or key:
                continue
            if word in _COMPUTED:
                self._unclear(f"it uses {word}")
            elif word in self._spaces:
                self._use_member(at)
            elif word in self._calls:
                self._use(at, self._calls[word])
            elif word in self._vite:
                self._use_vite(at, self._vite[word])
            elif word == "process" and self._words[at + 2 : at + 3] in (["binding"], ["dlopen"], ["getBuiltinModule"]):
                self._unclear(f"it uses process.{self._words[at + 2]}")
            elif word == "require" and after not in {"(", "."}:
                self._unclear("it hands require on")
        if self._reading.listens and "createServer" in self._words and "close" not in self._words and not self._vite:
            self._unclear("it opens a port and does not close it")
        if any(self._words[at : at + 5] == ["assign", "(", "process", ".", "env"] for at in range(len(self._words))):
            self._unclear("it computes variables")
        self._environment()

    def _use_member(self, at: int) -> None:
        module, words = self._spaces[self._words[at]], self._words
        name = words[at + 2] if words[at + 1 : at + 2] == ["."] else ""
        if module == "vite":
            if name not in _VITE_HELPERS:
                self._use_vite(at + 2, name)
        elif module in _LISTENERS:
            if name not in _LISTENERS[module]:
                self._unclear(f"it uses {module}.{name}" if name else f"it hands {words[at]} on")
        elif name in _STARTERS:
            self._use(at + 2, name)
        elif name != "ChildProcess":
            self._unclear(f"it hands {words[at]} on")

    def _use(self, at: int, function: str) -> None:
        """A call that starts a program."""
        arguments = self._arguments(at)
        if arguments is None:
            self._unclear(f"it hands {self._words[at]} on")
            return
        command = self._command(function, arguments)
        if command is None:
            self._unclear(f"it starts a program that is computed ({self._words[at]})")
        else:
            self._reading.commands.append(command)

    def _command(self, function: str, arguments: list[Tokens]) -> Command | None:
        program = self._value(arguments[0]) if arguments else None
        if program is None or not program.strip() or program.startswith(HOLE):
            return None
        given = list(arguments[1:])
        words: list[str] | None = []
        if (
            given
            and given[0]
            and not (given[0][0].text == "{" or given[0][0].text in {"(", "function"} or js.is_arrow(given[0]))
        ):
            words = self._items(given.pop(0))
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
        for key, value in self._members(tokens):
            if key == "env":
                env, ports = self._env(value)
            elif key == "cwd":
                cwd = self._folder(value)
            elif key not in _IGNORED_OPTIONS:
                self._unclear(f"it starts a program with the option {key}")
        return env, ports, cwd

    def _env(self, tokens: Tokens) -> tuple[dict[str, str], tuple[str, ...]]:
        """Variables with their values, and those that carry the port."""
        if js.texts(tokens) == ["process", ".", "env"]:
            return {}, ()
        if len(tokens) == 1 and (known := self._definition(tokens[0].text)):
            tokens = known
        env: dict[str, str] = {}
        ports: list[str] = []
        for key, value in self._members(tokens):
            if key == "..." and js.texts(value) == ["process", ".", "env"]:
                continue
            self._variable(key, value, env, ports)
        return env, tuple(ports)

    def _variable(self, name: str, value: Tokens, env: dict[str, str], ports: list[str]) -> None:
        text = self._value(value)
        if text is not None and HOLE not in text:
            env[name] = text
        elif "PORT" in name.upper():
            ports.append(name)
        elif name != "TAURI_DEV_HOST":
            self._unclear(f"it computes the variable {name}")

    def _environment(self) -> None:
        """``process.env.NAME = value``: every program that is started later has it."""
        env: dict[str, str] = {}
        ports: list[str] = []
        for at in range(len(self._words)):
            if self._words[at : at + 4] == ["process", ".", "env", "."] and self._words[at + 5 : at + 6] == ["="]:
                self._variable(self._words[at + 4], self._until(at + 6, {";", ","}), env, ports)
            elif self._words[at : at + 4] == ["process", ".", "env", "["]:
                close = self._close(at + 3)
                if self._words[close + 1 : close + 2] == ["="]:
                    self._unclear("it computes a variable's name")
        if env or ports:
            self._reading.commands = [
                Command(each.words, each.shell, {**env, **each.env}, (*ports, *each.port_env), each.cwd)
                for each in self._reading.commands
            ]

    def _write(self, at: int) -> None:
        """A file that is written: the one with the port, or another."""
        arguments = self._arguments(at)
        target = arguments[-1 if self._words[at].startswith(("copy", "cp", "rename")) else 0] if arguments else ()
        value = self._value(target)
        name = (value or "").replace("\\", "/").rstrip("/").rpartition("/")[2].replace(HOLE, "")
        if "port" in f"{name} {' '.join(js.texts(target))}".lower():
            self._reading.port_files.append(name)
        else:
            self._reading.writes.append(name or "a file")

    # ── Vite's own functions ─────────────────────────────────────────────────────────────────────────────────────────

    def _use_vite(self, at: int, name: str) -> None:
        arguments = self._arguments(at)
        if arguments is None:
            self._unclear(f"it hands {self._words[at]} of Vite on")
        elif name == "preview":
            self._unclear("it serves what was built before (preview of Vite)")
        elif name != "createServer":
            self._unclear(f"it calls {name} of Vite")
        else:
            options = arguments[0] if arguments else ()
            if len(options) == 1 and (known := self._definition(options[0].text)):
                options = known
            self._reading.vite.append(self._vite_words(options))

    def _vite_words(self, options: Tokens) -> list[str]:
        words: list[str] = []
        for key, value in self._members(options):
            text = self._value(value)
            if key in {"mode", "configFile"} and text and HOLE not in text:
                words += ["--mode" if key == "mode" else "--config", text]
            elif key == "root" and (folder := self._folder(value)) is not None:
                words += [folder] if folder != "." else []
            elif key == "server":
                words += self._server_words(value)
            elif key not in _IGNORED_VITE:
                self._unclear(f"it makes Vite's server with the option {key}")
        return words

    def _server_words(self, options: Tokens) -> list[str]:
        words: list[str] = []
        for key, value in self._members(options):
            text = self._value(value)
            if key == "port" and text and text.isdecimal():
                words += ["--port", text]
            elif key == "host" and js.texts(value) != ["false"]:
                words.append("--host")
            elif key not in {"port", "host", "strictPort", "open"}:
                self._unclear(f"it makes Vite's server with the option server.{key}")
        return words

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _value(self, tokens: Tokens, deep: int = DEEP) -> str | None:
        """The text that an expression stands for, with holes for what is computed; ``None`` where it has no text."""
        tokens = js.bare(tokens)
        if not tokens:
            return None
        if len(branches := js.branches(tokens)) == 2:  # noqa: PLR2004  what stands before and behind the colon
            first, second = (self._value(each, deep) for each in branches)
            return first if first is not None and js.plain_name(first) == js.plain_name(second or "") else HOLE
        if len(parts := js.split(tokens, "+")) > 1:
            return "".join(self._value(part, deep) or HOLE for part in parts)
        if len(tokens) == 1:
            return self._single(tokens[0], deep)
        texts = js.texts(tokens)
        if texts in (["process", ".", "execPath"], ["process", ".", "argv0"]):
            return "node"
        if texts[-2:-1] != ["("] and texts[-1:] == [")"] and js.is_path(texts):
            inside = js.split(tokens[texts.index("(") + 1 : -1], ",")
            return "/".join(filter(None, (self._value(part, deep) for part in inside)))
        return HOLE

    def _single(self, token: Token, deep: int) -> str:
        if token.kind in {"text", "number"}:
            return token.text
        if token.text in {"__dirname", "__filename"}:
            return ""
        known = self._definition(token.text) if deep else None
        return (self._value(known, deep - 1) or HOLE) if known else HOLE

    def _folder(self, tokens: Tokens) -> str | None:
        """A folder relative to the script's project; ``.`` for those that node names."""
        if js.texts(tokens) in (["process", ".", "cwd", "(", ")"], ["import", ".", "meta", ".", "dirname"]):
            return "."
        if len(tokens) == 1 and tokens[0].text == "__dirname":
            return "."
        value = self._value(tokens)
        if value is None or HOLE in value:
            known = self._definition(tokens[0].text) if len(tokens) == 1 else None
            if known and {"dirname", "fileURLToPath", "cwd"} & set(js.texts(known)):
                return "."  # const __dirname = dirname(fileURLToPath(import.meta.url))
            self._unclear("it computes a folder")
            return None
        return value.strip("/") or "."

    def _items(self, tokens: Tokens) -> list[str] | None:
        """The texts of an array; ``None`` where it is none."""
        tokens = js.bare(tokens)
        added: list[str] = []
        if len(tokens) == 1 and (known := self._definition(tokens[0].text)):
            name = tokens[0].text
            for at, word in enumerate(self._words):
                if word == name and self._words[at + 1 : at + 2] == ["."]:
                    if self._words[at + 2] not in {"push", "join"}:
                        return None
                    pushed = self._arguments(at + 2) if self._words[at + 2] == "push" else None
                    added += [self._value(each) or HOLE for each in pushed or ()]
            tokens = known
        if js.texts(tokens)[:1] != ["["] or self._texts_close(tokens) != len(tokens) - 1:
            return None
        words: list[str] = []
        for part in js.split(tokens[1:-1], ","):
            if part and part[0].text == "...":
                texts = [token.text for token in part if token.kind == "text"]
                if "argv" in js.texts(part):
                    continue  # what a person adds on the command line: Tauri adds nothing
                if texts[:1] != ["--host"]:
                    return None
                words += ["--host", HOLE]
            elif part:
                words.append(self._value(part) or HOLE)
        return words + added

    @staticmethod
    def _texts_close(tokens: Tokens) -> int:
        return js.closing(js.texts(tokens), 0)

    def _members(self, tokens: Tokens) -> Iterator[tuple[str, Tokens]]:
        """The members of an object; a spread has the name ``...``."""
        if not tokens:
            return
        if tokens[0].text != "{" or tokens[0].kind == "text":
            self._unclear("it computes options")
            return
        for part in js.split(tokens[1:-1], ","):
            if not part:
                continue
            if part[0].text == "...":
                yield "...", part[1:]
            elif len(part) == 1:
                yield part[0].text, part
            elif part[1].text == ":":
                yield part[0].text, part[2:]
            else:
                yield part[0].text, ()  # a method

    def _definition(self, name: str) -> Tokens | None:
        """What the one ``const name = …`` says; ``None`` where there is none, or more than one value."""
        found = [
            at
            for at in range(1, len(self._words) - 1)
            if self._words[at] == name and self._words[at + 1] == "=" and self._words[at - 1] not in {".", "?."}
        ]
        if len(found) != 1 or self._words[found[0] - 1] not in {"const", "let", "var"}:
            return None
        changes = (["+", "="], ["["])
        if any(self._words[at + 1 : at + 1 + len(it)] == it for at in self._at(name) for it in changes):
            return None
        return self._until(found[0] + 2, {";", ",", "const", "let", "var", "function", "import", "export"})

    def _at(self, name: str) -> list[int]:
        return [at for at, word in enumerate(self._words) if word == name]

    def _until(self, at: int, ends: set[str]) -> Tokens:
        """The expression that begins there. Where a line has no semicolon, the next statement's first word ends it."""
        depth, index = 0, at
        while index < len(self._words):
            word, kind = self._words[index], self._tokens[index].kind
            if kind != "text":
                if depth == 0 and (word in ends or word in js.CLOSE or (index > at and self._begins(index))):
                    break
                depth += (word in js.OPEN) - (word in js.CLOSE)
            index += 1
        return self._tokens[at:index]

    def _begins(self, at: int) -> bool:
        """Whether a word stands there right behind a value, as only the next statement's first one can."""
        before = self._tokens[at - 1]
        is_value = before.kind in {"text", "word", "number"} or before.text in {")", "]", "}"}
        return self._tokens[at].kind == "word" and is_value and before.text not in js.BEFORE_VALUE

    def _arguments(self, at: int) -> list[Tokens] | None:
        """The arguments of the call whose name stands there; ``None`` if it is no call."""
        if self._words[at + 1 : at + 2] != ["("]:
            return None
        end = self._close(at + 1)
        inside = self._tokens[at + 2 : end]
        return [part for part in js.split(inside, ",") if part]

    def _close(self, at: int) -> int:
        return js.closing(self._words, at)

    def _text(self, at: int) -> str | None:
        token = self._tokens[at] if at < len(self._tokens) else None
        return token.text if token is not None and token.kind == "text" else None

    def _unclear(self, what: str) -> None:
        self._reading.unclear.append(what)
