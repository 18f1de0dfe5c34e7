"""Parse commands that run several others: ``concurrently``, ``run-p``, ``run-s`` and ``npm-run-all``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from sidecar.commands.init.dev_command.meaning import Unclear
from sidecar.commands.init.dev_command.workspace import Package
from sidecar.services import package_json

_VALUES = {
    *("-n", "--names", "-c", "--prefix-colors", "-p", "--prefix", "-l", "--prefix-length", "-s", "--success"),
}
"""Options of ``concurrently`` that take a value. None of them changes what it runs."""
_FLAGS = re.compile(r"-[krg]|--(?:kill-others(?:-on-fail)?|raw|group|no-color|timings|hide=.*|[\w-]+=.*)")
"""Options of ``concurrently`` that are one word. None of them changes what it runs."""


class Several(Struct, frozen=True):
    """A command that runs several lines of the shell."""

    lines: list[str]
    parallel: bool
    """Whether the lines run side by side. If not, each waits for the one before it to end."""


def concurrently(rest: Sequence[str], package: Package) -> Several | Unclear:
    """Parse the words after ``concurrently``: each is an option or a line."""
    lines: list[str] = []
    rest = list(rest)
    while rest:
        word = rest.pop(0)
        if word in _VALUES:
            rest[:1] = []
        elif word.startswith("-"):
            if not _FLAGS.fullmatch(word):
                return Unclear(f"concurrently is given {word}, which is not understood")
        else:
            lines += _shortened(word, package)
    return Several(lines, parallel=True)


def _shortened(word: str, package: Package) -> list[str]:
    """Return the lines that a word such as ``npm:watch-*`` stands for: one for each script that matches."""
    manager, colon, pattern = word.partition(":")
    if not colon or manager not in package_json.RUN or " " in word:
        return [word]
    return [f"{manager} run {name}" for name in _named(pattern, package)] or [word]


def _named(pattern: str, package: Package) -> list[str]:
    return [name for name in package.scripts if fnmatchcase(name, pattern)]


def run_all(words: Sequence[str], package: Package) -> Several | Unclear:
    """Parse ``run-p``, ``run-s`` or ``npm-run-all``, which run scripts by name."""
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
    return Several(lines, parallel)
