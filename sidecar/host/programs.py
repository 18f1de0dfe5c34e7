"""How a program is found by its name, and what Vite's node is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from msgspec import Struct

STDIN_GUARD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "stdin_guard.cjs")
"""What makes node end with its stdin. An option on Vite's own command line, not NODE_OPTIONS: that is the user's, and
every node that Vite starts would inherit it."""


def has_stdin_guard() -> bool:
    """Whether it is there.

    A long-lived file of a frozen binary may be gone: what cleans the temporary folder must not stop a restart.
    """
    return os.path.isfile(STDIN_GUARD)


class Manager(Struct, frozen=True):
    """Where a version manager or a package manager keeps node. Paths are relative to its root."""

    name: str
    roots: tuple[str, ...]
    """Where its root may be. A variable that moves the root comes first."""
    versions: str = ""
    """The path of an installed node; the star stands for the version."""
    active: str = ""
    """The path of the node that it uses by default."""
    shim: str = ""
    """The path of a program that chooses a version and runs it."""


if sys.platform == "win32":
    SEPARATORS = ("\\", "/")
    SUFFIXES = (".exe", ".com")
    """What can be started as it is. Batch files can only be handed to a shell, which takes arguments apart anew."""

    SCRIPTS = (".cmd", ".bat")

    TO_CMD = ("/d", "/s", "/c")
    """Between cmd and the line that it is to run as it stands, as package managers do it."""

    MANAGERS = (
        Manager("the installer", (r"%ProgramFiles%\nodejs",), active="node.exe"),
        Manager("nvm", (r"%NVM_SYMLINK%",), active="node.exe"),
        Manager("nvm", (r"%NVM_HOME%",), versions=r"v*\node.exe"),
        Manager(
            "fnm",
            (r"%FNM_DIR%", r"%APPDATA%\fnm"),
            versions=r"node-versions\*\installation\node.exe",
            active=r"aliases\default\node.exe",
        ),
        Manager(
            "volta",
            (r"%VOLTA_HOME%", r"%LOCALAPPDATA%\Volta"),
            versions=r"tools\image\node\*\node.exe",
            shim=r"bin\node.exe",
        ),
        Manager(
            "mise",
            (r"%MISE_DATA_DIR%", r"%LOCALAPPDATA%\mise"),
            versions=r"installs\node\*\node.exe",
            shim=r"shims\node.exe",
        ),
        Manager("scoop", (r"%SCOOP%", r"%USERPROFILE%\scoop"), active=r"apps\nodejs\current\node.exe"),
    )

    BUN_PLACES = (r"%BUN_INSTALL%\bin", r"%USERPROFILE%\.bun\bin")

    def name_of_path(env: Mapping[str, str]) -> str:
        """Return the name of PATH as ``env`` spells it: Windows ignores the case."""
        return next((name for name in env if name.upper() == "PATH"), "PATH")

    def spellings(program: str) -> tuple[str, ...]:
        """The file names that a program's name stands for."""
        if program.lower().endswith(SUFFIXES):
            return (program,)
        return tuple(program + suffix for suffix in SUFFIXES)

    def scripts(program: str) -> tuple[str, ...]:
        """The names of files that a shell would take for the program, and that cannot be started without one."""
        return (program,) if program.lower().endswith(SCRIPTS) else tuple(program + suffix for suffix in SCRIPTS)

    def shell(line: str) -> tuple[str, ...]:
        """The words that have the shell run a line."""
        return (os.environ.get("COMSPEC", r"C:\Windows\System32\cmd.exe"), *TO_CMD, line)

    def absolute(path: str) -> str:
        """The path from the root on. Windows itself takes ``..`` by the name."""
        return os.path.abspath(path)

else:
    SEPARATORS = ("/",)

    MANAGERS = (
        Manager(
            "nvm", ("$NVM_DIR", "$XDG_CONFIG_HOME/nvm", "~/.nvm", "~/.config/nvm"), versions="versions/node/*/bin/node"
        ),
        Manager(
            "fnm",
            (
                *("$FNM_DIR", "$XDG_DATA_HOME/fnm", "~/.local/share/fnm"),
                *("~/Library/Application Support/fnm", "~/.fnm"),
            ),
            versions="node-versions/*/installation/bin/node",
            active="aliases/default/bin/node",
        ),
        Manager("nodenv", ("$NODENV_ROOT", "~/.nodenv"), versions="versions/*/bin/node", shim="shims/node"),
        Manager("asdf", ("$ASDF_DATA_DIR", "~/.asdf"), versions="installs/nodejs/*/bin/node", shim="shims/node"),
        Manager(
            "mise",
            ("$MISE_DATA_DIR", "$XDG_DATA_HOME/mise", "~/.local/share/mise"),
            versions="installs/node/*/bin/node",
            shim="shims/node",
        ),
        Manager("volta", ("$VOLTA_HOME", "~/.volta"), versions="tools/image/node/*/bin/node", shim="bin/node"),
        Manager(
            "n", ("$N_PREFIX", "/usr/local", "~/n", "~/.n"), versions="n/versions/node/*/bin/node", active="bin/node"
        ),
        Manager(
            "Homebrew",
            ("$HOMEBREW_PREFIX", "/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew", "~/.linuxbrew"),
            versions="opt/node*/bin/node",
            active="bin/node",
        ),
        Manager("MacPorts", ("/opt/local",), active="bin/node"),
        Manager(
            "Nix",
            (
                *("~/.nix-profile", "$XDG_STATE_HOME/nix/profile", "~/.local/state/nix/profile"),
                *("/etc/profiles/per-user/$USER", "/nix/var/nix/profiles/default", "/run/current-system/sw"),
            ),
            active="bin/node",
        ),
        Manager("the installer", ("/usr/local",), active="bin/node"),
    )

    BUN_PLACES = ("$BUN_INSTALL/bin", "~/.bun/bin")

    def name_of_path(env: Mapping[str, str]) -> str:
        """Return the name of PATH as ``env`` spells it."""
        del env
        return "PATH"

    def spellings(program: str) -> tuple[str, ...]:
        """The file names that a program's name stands for."""
        return (program,)

    def scripts(program: str) -> tuple[str, ...]:
        """None: a script has a line that says who runs it."""
        del program
        return ()

    def shell(line: str) -> tuple[str, ...]:
        """The words that have the shell run a line."""
        return ("/bin/sh", "-c", line)

    def absolute(path: str) -> str:
        """The path from the root on. ``..`` stays: after a symbolic link it is not the folder before it."""
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def runs(path: str) -> bool:
    """Whether this user can run the file."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def expand(places: Iterable[str]) -> list[str]:
    """Expand ``~`` and variables. Leave out a place whose variable is not set, or is no absolute path."""
    paths = (os.path.expandvars(os.path.expanduser(place)) for place in places)
    return [path for path in paths if os.path.isabs(path)]


def with_upper_drive(path: str) -> str:
    """The same path with Windows' drive in capitals: Vite takes a module's path in two spellings for two modules."""
    drive, rest = os.path.splitdrive(path)
    return drive.upper() + rest
