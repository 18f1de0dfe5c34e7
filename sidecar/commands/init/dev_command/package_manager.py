"""Parse commands of npm, pnpm, yarn, bun and deno: which script or program they run, and in which package."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from msgspec import Struct, structs

from sidecar.commands.init.dev_command.meaning import Meaning, Start, Unclear
from sidecar.commands.init.dev_command.workspace import Package, member, package_in
from sidecar.files import leads_out

_FOLDERS = {"--prefix", "--cwd", "-C", "--dir"}
_WORKSPACES = {"-w", "--workspace", "--filter", "-F"}
_MANAGER_FLAGS = {"--silent", "-s", "--no-audit", "--no-fund", "--if-present", "--color"}
_RUN_WORDS = {"run", "run-script", "task", "start"}
_EXEC_WORDS = {"exec", "x", "dlx"}
_PROGRAM_FLAGS = {"-y", "--yes", "--no-install", "--no", "--"}


class ScriptCall(Struct, frozen=True):
    """A command that runs a script of package.json."""

    manager: str
    name: str
    arguments: list[str]
    package: Package
    """The package that has the script. Its folder is the one with package.json."""

    @property
    def line(self) -> str:
        """The line that the shell runs."""
        return " ".join([str(self.package.scripts[self.name]), *map(shlex.quote, self.arguments)])


class ProgramCall(Struct, frozen=True):
    """A command that runs a program of a package."""

    words: list[str]
    """The program with its arguments. Options of its runner may come first."""
    package: Package


def read_manager(words: Sequence[str], package: Package) -> ScriptCall | ProgramCall | Unclear:
    """Parse a command such as ``npm run dev``, in this package or in another one of the workspace."""
    manager, rest = words[0], list(words[1:])
    said = shlex.join(words)
    place: Package | None = package
    before: list[str] = []
    behind: list[str] = []
    if "--" in rest:
        cut = rest.index("--")
        rest, behind = rest[:cut], rest[cut + 1 :]
    if manager == "yarn" and rest[:1] == ["workspace"] and len(rest) > 1:
        place, rest = member(package, rest[1]), rest[2:]
    while rest:
        word, equals, value = rest[0].partition("=")
        if word in _FOLDERS | _WORKSPACES and (manager != "pnpm" or word != "-w" or equals):
            if not equals:
                if len(rest) == 1:
                    return Unclear(f"{said!r} lacks a value at its end")
                value = rest.pop(1)
            place = package_in(package, value) if word in _FOLDERS else member(package, value)
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
        return Unclear(f"{said!r} names a package that cannot be found for certain")
    if not before:
        return Unclear(f"{said!r} is not understood")
    if manager == "deno" and before[0] != "task":
        return Unclear(f"{said!r} is not understood")
    name = before[1] if len(before) > 1 else before[0]
    if before[0] in _EXEC_WORDS:
        return ProgramCall([*rest, *behind], place)
    if before[0] in {"run", "run-script", "task"} and len(before) == 1:
        return Unclear(f"{said!r} names no script")
    if isinstance(place.scripts.get(name), str):
        arguments = [*rest, *behind]
        if manager == "npm" and (kept := next((word for word in rest if word.startswith("-")), None)):
            return Unclear(f"{said!r}: npm keeps {kept} for itself")
        return ScriptCall(manager, name, arguments, structs.replace(place, folder=place.place or place.folder))
    if manager in {"yarn", "pnpm", "bun"} and (len(before) == 1 or manager == "bun"):
        return ProgramCall([name, *rest, *behind], place)
    if manager == "deno":
        return Unclear(f"{said!r} runs what deno.json says")
    if leads_out(place.folder):
        return Unclear(f"{said!r} runs in {place.folder}, which is outside of the project")
    if place.place is None:
        return Unclear(f"{said!r}: there is no package.json in {place.folder}")
    return Unclear(f"{said!r}: there is no script {name} in {place.place / 'package.json'}")


def as_script(meaning: Meaning, call: ScriptCall) -> Meaning:
    """Tell what a script does if its line does ``meaning``.

    Its ``pre`` script is a step. Its ``post`` script would run only after the server's end, so a script with one is
    unclear.
    """
    name, scripts = call.name, call.package.scripts
    if isinstance(meaning, Start):
        if f"post{name}" in scripts:
            return Unclear(f"the script {name} has a script post{name}, which would not run any more")
        if f"pre{name}" in scripts and call.manager in {"npm", "bun", "pnpm"}:
            if meaning.steps:
                return Unclear("it has steps within steps")
            meaning = structs.replace(meaning, steps=[f"{call.manager} run pre{name}"])
        if not meaning.script and not meaning.readings and (meaning.steps or meaning.elsewhere):
            if call.arguments:
                return Unclear(f"the script {name} gets arguments, and does more than one command can express")
            told = Start(type=meaning.type, folder=meaning.folder, script=name, host=meaning.host, port=meaning.port)
            meaning = structs.replace(told, steps=meaning.steps, beside=meaning.beside)
    elif isinstance(meaning, Unclear):
        return Unclear(f"{meaning.reason} (script {name})" if "(script " not in meaning.reason else meaning.reason)
    return meaning


def program_of(words: Sequence[str]) -> list[str] | None:
    """Return the program and its arguments from the words after ``npx``, ``bunx`` or ``pnpx``; ``None`` if unclear."""
    rest = list(words)
    while rest and rest[0] in _PROGRAM_FLAGS:
        rest.pop(0)
    return rest if rest and not rest[0].startswith("-") else None


def without_version(program: str) -> str:
    """Remove the version from ``vite@8`` or ``@scope/name@1.2``."""
    return re.sub(r"(?<=.)@[\w.^~-]+$", "", program)
