"""Find a free port for a test."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import suppress

if sys.platform != "win32":
    import fcntl

BELOW_EPHEMERAL = range(15_000, 32_768)
"""No system uses this range for outgoing connections or for a bind to port 0."""

_given: set[int] = set()

if sys.platform != "win32":
    _claims = os.open(__file__, os.O_RDWR)
    """This file, open. To claim a port, lock the byte at that offset. The kernel unlocks it when the process ends."""


def free_port() -> int:
    """Return a port outside the ephemeral range that is free on 127.0.0.1 and ::1.

    While this process lives, no other call returns that port, in this process or another one of this checkout.
    """
    while True:
        port = secrets.choice(BELOW_EPHEMERAL)
        # an OSError means that another program uses it, or that another process has claimed it: try another port
        with socket.socket() as sock, socket.socket(socket.AF_INET6) as other, suppress(OSError):
            if port not in _given:
                sock.bind(("127.0.0.1", port))
                other.bind(("::1", port))
                _claim(port)
                return port


def _claim(port: int) -> None:
    if sys.platform != "win32":
        fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    _given.add(port)
