"""A script that makes a tree of processes: ``trees.py plain|daemon|wide|storm``, or ``trees.py wide CHILDREN``.

Each process of the tree holds a connection to the bench, so that the kernel tells the bench of its death. A new process
connects before it lets go of the connection that it inherited: at no time is one alive without holding any.

Environment: ``BENCH_SOCKET``, the abstract unix socket to connect to; ``BENCH_DEADLINE``, the time (``time.monotonic``,
seconds) at which each process ends itself. They also end when the bench closes their connection. Nothing else ends
them: they do not look at their parent, nor at stdin, nor at stdout.
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
"""At most so many processes of the storm live at once."""
LEAVE_OF_256 = 77
"""So many in 256 of the storm's processes end at each turn, and leave their place, and their children, to others."""

assert sys.platform != "win32"  # so that mypy reads on only where there is a fork


def arm() -> None:
    """End this process at the deadline, whatever it does. An alarm is not inherited, so each process sets its own."""
    signal.alarm(max(1, math.ceil(float(os.environ["BENCH_DEADLINE"]) - time.monotonic())))


def connect() -> socket.socket:
    """A connection to the bench."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect("\0" + os.environ["BENCH_SOCKET"])
    return connection


def renewed(inherited: socket.socket) -> socket.socket:
    """In a process just forked: its own connection in place of its parent's."""
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
    """The same, and a process that has left it: its parent is dead, and its session is its own."""
    if (between := os.fork()) == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        hold(renewed(connection))
        os._exit(0)
    os.waitpid(between, 0)
    plain(connection)


def wide(connection: socket.socket) -> None:
    """Fifty children, or as many as are wanted."""
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else WIDE):
        if os.fork() == 0:
            connection = renewed(connection)
            break
    hold(connection)


def storm(connection: socket.socket) -> None:
    """Forks without end: up to ``STORM`` processes at once, some of which end and are replaced all the time.

    The places are tokens in a pipe. One who is killed does not put its token back, so a killed storm cannot regrow.
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
    except BlockingIOError:  # all places are taken
        return False


def main() -> None:
    """Connect, wait for the bench's word, grow."""
    arm()
    connection = connect()
    connection.recv(1)
    {"plain": plain, "daemon": daemon, "wide": wide, "storm": storm}[sys.argv[1]](connection)


if __name__ == "__main__":
    main()
