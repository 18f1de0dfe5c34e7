"""What being frozen into one file means: a bootloader above us, a folder that it unpacked, variables that are its own.

PyInstaller's bootloader unpacks into a temporary folder, starts us from it, waits for our end and removes the folder.
Killed, it leaves both behind: then the folder is ours to remove. Its name carries the bootloader's pid, and our marker
in it (the first file that is unpacked) tells it from other programs' folders.

Light on purpose: the guard loads this before it forks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

PREFIX = "_MEI"
MARKER = "tauri-sidecar.bundle"

_OWN_VARIABLES = ("_PYI_", "_MEIPASS")
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def unpacked_folder() -> str | None:
    """The folder that the bootloader unpacked for us; ``None`` if we are not frozen, or frozen as a folder."""
    folder: str | None = getattr(sys, "_MEIPASS", None)
    return folder if folder is not None and os.path.basename(folder).startswith(PREFIX) else None


def bootloader() -> int | None:
    """The bootloader's pid: our parent, if we are frozen into one file.

    Raises ``ProcessLookupError`` if it is dead already. A parent that runs our own file can only be it.
    """
    if unpacked_folder() is None:
        return None
    pid = os.getppid()
    try:
        if os.path.samefile(f"/proc/{pid}/exe", sys.executable):
            return pid
    except OSError:
        pass  # EACCES: another user's process, and so not it; ENOENT: it went, or our file was replaced meanwhile
    raise ProcessLookupError


def outer_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables as they were before the bootloader put its own in: what every child of ours gets."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OWN_VARIABLES)}
    if getattr(sys, "frozen", False):
        for name in _LIBRARY_PATHS:
            before = kept.pop(f"{name}_ORIG", None)
            kept.pop(name, None)
            if before is not None:
                kept[name] = before
    return kept


def remove(folder: str) -> bool:
    """Remove an unpacked folder; whether it is gone. The files in it may be in use: they live on without a name."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            _try(os.unlink, f"{path}/{name}")
        for name in folders:
            _try(os.unlink if os.path.islink(f"{path}/{name}") else os.rmdir, f"{path}/{name}")
    _try(os.rmdir, folder)
    return not os.path.lexists(folder)


def _try(work: Callable[[str], None], path: str) -> None:
    try:
        work(path)
    except OSError:
        pass  # ENOENT: the bootloader, or another of ours, removes it too; else the caller sees that it is still there
