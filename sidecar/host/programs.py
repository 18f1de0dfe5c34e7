"""How a program is found by its name, and what Vite's node is given."""

from __future__ import annotations

import os
import sys

STDIN_GUARD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "stdin_guard.cjs")
"""What makes node end with its stdin. An option on Vite's own command line, not NODE_OPTIONS: that is the user's, and
every node that Vite starts would inherit it."""


def has_stdin_guard() -> bool:
    """Whether it is there.

    A long-lived file of a frozen binary may be gone: what cleans the temporary folder must not stop a restart.
    """
    return os.path.isfile(STDIN_GUARD)


if sys.platform == "win32":
    SEPARATORS = ("\\", "/")
    SUFFIXES = (".exe", ".com")
    """What can be started as it is. Batch files can only be handed to a shell, which takes arguments apart anew."""

    SCRIPTS = (".cmd", ".bat")

    NODE_PLACES = (
        r"%ProgramFiles%\nodejs",
        r"%NVM_SYMLINK%",
        r"%LOCALAPPDATA%\Volta\bin",
        r"%LOCALAPPDATA%\mise\shims",
        r"%USERPROFILE%\scoop\apps\nodejs\current",
    )
    """Where installers and version managers put node, for an app whose PATH is older than they are."""

    def spellings(program: str) -> tuple[str, ...]:
        """The file names that a program's name stands for."""
        if program.lower().endswith(SUFFIXES):
            return (program,)
        return tuple(program + suffix for suffix in SUFFIXES)

    def scripts(program: str) -> tuple[str, ...]:
        """The names of files that a shell would take for the program, and that cannot be started without one."""
        return (program,) if program.lower().endswith(SCRIPTS) else tuple(program + suffix for suffix in SCRIPTS)

    def absolute(path: str) -> str:
        """The path from the root on. Windows itself takes ``..`` by the name."""
        return os.path.abspath(path)

else:
    SEPARATORS = ("/",)

    NODE_PLACES = (
        "~/.volta/bin",
        "~/.local/share/mise/shims",
        "~/.asdf/shims",
        "/usr/local/bin",
        "/opt/homebrew/bin",
    )
    """An app that is started from a desktop has a shorter PATH than a terminal: version managers live here."""

    def spellings(program: str) -> tuple[str, ...]:
        """The file names that a program's name stands for."""
        return (program,)

    def scripts(program: str) -> tuple[str, ...]:
        """None: a script has a line that says who runs it."""
        del program
        return ()

    def absolute(path: str) -> str:
        """The path from the root on. ``..`` stays: after a symbolic link it is not the folder before it."""
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def places_of_node() -> list[str]:
    """Where node may be without being on PATH."""
    return [os.path.expandvars(os.path.expanduser(place)) for place in NODE_PLACES]


def with_upper_drive(path: str) -> str:
    """The same path with Windows' drive in capitals: Vite takes a module's path in two spellings for two modules."""
    drive, rest = os.path.splitdrive(path)
    return drive.upper() + rest
