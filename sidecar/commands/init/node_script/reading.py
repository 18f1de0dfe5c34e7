"""What a script does according to its text."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field


class Command(Struct, frozen=True):
    """A program that the script starts."""

    words: tuple[str, ...]
    """The program and its arguments, with ``HOLE`` for computed parts."""
    shell: str | None = None
    """The whole line, if a shell runs it."""
    env: dict[str, str] = {}
    port_env: tuple[str, ...] = ()
    """Names of variables that carry the port."""
    cwd: str | None = None


class Reading(Struct):
    """What a script does."""

    file: Path
    commands: list[Command] = field(default_factory=list)
    vite: list[list[str]] = field(default_factory=list)
    """For each server that is made with Vite's own functions: the arguments of the ``vite`` command that does the same.
    """
    port_files: list[str] = field(default_factory=list)
    """Names of the files into which it writes the port, without their folders."""
    writes: list[str] = field(default_factory=list)
    """Names of all other files that it writes."""
    listens: bool = False
    """Whether it opens a port, perhaps only to see whether it is free."""
    starts: bool = False
    """Whether it imports anything that can start a program."""
    unclear: list[str] = field(default_factory=list)
    """Reasons why it is not understood, each a clause such as ``it imports 'express'``."""

    def add_variables(self, env: dict[str, str], ports: list[str]) -> None:
        """Add variables that the script sets for itself to every program so far. A program's own values win.

        ``ports``: names of variables that carry the port.
        """
        self.commands = [
            Command(each.words, each.shell, {**env, **each.env}, (*ports, *each.port_env), each.cwd)
            for each in self.commands
        ]
