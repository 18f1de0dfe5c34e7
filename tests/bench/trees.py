"""A script that makes a tree of processes: ``trees.py plain|daemon|wide|storm``, or ``trees.py wide CHILDREN``.

Each process of the tree has its own connection to the bench, which the kernel closes at its death. A new process
connects before it closes the connection that it inherited, so no process is ever alive without one.

Environment: ``BENCH_SOCKET``, the abstract unix socket to connect to; ``BENCH_DEADLINE``, the time (``time.monotonic``,
seconds) at which each process ends itself. They also end when the bench closes their connection. Nothing else ends
them: they watch neither their parent, nor stdin, nor stdout.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import sys
import time

WIDE = 50
STORM = 600
"""Most processes of the storm that live at once."""
LEAVE_OF_256 = 77
"""Share of the storm's processes, in 1/256, that exit at each turn. Others then take their places."""

assert sys.platform != "win32"  # so that mypy reads on only where there is a fork


def arm() -> None:
    """End this process at the deadline. An alarm is not inherited, so each process sets its own."""
    signal.alarm(max(1, math.ceil(float(os.environ["BENCH_DEADLINE"]) - time.monotonic())))


def connect() -> socket.socket:
    """Connect to the bench."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect("\0" + os.environ["BENCH_SOCKET"])
    return connection


def renewed(inherited: socket.socket) -> socket.socket:
    """After a fork, replace the parent's connection by an own one."""
    arm()
    own = connect()
    inherited.close()
    return own


def hold(connection: socket.socket) -> None:
    """Live until the bench closes the connection."""
    while connection.recv(1):
        pass


def plain(connection: socket.socket) -> None:
    """A child and a grandchild."""
    for _ in range(2):
        if os.fork() != 0:
            break
        connection = renewed(connection)
    hold(connection)


def daemon(connection: socket.socket) -> None:
    """The same, and a daemon: its parent is dead, and it has its own session."""
    if (between := os.fork()) == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        hold(renewed(connection))
        os._exit(0)
    os.waitpid(between, 0)
    plain(connection)


def wide(connection: socket.socket) -> None:
    """Fifty children, or the given number."""
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else WIDE):
        if os.fork() == 0:
            connection = renewed(connection)
            break
    hold(connection)


def storm(connection: socket.socket) -> None:
    """Fork in a loop: up to ``STORM`` processes at once, some of which always exit and are replaced.

    The places are tokens in a pipe. A killed process does not put its token back, so a killed storm cannot regrow.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    places, givers = os.pipe()
    os.set_blocking(places, False)
    os.write(givers, b"t" * (STORM - 1))
    first = True
    while True:
        while _take(places):
            if os.fork() == 0:
                connection = renewed(connection)
                first = False
        pause = 0.5 + os.urandom(1)[0] / 255
        if select.select([connection], [], [], pause)[0]:
            if not connection.recv(1):
                return
        elif not first and os.urandom(1)[0] < LEAVE_OF_256:
            os.write(givers, b"t")
            os._exit(0)


def _take(places: int) -> bool:
    try:
        return bool(os.read(places, 1))
    except BlockingIOError:  # no free place
        return False


def main() -> None:
    """Connect, wait for the bench's word, and make the tree."""
    arm()
    connection = connect()
    connection.recv(1)
    {"plain": plain, "daemon": daemon, "wide": wide, "storm": storm}[sys.argv[1]](connection)


if __name__ == "__main__":
    main()
