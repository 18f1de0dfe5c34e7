"""Find a program by its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from msgspec import Struct

from sidecar.files import is_file, is_own


class Manager(Struct, frozen=True):
    """Where a version manager or a package manager keeps node. Paths are relative to its root."""

    name: str
    roots: tuple[str, ...]
    """Where its root may be. A variable that overrides the root comes first."""
    versions: str = ""
    """The path of an installed node; the star stands for the version."""
    active: str = ""
    """The path of its default node."""
    shim: str = ""
    """The path of a program that chooses a version and runs it."""


if sys.platform == "win32":
    SEPARATORS = ("\\", "/")
    SUFFIXES = (".exe", ".com")
    """Files that Windows starts directly. Only a shell can run a batch file, and it would split the arguments again."""

    SCRIPTS = (".cmd", ".bat")

    TO_CMD = ("/d", "/s", "/c")
    """The options that have cmd run the next word as a line, unchanged. Package managers use the same."""

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
        """Return the file names that a program's name stands for."""
        if program.lower().endswith(SUFFIXES):
            return (program,)
        return tuple(program + suffix for suffix in SUFFIXES)

    def scripts(program: str) -> tuple[str, ...]:
        """Return the file names that a shell would take for the program, but that only a shell can start."""
        return (program,) if program.lower().endswith(SCRIPTS) else tuple(program + suffix for suffix in SCRIPTS)

    def shell(line: str) -> tuple[str, ...]:
        """Return the command that has the shell run a line."""
        return (os.environ.get("COMSPEC", r"C:\Windows\System32\cmd.exe"), *TO_CMD, line)

    def absolute(path: str) -> str:
        """Return the absolute path. Windows itself resolves ``..`` in the text, without following links."""
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
        """Return the file names that a program's name stands for."""
        return (program,)

    def scripts(program: str) -> tuple[str, ...]:
        """Return none: the first line of a script names its interpreter, so no shell is needed."""
        del program
        return ()

    def shell(line: str) -> tuple[str, ...]:
        """Return the command that has the shell run a line."""
        return ("/bin/sh", "-c", line)

    def absolute(path: str) -> str:
        """Return the absolute path. Keep ``..``: after a symbolic link it is the parent of the link's target."""
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def runs(path: str) -> bool:
    """Tell whether this user can run the file."""
    return (is_file(path) if is_own(path) else os.path.isfile(path)) and os.access(path, os.X_OK)


def expand(places: Iterable[str]) -> list[str]:
    """Expand ``~`` and variables. Leave out results that are not absolute, for example because of an unset variable."""
    paths = (os.path.expandvars(os.path.expanduser(place)) for place in places)
    return [path for path in paths if os.path.isabs(path)]


def with_upper_drive(path: str) -> str:
    """Return the path with its drive letter in upper case. For Vite, two spellings of one path are two modules."""
    drive, rest = os.path.splitdrive(path)
    return drive.upper() + rest
