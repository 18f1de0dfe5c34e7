"""The program that the app ships: which file it is, and what Tauri wants it to be called."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from sidecar.services.node import on_path

_TUPLE = re.compile(r"[A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+){2,3}")

SUFFIX = ".exe" if sys.platform == "win32" else ""

NEUTRAL = Path(sys.executable).anchor
"""The root of the disk: no project has a file there."""
RUSTC_S = 10.0
"""It answers in 30 ms; rustup may look for an update first."""


def host_tuple() -> str:
    """The name of this machine that rustc, and so Tauri, gives it; ours by the same rule where there is no rustc.

    Only PATH's absolute folders are searched, and rustc runs outside of the project: rustup's rustc runs the toolchain
    that a project asks for, which may be a program of that project.
    """
    rustc = on_path("rustc", os.environ.get("PATH", os.defpath))
    asked = _ask(rustc) if rustc is not None else ""
    if asked:
        return asked
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    system = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin", "win32": "pc-windows-msvc"}[sys.platform]
    return f"{machine}-{system}"


def _ask(rustc: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "RUSTUP_TOOLCHAIN"}
    command = [rustc, "--print", "host-tuple"]
    try:
        done = subprocess.run(
            command, cwd=NEUTRAL, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUSTC_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # ENOENT, EACCES, ENOEXEC: Rust is not needed for a binary
    name = done.stdout.decode("ascii", "replace").strip()
    return name if done.returncode == 0 and _TUPLE.fullmatch(name) else ""


def place_in(folder: Path) -> Path:
    """Where ``externalBin: ["binaries/sidecar"]`` of the Tauri project in ``folder`` has it, on this machine."""
    return folder / "binaries" / f"sidecar-{host_tuple()}{SUFFIX}"


def command_in_folder() -> str:
    """What starts it in a shell whose folder is the Tauri project's, on this machine and on those like it.

    Its name has the machine in it. Windows' shell has no short way to ask for that, so there it is this machine's.
    """
    if SUFFIX:
        return f"binaries\\sidecar-{host_tuple()}{SUFFIX}"
    return "binaries/sidecar-$(rustc --print host-tuple)"


def own_binary() -> Path | None:
    """The file that we run from, if that is all there is to us: frozen into one file."""
    unpacked = getattr(sys, "_MEIPASS", None)
    one_file = unpacked is not None and Path(unpacked).name.startswith("_MEI")
    return Path(sys.executable) if one_file else None


def checkout() -> Path | None:
    """The folder of our own source, if we run from there: it has the plugin."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "tauri-integration" / "plugin" / "Cargo.toml").is_file() else None
