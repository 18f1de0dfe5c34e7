"""``sidecar unpack FOLDER``: turn the one-file binary into a folder, for an app on macOS.

The one-file binary unpacks itself at each start, and macOS scans the unpacked files each time. The folder is the same
sidecar, already unpacked. The libraries are copied from the folder where this process runs. There, a binary for macOS
also has the program for the new folder.

FOLDER/sidecar          the program
FOLDER/_internal/...    what it loads
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sidecar.diagnostics import say_error
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED
from sidecar.host import frozen

PROGRAM = "tauri-sidecar.program"
"""The name of the folder's program inside the one file (build/sidecar.spec)."""
NAME = "sidecar"
CONTENTS = "_internal"
"""PyInstaller's program looks for everything else here."""


def run(target: Path) -> int:
    """Make the folder, replacing one from an earlier call; return the exit code."""
    unpacked = frozen.unpacked_folder()
    if unpacked is None or not (Path(unpacked) / PROGRAM).is_file():
        say_error(
            "this sidecar cannot be unpacked: only a one-file binary for macOS can, or one from freeze --with-folder",
            "options",
            "sidecar unpack",
        )
        return EXIT_FAILED
    if not _may_be_replaced(target):
        say_error(
            f"{target} exists, and sidecar unpack did not make it: name another folder, or remove it",
            "options",
            "sidecar unpack",
        )
        return EXIT_FAILED
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        _write(Path(unpacked), fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        say_error(f"{target} could not be made: {error.strerror or error}", "options", "sidecar unpack")
        return EXIT_FAILED
    return EXIT_CLEAN


def _may_be_replaced(target: Path) -> bool:
    """Tell whether nothing is there, or only the folder that an earlier call made."""
    if not os.path.lexists(target):
        return True
    return target.is_dir() and not target.is_symlink() and {it.name for it in target.iterdir()} <= {NAME, CONTENTS}


def _write(unpacked: Path, fresh: Path) -> None:
    left_out = shutil.ignore_patterns(PROGRAM, frozen.MARKER)
    shutil.copytree(unpacked, fresh / CONTENTS, symlinks=True, ignore=left_out)
    shutil.copyfile(unpacked / PROGRAM, fresh / NAME)
    for path in fresh.rglob("*"):  # the bootloader unpacks for one user, but other users may start the app, too
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path == fresh / NAME else 0o644)
