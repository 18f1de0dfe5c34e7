"""The sidecar's binary that the app ships: which file it is, and the name that Tauri requires."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sidecar.host import frozen, machine
from sidecar.services.node import on_path

_TUPLE = re.compile(r"[A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+){2,3}")

_CRATE = re.compile(r"[A-Za-z0-9_-]+")

NEUTRAL = Path(sys.executable).anchor
"""The root of the disk, where no project's files affect a program."""
RUSTC_S = 10.0
"""Bound on one call. rustc answers in 30 ms, but rustup may look for an update first."""


def host_tuple() -> str:
    """Return the target triple that rustc, and so Tauri, gives this machine. Without rustc, build it by the same rule.

    rustc comes from an absolute folder of PATH and runs outside of the project. Inside, rustup's rustc would run the
    toolchain that the project asks for, which may be a program of the project.
    """
    rustc = on_path("rustc", os.environ.get("PATH", os.defpath))
    asked = _ask(rustc) if rustc is not None else ""
    return asked or machine.target()


def own_tuple() -> str:
    """Return the target triple that this Python, or this frozen binary, was made for.

    Its architecture may differ from the machine's: Rosetta and Windows emulate others. Then rustc's triple is wrong.
    """
    asked = host_tuple()
    return asked if asked.partition("-")[0] == machine.architecture() else machine.target()


def _ask(rustc: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "RUSTUP_TOOLCHAIN"}
    command = [rustc, "--print", "host-tuple"]
    try:
        done = subprocess.run(
            command, cwd=NEUTRAL, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUSTC_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # ENOENT, EACCES, ENOEXEC: we can do without rustc
    name = done.stdout.decode("ascii", "replace").strip()
    return name if done.returncode == 0 and _TUPLE.fullmatch(name) else ""


def external_bin(config: dict[str, Any], crate: str) -> str:
    """Return the sidecar's entry of ``bundle.externalBin``: the one that is there, or a new one named after the app.

    Linux packages install it into /usr/bin, where two apps cannot have a file of the same name.
    """
    bundle = config.get("bundle")
    entries = bundle.get("externalBin") if isinstance(bundle, dict) else None
    named = (each for each in (entries if isinstance(entries, list) else ()) if isinstance(each, str))
    there = next((each for each in named if re.search(r"(?:^|[/\\-])sidecar$", each)), None)
    return there or (f"binaries/{crate}-sidecar" if _CRATE.fullmatch(crate) else "binaries/sidecar")


def place_in(folder: Path, external: str) -> Path:
    """Return the file of the ``externalBin`` entry ``external`` in the Tauri project ``folder``, for this machine."""
    return folder / f"{external}-{host_tuple()}{machine.EXECUTABLE_SUFFIX}"


def command_in_folder(external: str) -> str:
    """Return the shell command that starts the binary from the Tauri project's folder.

    The file's name contains the target triple. A POSIX shell asks rustc for it, so the command works on other machines,
    too. Windows' shell has no short way to ask, so there the command contains this machine's triple.
    """
    if machine.EXECUTABLE_SUFFIX:
        return f"{external}-{host_tuple()}{machine.EXECUTABLE_SUFFIX}".replace("/", "\\")
    return f"{external}-$(rustc --print host-tuple)"


def own_binary() -> Path | None:
    """Return the binary of our own version for this machine: the file that we run from, or the one that pip installed.

    ``None`` if there is none: we run from a checkout, are frozen as a folder, or are frozen for another machine.
    """
    if is_for_another_machine():
        return None
    if getattr(sys, "frozen", False):
        return Path(sys.executable) if frozen.unpacked_folder() is not None else None
    return None if checkout() else _installed_binary()


def _installed_binary() -> Path | None:
    """Return the file in the package tauri-sidecar-bin, which contains nothing else."""
    package = importlib.util.find_spec("tauri_sidecar_bin")
    places = package.submodule_search_locations if package is not None else None
    files = [Path(place) / f"sidecar{machine.EXECUTABLE_SUFFIX}" for place in places or ()]
    return next((file for file in files if file.is_file()), None)


def is_for_another_machine() -> bool:
    """Tell whether we are frozen for another architecture than Tauri builds for here."""
    return getattr(sys, "frozen", False) and own_tuple() != host_tuple()


def checkout() -> Path | None:
    """Return the folder of our own source, with the plugin, if we run from a checkout."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "tauri-integration" / "plugin" / "Cargo.toml").is_file() else None
