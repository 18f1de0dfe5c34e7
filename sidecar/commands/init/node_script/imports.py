"""Find the imports of a file, and the local names with which it can start a program, open a port or make a server."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from sidecar.commands.init.javascript import HOLE
from sidecar.commands.init.node_script.reading import Reading
from sidecar.commands.init.node_script.source import Source

_QUIET_MODULES = {
    *("assert", "buffer", "console", "constants", "crypto", "dns", "dns/promises", "events", "fs", "fs/promises", "os"),
    *("path", "path/posix", "path/win32", "perf_hooks", "process", "querystring", "readline", "readline/promises"),
    *("stream", "stream/promises", "string_decoder", "timers", "timers/promises", "tty", "url", "util", "zlib"),
    *("ansi-colors", "chalk", "colorette", "kleur", "picocolors"),
}
"""Modules that can neither start a program nor open a port."""
_PORT_MODULES = {"detect-port", "find-free-port", "get-port", "get-port-please", "kill-port", "portfinder"}
"""Modules that look for a free port, or free one. With the sidecar, the script no longer needs them."""
LISTENERS = {"net": {"createServer", "connect", "createConnection", "Socket"}, "http": {"get", "request"}}
"""Functions with which a script that starts Vite checks whether a port is free, and whether Vite answers."""
STARTERS = {"spawn", "exec", "execFile", "fork", "spawnSync", "execSync", "execFileSync"}
_STARTER_MODULES = {"child_process", "cross-spawn", "execa"}
_EXECA = {"execa": "spawn", "execaSync": "spawn", "execaCommand": "exec", "execaCommandSync": "exec"}
VITE_HELPERS = {"createLogger", "defineConfig", "loadEnv", "mergeConfig", "searchForWorkspaceRoot", "version"}


class Import(Struct, frozen=True):
    """One import of a file."""

    module: str
    """The name, as the file spells it. A relative path begins with ``.``."""
    called: int | None = None
    """The index of the function's name in a call such as ``require("child_process").exec(…)``."""


class Imports:
    """The imports of a file, and the local names that they bind."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source = source
        self._words = source.words
        self._reading = reading
        self.starters: dict[str, str] = {}
        """A local name → the function that starts a program."""
        self.modules: dict[str, str] = {}
        """A local name → the module whose members are used."""
        self.vite: dict[str, str] = {}
        """A local name → the function of Vite."""
        self.clauses: set[int] = set()
        """The indices of the words of import clauses. There a name is bound, not used."""

    def find(self) -> Iterator[Import]:
        """Yield the imports in order. The local names of an import are bound before it is yielded."""
        for at, word in enumerate(self._words):
            if word in {"require", "import"} and self._words[at + 1 : at + 2] == ["("]:
                name = self._source.text(at + 2)
                if name is None or HOLE in name or self._words[at + 3 : at + 4] != [")"]:
                    self._source.unclear("it loads a module whose name is computed")
                    continue
                start = at - 1 if self._words[at - 1 : at] == ["await"] else at
                begin, end = self._assigned(start)
                called: int | None = None
                if self._words[at + 4 : at + 5] in (["."], ["("], ["["], ["?."]):
                    called = self._used_at_once(name.removeprefix("node:"), at + 4)
                else:
                    self._bind(name, begin, end)
                yield Import(name, called)
            elif word in {"from", "import"} and (name := self._source.text(at + 1)) is not None:
                if word == "from" and not self._is_clause(at):
                    continue
                begin = self._clause_begin(at) if word == "from" else at
                if self._words[begin] == "export" and not name.startswith("."):
                    self._source.unclear(f"it passes {name!r} on")
                self._bind(name, begin + 1, at)
                yield Import(name)

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
        """Return the span of the names before ``= require(…)``; an empty one if there are none."""
        if self._words[at - 1 : at] != ["="]:
            return at, at
        for index in range(at - 2, -1, -1):
            if self._words[index] in {"const", "let", "var"}:
                return index + 1, at - 1
            if self._words[index] == ";":
                break
        return at, at

    def _bind(self, name: str, begin: int, end: int) -> None:
        """Bind the names of an import clause: ``X``, ``* as X``, ``{ a, b as c, d: e }``."""
        name = name.removeprefix("node:")
        if name in _QUIET_MODULES or name in _PORT_MODULES or name.startswith("."):
            return
        if name not in _STARTER_MODULES and name not in LISTENERS and name != "vite":
            self._source.unclear(f"it imports {name!r}")
            return
        self._reading.starts |= name in _STARTER_MODULES or name == "vite"
        self._reading.listens |= name in LISTENERS
        clause = self._words[begin:end]
        if not clause or {".", "="} & set(clause):
            self._source.unclear(f"it uses {name!r} in a way that is not understood")
            return
        self.clauses.update(range(begin, end))
        braces = False
        for index in range(begin, end):
            word = self._words[index]
            braces = word == "{" or (braces and word != "}")
            if self._source.tokens[index].kind != "word" or word in {"as", "type"}:
                continue
            following = self._words[index + 1 : index + 2]
            if braces and following in (["as"], [":"]):
                continue  # the name after it is the local one
            original = self._words[index - 2] if self._words[index - 1] in {"as", ":"} else word
            self._bind_one(name, word, original if braces else "*")

    def _used_at_once(self, module: str, at: int) -> int | None:
        """Look at ``require("x").y(…)``; return the index of ``y`` if it starts a program."""
        if module in _QUIET_MODULES or module in _PORT_MODULES or module.startswith("."):
            return None
        name = self._words[at + 1] if self._words[at] == "." else ""
        if module == "child_process" and name in STARTERS and self._words[at + 2 : at + 3] == ["("]:
            self._reading.starts = True
            return at + 1
        used = f"{module}.{name}" if name else f"{module!r} in a way that is not understood"
        self._source.unclear(f"it uses {used}")
        return None

    def _bind_one(self, module: str, local: str, original: str) -> None:
        if module == "vite":
            if original == "*":
                self.modules[local] = module
            elif original not in VITE_HELPERS:
                self.vite[local] = original
        elif module in LISTENERS:
            if original == "*":
                self.modules[local] = module
            elif original not in LISTENERS[module]:
                self._source.unclear(f"it uses {original} of {module!r}")
        elif module == "child_process":
            if original == "*":
                self.modules[local] = module
            elif original in STARTERS:
                self.starters[local] = original
        elif module == "cross-spawn":
            self.starters[local] = "spawn"
        elif original in _EXECA:
            self.starters[local] = _EXECA[original]
        else:
            self._source.unclear(f"it uses {original} of {module!r}")
