"""Find a free port for a test."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

BELOW_EPHEMERAL = range(15_000, 32_768)
"""No system uses this range for outgoing connections or for a bind to port 0."""


def free_port() -> int:
    """Return a port outside the ephemeral range that is free on 127.0.0.1 and ::1."""
    while True:
        port = secrets.choice(BELOW_EPHEMERAL)
        with socket.socket() as sock, socket.socket(socket.AF_INET6) as other, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            other.bind(("::1", port))
            return port  # an OSError means that another program uses it: try another port
