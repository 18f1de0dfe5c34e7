"""Tell what a node script does: read the words of each program that it starts, and combine the answers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from msgspec import structs

from sidecar.commands.init.dev_command.meaning import Meaning, Quiet, Start, Unclear
from sidecar.commands.init.dev_command.programs import is_cleanup
from sidecar.commands.init.dev_command.shell import NEEDS_SHELL, line_of
from sidecar.commands.init.javascript import HOLE
from sidecar.commands.init.node_script.reading import Command, Reading


def is_cleanup_of(command: Command) -> bool:
    """Tell whether the program only finds and ends what an earlier run left."""
    return is_cleanup(command.shell or line_of(command.words) or shlex.join(command.words))


def words_of_program(command: Command) -> list[str] | Unclear:
    """Return the program's words as a shell would split them, without a port or address that the script computes."""
    line = command.shell or line_of(command.words)
    words = list(command.words)
    if line is not None:
        if NEEDS_SHELL.search(line) or "&" in line or ";" in line:
            return Unclear("a shell's line")
        try:
            words = shlex.split(line)
        except ValueError:
            return Unclear("a quote that is never closed")
    known = _without_holes(words)
    return Unclear("a computed argument") if known is None else known


def with_variables(meaning: Meaning, command: Command) -> Meaning:
    """Add the variables that the script sets for a program."""
    if not isinstance(meaning, Start):
        return meaning
    if command.env and meaning.steps:
        return Unclear("variables for more than one step")
    return structs.replace(meaning, env={**meaning.env, **command.env}, port_env=[*meaning.port_env, *command.port_env])


def combine(reading: Reading, name: str, made: Sequence[Start], spawned: Sequence[tuple[Command, Meaning]]) -> Meaning:
    """Combine what a script does. It may start one dev server, and do nothing else that would be lost without it.

    ``name``: the script, as the command spells it. ``made``: the servers that it makes with Vite's own functions.
    """
    starts = [*made, *(meaning for _, meaning in spawned if isinstance(meaning, Start))]
    others = [
        command.shell or shlex.join(command.words) for command, meaning in spawned if not isinstance(meaning, Start)
    ]
    if not starts:
        return Unclear(f"{name} starts {_listed(others)}") if others else Quiet()
    more = [f"it starts {_listed(others)}"] if others else []
    more += [f"it writes {_listed(reading.writes)}"] if reading.writes else []
    more += ["it starts Vite in more than one way"] if any(start != starts[0] for start in starts) else []
    if more:
        return Unclear(f"{name} does more than start Vite: {', '.join(more)}")
    return structs.replace(starts[0], readings=[reading, *starts[0].readings])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name.replace(HOLE, '…')}'" for name in dict.fromkeys(names))


def _without_holes(words: Sequence[str]) -> list[str] | None:
    """Return the words without a computed port or address; ``None`` if anything else is computed."""
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
