"""A port for a test to name."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

BELOW_EPHEMERAL = range(15_000, 32_768)
"""From here no system takes the port of an outgoing connection, nor one for who asks for any."""


def free_port() -> int:
    """A port that nobody has, on either family, and that the system gives to nobody who does not name it."""
    while True:
        port = secrets.choice(BELOW_EPHEMERAL)
        with socket.socket() as sock, socket.socket(socket.AF_INET6) as other, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            other.bind(("::1", port))
            return port  # else another program has it on one of them: try another one
