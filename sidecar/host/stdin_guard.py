"""The script that makes Vite's node end with its stdin, and where node finds it.

The script is an option on Vite's own command line, not in NODE_OPTIONS: that variable is the user's, and every node
that Vite starts would inherit it.

node opens the script at each start of Vite, as long as the sidecar runs. A frozen sidecar has unpacked it into a
temporary folder. A cleaner of temporary files may remove that folder, and another user may then make it again, with
another script. So we read the script once, when the sidecar starts. node gets a copy in the state folder, where no
other user can write.
"""

from __future__ import annotations

import os
import threading

from sidecar.state import run_record

NAME = "stdin_guard.cjs"

ORIGIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), NAME)
"""The script in our installation."""


def _read_origin() -> bytes:
    try:
        with open(ORIGIN, "rb") as file:
            return file.read()
    except OSError:
        return b""  # ENOENT: a cleaner removed it before the sidecar started; EMFILE: everything else fails, too


SCRIPT = _read_origin()
"""Empty if it could not be read."""

_writing = threading.Lock()
"""Held while the copy is written: each service is prepared on a thread of its own."""


def exists() -> bool:
    """Tell whether there is a script to give to node."""
    return bool(SCRIPT)


def place() -> str:
    """Return the path of the copy. Write it first if it differs from the script that was read at the start.

    Raises ``OSError`` if it cannot be written into the state folder.
    """
    with _writing:
        if _read_copy() != SCRIPT:
            run_record.write_file(NAME, SCRIPT)
        return os.path.join(run_record.state_folder(), NAME)


def _read_copy() -> bytes | None:
    try:
        return run_record.read_file(NAME)
    except OSError:
        return None  # ENOENT: there is none yet; EPERM: it is not a file of ours. The caller writes a new one
