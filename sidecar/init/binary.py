"""The program that the app ships: which file it is, and what Tauri wants it to be called."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

SUFFIX = ".exe" if sys.platform == "win32" else ""


def host_tuple() -> str:
    """The name of this machine that rustc, and so Tauri, gives it; ours by the same rule where there is no rustc."""
    try:
        asked = subprocess.run(["rustc", "--print", "host-tuple"], text=True, capture_output=True, check=False)
        if asked.returncode == 0:
            return asked.stdout.strip()
    except OSError:
        pass  # ENOENT, EACCES: Rust is not needed for a binary
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    system = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin", "win32": "pc-windows-msvc"}[sys.platform]
    return f"{machine}-{system}"


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
