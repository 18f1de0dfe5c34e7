"""Find where a file uses its imports: to start a program, to make a server, to write a file."""

from __future__ import annotations

import re

from sidecar.commands.init import javascript as js
from sidecar.commands.init.javascript import HOLE, Tokens
from sidecar.commands.init.node_script.calls import read_command, read_variable, vite_words
from sidecar.commands.init.node_script.imports import LISTENERS, STARTERS, VITE_HELPERS, Imports
from sidecar.commands.init.node_script.reading import Reading
from sidecar.commands.init.node_script.source import Source

_COMPUTED = {"eval", "Function", "Bun", "Deno", "global", "globalThis", "createRequire"}
"""Names that let a script do things that its text does not show."""
_WRITERS = {
    *("writeFile", "writeFileSync", "appendFile", "appendFileSync", "createWriteStream", "outputFile"),
    *("copyFile", "copyFileSync", "cp", "cpSync", "rename", "renameSync"),
}
_PORT_LINE = re.compile(rf"(\w*PORT\w*)=[\"']?{HOLE}[\"']?")


class Uses:
    """Adds the uses of a file's imports to a reading."""

    def __init__(self, source: Source, imports: Imports, reading: Reading) -> None:
        self._source = source
        self._words = source.words
        self._imports = imports
        self._reading = reading
        self._told: list[str] = []
        """Names of the variables for the port in a file that the script writes."""

    def look(self) -> None:
        """Look at every use of the names that matter."""
        for at, word in enumerate(self._words):
            if self._source.tokens[at].kind != "word" or at in self._imports.clauses:
                continue
            before, after = self._words[at - 1] if at else "", self._words[at + 1] if at + 1 < len(self._words) else ""
            member, key = before in {".", "?."}, after == ":" and before in {"{", ","}
            if word in _WRITERS and after == "(":
                self._write(at)
            if member or key:
                continue
            if word in _COMPUTED:
                self._source.unclear(f"it uses {word}")
            elif word in self._imports.modules:
                self._use_member(at)
            elif word in self._imports.starters:
                self.use(at, self._imports.starters[word])
            elif word in self._imports.vite:
                self._use_vite(at, self._imports.vite[word])
            elif word == "process" and self._words[at + 2 : at + 3] in (["binding"], ["dlopen"], ["getBuiltinModule"]):
                self._source.unclear(f"it uses process.{self._words[at + 2]}")
            elif word == "require" and after not in {"(", "."}:
                self._source.unclear("it passes require on")
        opens, closes = "createServer" in self._words, "close" in self._words
        if self._reading.listens and opens and not closes and not self._imports.vite:
            self._source.unclear("it opens a port and does not close it")
        if any(self._words[at : at + 5] == ["assign", "(", "process", ".", "env"] for at in range(len(self._words))):
            self._source.unclear("it computes variables")
        self._environment()

    def _use_member(self, at: int) -> None:
        module, words = self._imports.modules[self._words[at]], self._words
        name = words[at + 2] if words[at + 1 : at + 2] == ["."] else ""
        if module == "vite":
            if name not in VITE_HELPERS:
                self._use_vite(at + 2, name)
        elif module in LISTENERS:
            if name not in LISTENERS[module]:
                self._source.unclear(f"it uses {module}.{name}" if name else f"it passes {words[at]} on")
        elif name in STARTERS:
            self.use(at + 2, name)
        elif name != "ChildProcess":
            self._source.unclear(f"it passes {words[at]} on")

    def use(self, at: int, function: str) -> None:
        """Read the call at ``at``, with which ``function`` starts a program."""
        arguments = self._source.arguments(at)
        if arguments is None:
            self._source.unclear(f"it passes {self._words[at]} on")
            return
        command = read_command(self._source, function, arguments)
        if command is None:
            self._source.unclear(f"it starts a program that is computed ({self._words[at]})")
        else:
            self._reading.commands.append(command)

    def _environment(self) -> None:
        """Read ``process.env.NAME = value``, which every program inherits."""
        env: dict[str, str] = {}
        ports: list[str] = [*self._told]
        for at in range(len(self._words)):
            if self._words[at : at + 4] == ["process", ".", "env", "."] and self._words[at + 5 : at + 6] == ["="]:
                read_variable(self._source, self._words[at + 4], self._source.until(at + 6, {";", ","}), env, ports)
            elif self._words[at : at + 4] == ["process", ".", "env", "["]:
                close = self._source.close(at + 3)
                if self._words[close + 1 : close + 2] == ["="]:
                    self._source.unclear("it computes a variable's name")
        if env or ports:
            self._reading.add_variables(env, ports)

    def _write(self, at: int) -> None:
        """Find out which file is written: one with the port, or another."""
        arguments = self._source.arguments(at)
        target = arguments[-1 if self._words[at].startswith(("copy", "cp", "rename")) else 0] if arguments else ()
        value = self._source.value(target)
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
        """Return the variables that carry the port in a file for dotenv; none if the file has anything else."""
        lines = [_PORT_LINE.fullmatch(line) for line in (self._source.value(content) or "").split()]
        return [line[1] for line in lines if line] if all(lines) else []

    def _use_vite(self, at: int, name: str) -> None:
        arguments = self._source.arguments(at)
        if arguments is None:
            self._source.unclear(f"it passes {self._words[at]} of Vite on")
        elif name == "preview":
            self._source.unclear("it serves what was built before (preview of Vite)")
        elif name != "createServer":
            self._source.unclear(f"it calls {name} of Vite")
        else:
            options = arguments[0] if arguments else ()
            if len(options) == 1 and (known := self._source.definition(options[0].text)):
                options = known
            self._reading.vite.append(vite_words(self._source, options))
