"""Recognize and remove the folders that one-file programs of services have unpacked.

Light on purpose: the guard loads this before it forks. ``sidecar.host.one_file`` finds the folders.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from itertools import islice

from sidecar.host.frozen import PREFIX

PATH_MOST = 400
"""A longer path is left alone: an order to the guard has to fit into PIPE_BUF, which is 512 bytes on macOS."""

REMOVE_BOUND_S = 30.0
"""The bound of a removal. A large program's folder takes a second or two."""

RELEASE_S = 2.0 if sys.platform == "win32" else 0.0
"""How long to try again. Windows keeps a file while a dying process, or a virus scanner, has it open."""

PAUSE_S = 0.05
"""Seconds between two tries."""

DEPTH_MOST = 64
"""How deep to follow folders within folders. No program unpacks deeper ones."""

ENTRIES_AT_ONCE = 1_000
"""How many names of one folder are kept in memory."""


def identify(folder: str) -> str | None:
    """Return what tells this folder from a later one of the same name; ``None`` if it cannot be a bootloader's.

    A bootloader's folder has an absolute path without ``..`` and a name as bootloaders give it. It is a real folder, no
    link, and belongs to this user. Raises ``OSError`` if the disk cannot be read.
    """
    try:
        if len(folder.encode()) > PATH_MOST or not os.path.isabs(folder) or os.pardir in folder.split(os.sep):
            return None
        if not os.path.basename(folder).startswith(PREFIX):
            return None
        found = os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # it is gone; ValueError: a NUL, or bytes that are not text
    if not _is_real_folder(found) or (sys.platform != "win32" and found.st_uid != os.geteuid()):
        return None
    return f"{found.st_dev:x}:{found.st_ino:x}"


def remove(folder: str, identity: str) -> bool:
    """Remove exactly this folder. Return whether it is gone. Never raises.

    Of a link in the folder, only the link is removed, not its target. If a mount is in the folder, both stay.
    """
    again_until = time.monotonic() + RELEASE_S
    while is_there(folder, identity):
        try:
            _empty(folder, os.lstat(folder).st_dev, time.monotonic() + REMOVE_BOUND_S, DEPTH_MOST)
            os.rmdir(folder)
        except OSError:
            pass  # EACCES, ENOTEMPTY: it is still there
        if time.monotonic() >= again_until:
            return not is_there(folder, identity)
        time.sleep(PAUSE_S)
    return True


def is_there(folder: str, identity: str) -> bool:
    """Tell whether this folder is there. It counts as there if its disk cannot be read."""
    try:
        return identify(folder) == identity
    except OSError:
        return True  # EACCES, EIO, ESTALE


def _empty(folder: str, device: int, deadline: float, depth: int) -> None:
    """Remove the folder's entries, until the deadline. Raises ``OSError``."""
    goes_on = depth > 0
    while goes_on and time.monotonic() < deadline:
        with os.scandir(folder) as found:
            entries = [entry.path for entry in islice(found, ENTRIES_AT_ONCE)]
        removed = [_remove_entry(path, device, deadline, depth) for path in entries]
        goes_on = any(removed)


def _remove_entry(path: str, device: int, deadline: float, depth: int) -> bool:
    try:
        found = os.lstat(path)
        if _is_real_folder(found) and found.st_dev == device:
            _empty(path, device, deadline, depth - 1)
            os.rmdir(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return True  # another process removes the folder, too
    except OSError:
        return False
    return True


if sys.platform == "win32":

    def _is_real_folder(found: os.stat_result) -> bool:
        """A junction looks like a folder, and leads elsewhere."""
        return stat.S_ISDIR(found.st_mode) and not found.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT

else:

    def _is_real_folder(found: os.stat_result) -> bool:
        return stat.S_ISDIR(found.st_mode)
