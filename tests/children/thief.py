"""A foreign program that takes a port again and again: ``thief.py ADDRESS PORT UID REUSEPORT``.

The test writes a byte to its stdin after each answered question. However slow the machine is, the thief listens until a
question has been both asked and answered meanwhile. For each such interval it prints a line ``BEGIN END``, in
nanoseconds of the monotonic clock. It listened through the whole interval. It lives until its stdin ends.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from contextlib import suppress

if sys.platform == "win32":
    raise ImportError("users, and select on a pipe")

HELD_S = 0.02
"""Shortest time to listen: enough for several questions on a fast machine."""
ANSWERS = 2
"""Answers to wait for while listening. The second one's question was asked after the first answer."""

FREE_S = 0.005
"""Time to leave the port free for the service, at least. After a longer hold it is free for as long as it was held."""


def hear(seconds: float | None) -> int:
    """Wait at most this long for answers; return their number. Raises ``EOFError`` once stdin has ended."""
    if not select.select([0], [], [], seconds)[0]:
        return 0
    data = os.read(0, 4096)
    if not data:
        raise EOFError
    return len(data)


def listen(address: str, port: int, *, shared: bool) -> float:
    """Listen once, if the port is free; return for how many seconds."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", 0), 1)
        try:
            sock.bind((address, port))
            sock.listen()
        except OSError:
            return 0.0  # EADDRINUSE: the service has it
        begin = time.monotonic_ns()
        try:
            while hear(0):
                pass  # drop answers to questions that were asked earlier
            heard = 0
            least = time.monotonic() + HELD_S
            while heard < ANSWERS or time.monotonic() < least:
                heard += hear(None if heard < ANSWERS else max(0.0, least - time.monotonic()))
        finally:
            end = time.monotonic_ns()
            os.write(1, f"{begin} {end}\n".encode())
        return (end - begin) / 1e9


def let_go(held_s: float) -> None:
    """Leave the port free for a moment."""
    again = time.monotonic() + max(FREE_S, held_s)
    while (left := again - time.monotonic()) > 0:
        hear(left)


def main() -> None:
    address, port, uid, shared = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    os.write(1, b"up\n")
    with suppress(EOFError):
        while True:
            let_go(listen(address, port, shared=shared))


if __name__ == "__main__":
    main()
