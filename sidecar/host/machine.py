"""Name the machine that this program was made for as Rust does. Tauri puts this name into a sidecar's file name."""

from __future__ import annotations

import os
import sys

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "win32": "i686"}
"""The systems' name → Rust's. Names that are not here are the same."""

if sys.platform == "win32":
    EXECUTABLE_SUFFIX = ".exe"
    _SYSTEM = "pc-windows-msvc"

    def architecture() -> str:
        """Return the architecture of this Python. A binary that PyInstaller makes of it has the same.

        The system would name its own architecture, but it also runs programs for others. ``sys.version`` names the one
        that Python was compiled for. ``sysconfig.get_platform`` reads it there, too, but the frozen binary has no
        ``sysconfig``.
        """
        version = sys.version.lower()
        found = next((name for name in ("amd64", "arm64") if f"({name})" in version), "win32")
        return _ARCHITECTURES[found]

else:
    EXECUTABLE_SUFFIX = ""
    _SYSTEM = "apple-darwin" if sys.platform == "darwin" else "unknown-linux-gnu"

    def architecture() -> str:
        """Return the architecture that this Python runs as. A binary that PyInstaller makes of it has the same.

        A universal Python on macOS has two; this is the one that runs. Under Rosetta ``uname`` says x86_64.
        """
        machine = os.uname().machine.lower()
        return _ARCHITECTURES.get(machine, machine)


def target() -> str:
    """Return this machine's target triple, for when there is no rustc to ask."""
    return f"{architecture()}-{_SYSTEM}"
