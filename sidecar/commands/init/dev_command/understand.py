"""Follow a command through lines, programs and scripts to what it starts.

Only this module recurses. The project is not trusted, so two bounds end the recursion: ``deep`` is the number of levels
that may still be entered, and a budget bounds the lines that are followed for one command.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from msgspec import structs

from sidecar.commands.init.dev_command import package_manager, runtimes, several, shell, spawned
from sidecar.commands.init.dev_command.meaning import Meaning, Quiet, Start, Unclear, moved, together
from sidecar.commands.init.dev_command.programs import is_quiet, server, takes_any_words, why
from sidecar.commands.init.dev_command.workspace import Package, enter
from sidecar.commands.init.node_script.read import read
from sidecar.commands.init.node_script.reading import Command
from sidecar.commands.init.node_script.source_file import UnreadableError, find
from sidecar.services import dev_script, package_json
from sidecar.services.frameworks import PROGRAMS

SCRIPTS_DEEP = 8
"""How deep scripts that run scripts are followed. No project needs more, but scripts may form a cycle."""
COMMANDS_MOST = 500
"""How many lines are followed in total. Scripts that run each other have exponentially many paths."""
PARTS_MOST = 100
"""How many commands one line may have."""
SHOWN = 80
"""How many characters of a command that is too long are quoted in a message."""


def understand(command: str, package: Package) -> Meaning:
    """Tell what a command does when it runs in ``package``."""
    return _Interpreter().line(command, package, SCRIPTS_DEEP)


class _Interpreter:
    """Follows one command; ``deep`` is the number of levels that may still be entered."""

    def __init__(self) -> None:
        self._left = COMMANDS_MOST
        """Number of lines that may still be followed."""

    def line(self, command: str, package: Package, deep: int) -> Meaning:
        """Follow a line of the shell."""
        if deep <= 0:
            return Unclear(f"{command!r} goes through more than {SCRIPTS_DEEP} scripts")
        if len(command) > dev_script.COMMAND_MOST:
            return Unclear(f"{command[:SHOWN]!r} and so on is longer than {dev_script.COMMAND_MOST} characters")
        self._left -= 1
        if self._left < 0:
            return Unclear(f"it goes through more than {COMMANDS_MOST} commands")
        parts = shell.split_line(command)
        if parts is None:
            return Unclear(f"{command!r} has a quote that is never closed")
        if len(parts) > PARTS_MOST:
            return Unclear(f"{command[:SHOWN]!r} and so on has more than {PARTS_MOST} parts")
        texts = [text for text, _ in parts if text]
        if not texts:
            return Unclear(f"{command!r} runs nothing")
        if any(mark == "&" for _, mark in parts):
            return together([(text, self._part(text, package, deep)) for text in texts], keeps=False)
        return self._sequence(texts[:-1], texts[-1], package, deep)

    def _sequence(self, first: list[str], last: str, package: Package, deep: int) -> Meaning:
        """Follow ``a && b``: all but the last command end before the last one runs, so they are steps."""
        place, env, steps = package, dict[str, str](), list[Meaning]()
        for text in first:
            name, _, rest = text.partition(" ")
            if name == "cd":
                folder = rest.strip().strip("'\"")
                if not folder or set(folder) & set("$%~*"):
                    return Unclear(f"{text!r} enters a folder that only the shell knows")
                place = enter(place, folder)
            elif name in {"export", "set"} and (given := shell.ASSIGNMENT.fullmatch(rest.strip())):
                env[given[1]] = given[2].strip("'\"")
            else:
                steps.append(self._part(text, place, deep))
                if isinstance(steps[-1], Start):
                    return Unclear(f"{text!r} starts a dev server, and something follows it")
        meaning = self._part(last, place, deep)
        if not isinstance(meaning, Start):
            return next((each for each in (*steps, meaning) if isinstance(each, Unclear)), meaning)
        if steps and (meaning.steps or place.folder != package.folder):
            return Unclear("it has steps within steps" if meaning.steps else "it has steps, and changes the folder")
        meaning = structs.replace(moved(meaning, place.folder, package.folder), env={**env, **meaning.env})
        return structs.replace(meaning, steps=list(first)) if steps else meaning

    def _part(self, text: str, package: Package, deep: int) -> Meaning:
        """Follow one command of a line."""
        words = shell.words_of(text)
        return words if isinstance(words, Unclear) else self._simple(words, package, deep)

    def _simple(self, words: list[str], package: Package, deep: int) -> Meaning:
        """Follow one program with its variables and arguments."""
        said = shlex.join(words)
        env, words = shell.take_variables(words)
        if not words:
            return Quiet()
        if any("$" in word or "%" in word for word in words) and not takes_any_words(words[0]):
            return Unclear(f"{said!r} has a variable in it that a shell fills in")
        meaning = self._program(words, package, deep)
        if isinstance(meaning, Start) and env:
            if meaning.steps:
                return Unclear(f"{said!r} sets variables for more than one step")
            return structs.replace(meaning, env={**env, **meaning.env})
        return meaning

    def _program(self, words: list[str], package: Package, deep: int) -> Meaning:
        """Follow one program with its arguments."""
        if words[0].startswith((shell.BINS, f"./{shell.BINS}")):
            words = [words[0].rpartition("/")[2], *words[1:]]
        name, rest = words[0], words[1:]
        if is_quiet(words):
            return Quiet()
        if name in PROGRAMS:
            return server(words)
        if name == "node" and rest[:1] == ["--run"] and len(rest) > 1:
            return self._managed(["npm", "run", *rest[1:]], package, deep)
        if name in runtimes.RUNTIMES and (call := runtimes.read_runtime(words)):
            return self._file(call.name, words, package, deep) if isinstance(call, runtimes.FileCall) else call
        if name in {"npx", "bunx", "pnpx"}:
            return self._executed(rest, words, package, deep)
        if name in package_json.RUN:
            return self._managed(words, package, deep)
        if name in {"concurrently", "conc"}:
            return self._several(several.concurrently(rest, package), package, deep)
        if name in {"run-p", "run-s", "npm-run-all", "npm-run-all2"}:
            return self._several(several.run_all(words, package), package, deep)
        return Unclear(why(words))

    def _executed(self, rest: Sequence[str], said: Sequence[str], package: Package, deep: int) -> Meaning:
        """Follow a package's program that npx or a similar command runs. ``said``: the whole command, for messages."""
        words = package_manager.program_of(rest)
        if words is None:
            return Unclear(f"{shlex.join(said)!r} is not understood")
        if deep <= 1:
            return Unclear(why(words))
        return self._program([package_manager.without_version(words[0]), *words[1:]], package, deep - 1)

    def _managed(self, words: Sequence[str], package: Package, deep: int) -> Meaning:
        """Follow a command such as ``npm run dev``, in this package or in another one of the workspace."""
        call = package_manager.read_manager(words, package)
        if isinstance(call, Unclear):
            return call
        if isinstance(call, package_manager.ScriptCall):
            meaning = package_manager.as_script(self.line(call.line, call.package, deep - 1), call)
        else:
            meaning = self._executed(call.words, words, call.package, deep)
        return moved(meaning, call.package.folder, package.folder)

    def _several(self, call: several.Several | Unclear, package: Package, deep: int) -> Meaning:
        """Follow lines that run side by side, or one after the other."""
        if isinstance(call, Unclear):
            return call
        if not call.parallel:
            return self._sequence(call.lines[:-1], call.lines[-1], package, deep - 1)
        return together([(line, self.line(line, package, deep - 1)) for line in call.lines], keeps=True)

    def _file(self, name: str, words: Sequence[str], package: Package, deep: int) -> Meaning:
        """Follow a node script by reading its text."""
        file = find(package.folder / name)
        if file is None:
            return Unclear(f"{shlex.join(words)!r}: there is no {package.folder / name}")
        try:
            reading = read(file, package.home, package.folder)
        except UnreadableError as error:
            return Unclear(f"{shlex.join(words)!r}: {error}")
        reading.file = file
        if reading.unclear:
            return Unclear(f"{name} is not understood: {', '.join(reading.unclear)}")
        if not reading.starts:
            return Unclear(f"{name} opens a port") if reading.listens else Quiet()
        made: list[Start] = []
        for options in reading.vite:
            start = server(["vite", *options])
            if isinstance(start, Unclear):
                return start
            made.append(start)
        programs = [command for command in reading.commands if not spawned.is_cleanup_of(command)]
        return spawned.combine(
            reading, name, made, [(command, self._spawned(command, package, deep)) for command in programs]
        )

    def _spawned(self, command: Command, package: Package, deep: int) -> Meaning:
        """Follow a program that a node script starts."""
        words = spawned.words_of_program(command)
        if isinstance(words, Unclear):
            return words
        place = package if command.cwd in {None, "."} else enter(package, str(command.cwd))
        if deep <= 1:
            return Unclear("too deep")
        meaning = moved(self._simple(words, place, deep - 1), place.folder, package.folder)
        return spawned.with_variables(meaning, command)
