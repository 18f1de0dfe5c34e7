"""Split a line of the shell into its commands and operators, and these into words and variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sidecar.commands.init.dev_command.meaning import Unclear

BINS = "node_modules/.bin/"
"""The folder of the packages' programs."""
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
"""A variable before a command, as in ``PORT=3000 vite``."""
_OPERATOR = re.compile(r"\\.|['\"]|&&|;|(?<![<>])&(?!>)", re.DOTALL)
NEEDS_SHELL = re.compile(r"[<>`\n()]|\$\(|(?<!\|)\|(?!\|)|\|\|")
"""What only a shell can do: pipes, redirection, commands within commands, and ``||``."""


def split_line(command: str) -> list[tuple[str, str]] | None:
    """Split a line into the texts of its commands, each with the operator after it.

    Return ``None`` if a quote is never closed.
    """
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


def words_of(text: str) -> list[str] | Unclear:
    """Split one command into words, without their quotes."""
    if found := NEEDS_SHELL.search(text):
        return Unclear(f"{text!r} needs a shell for {found[0].strip() or 'more than one line'}")
    try:
        return shlex.split(text.replace("node_modules\\.bin\\", BINS))
    except ValueError:
        return Unclear(f"{text!r} has a quote that is never closed")


def take_variables(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the words of a command into the variables that it sets for itself, and the rest."""
    env: dict[str, str] = {}
    if words[:1] in (["cross-env"], ["cross-env-shell"], ["env"]):
        words = words[1:]
    while words and (given := ASSIGNMENT.fullmatch(words[0])):
        env[given[1]] = given[2]
        words = words[1:]
    return env, words


def line_of(words: Sequence[str]) -> str | None:
    """Return the line that ``cmd /c …`` or ``sh -c …`` runs; ``None`` if the words run something else."""
    if words[0].lower() == "cmd":
        rest = list(words[1:])
        while rest and rest[0].startswith("/"):
            rest.pop(0)
        return " ".join(rest)
    return words[2] if words[0] in {"sh", "bash"} and words[1:2] == ("-c",) and len(words) == 3 else None  # noqa: PLR2004
