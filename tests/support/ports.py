"""Find a port that a test can name."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

BELOW_EPHEMERAL = range(15_000, 32_768)
"""No system takes a port from this range for an outgoing connection, or for a program that asks for any port."""


def free_port() -> int:
    """Return a port that is free for both families, and that the system assigns only to a program that names it."""
    while True:
        port = secrets.choice(BELOW_EPHEMERAL)
        with socket.socket() as sock, socket.socket(socket.AF_INET6) as other, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            other.bind(("::1", port))
            return port  # else another program has it on one of them: try another one
