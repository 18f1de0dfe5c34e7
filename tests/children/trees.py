"""A script that makes a hostile tree: ``trees.py KIND [PORT]``, to be run with ``python -I -S``.

Each process connects to the roll call (see tests/support/liveness.py) before it lets go of the connection that it
inherited. They end when the roll call closes their connection, or at the deadline. Nothing else ends them: they look
neither at their parent, nor at stdin, nor at stdout.

With ``ROLL_DECOY`` set, the same command line makes no tree, but one process that is nobody's business.
"""

from __future__ import annotations

import _thread
import ctypes
import math
import os
import select
import signal
import socket
import sys
import time

if sys.platform != "linux":
    raise ImportError("fork, and threads that outlive their leader")

DECOY = "ROLL_DECOY"
WIDE = 50
DEEP = 8
STORM = 200
"""At most so many processes of the storm live at once."""
LEAVE_OF_256 = 77
"""So many in 256 of the storm's processes end at each turn, and leave their place, and their children, to others."""

SIZES = {
    "plain": 3,
    "deaf": 2,
    "sessions": 3,
    "daemon": 2,
    "scrubbed": 2,
    "stopped": 2,
    "wide": WIDE + 1,
    "deep": DEEP + 1,
    "storm": STORM * 9 // 10,
    "fleeting": 2,
    "zombies": 2,
    "leaderless": 2,
    "bare": 2,
    "listener": 2,
    "vite": 3,
}
"""So many live once a tree is whole; the storm is seldom quite whole. Of Vite's one is Vite: see vite.config.mjs."""


def enroll(role: str, inherited: socket.socket | None = None, kind: str | None = None) -> socket.socket:
    """A connection of this process's own. An alarm is not inherited either, so each sets its own."""
    signal.alarm(max(1, math.ceil(float(os.environ["ROLL_DEADLINE"]) - time.monotonic())))
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.connect("\0" + os.environ["ROLL_CALL"])
    own.sendall(f"{kind or sys.argv[1]} {role}\n".encode())
    if inherited is not None:
        inherited.close()
    return own


def hold(connection: socket.socket) -> None:
    """Live until the connection ends; echo what comes. ``g`` is the word for those who wait for one."""
    while (word := connection.recv(1)) not in (b"", b"g"):
        connection.sendall(word)
    os._exit(0)


def plain(connection: socket.socket) -> None:
    """A child and a grandchild."""
    chain(connection, 2)


def chain(connection: socket.socket, length: int) -> None:
    """Each the child of the one before."""
    for _ in range(length):
        if os.fork() != 0:
            break
        connection = enroll("descendant", connection)
    hold(connection)


def deaf(connection: socket.socket) -> None:
    """Ignores every signal that asks."""
    deafen()
    chain(connection, 1)


def deafen() -> None:
    """Ignore them, here and in all that is started from now on."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def sessions(connection: socket.socket) -> None:
    """Each descendant in a session of its own."""
    for _ in range(2):
        if os.fork() != 0:
            break
        os.setsid()
        connection = enroll("session", connection)
    hold(connection)


def daemonised(connection: socket.socket, *, scrub: bool = False) -> socket.socket:
    """Leave a daemon: its parent is dead, its session its own, ``scrub`` its environment empty."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        if scrub:
            keep = [os.environ[name] for name in ("ROLL_CALL", "ROLL_DEADLINE")]
            connection.set_inheritable(True)
            argv = [sys.executable, "-I", "-S", __file__, "--rest", sys.argv[1], str(connection.fileno()), *keep]
            os.execve(sys.executable, argv, {})  # noqa: S606  there is no shell to want
        hold(enroll("daemon", connection))
    os.wait()  # the one in between, which would be a zombie
    return connection


def stopped(connection: socket.socket) -> None:
    """All of it stopped."""
    if os.fork() == 0:
        connection = enroll("child", connection)
    os.kill(os.getpid(), signal.SIGSTOP)
    hold(connection)


def wide(connection: socket.socket) -> None:
    """Many children."""
    for _ in range(WIDE):
        if os.fork() == 0:
            connection = enroll("child", connection)
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
                connection = enroll("cloud", connection)
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
    except BlockingIOError:
        return False  # all places are taken


def zombies(connection: socket.socket) -> None:
    """Parents that do not bury their children."""
    if os.fork() == 0:
        connection = enroll("child", connection)
    for _ in range(5):
        if os.fork() == 0:
            os._exit(0)
    hold(connection)


def leaderless(connection: socket.socket) -> None:
    """The threads run on, but their leader is gone: /proc shows a zombie that is none."""
    if os.fork() == 0:
        connection = enroll("child", connection)
    _thread.start_new_thread(hold, (connection,))
    ctypes.CDLL(None).pthread_exit(None)


def bare(connection: socket.socket) -> None:
    """Closes all its descriptors, once the roll call has another hold on it."""
    if os.fork() == 0:
        connection = enroll("bare", connection)
    connection.recv(1)
    os.closerange(0, 4096)
    while True:
        signal.pause()


def listener(connection: socket.socket) -> None:
    """A daemon has the port."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(sys.argv[2])))
    server.listen()
    connection = daemonised(connection)
    server.close()
    hold(connection)


def decoy() -> None:
    """Live, and listen on a port of those that services get."""
    server = socket.create_server(("127.0.0.1", 0))
    hold(enroll("decoy", kind="decoy"))
    server.close()


def main() -> None:
    """Enroll and grow."""
    if DECOY in os.environ:
        decoy()
    if sys.argv[1] == "--rest":  # the scrubbed daemon, after its exec
        _, _, kind, inherited, os.environ["ROLL_CALL"], os.environ["ROLL_DEADLINE"] = sys.argv
        hold(enroll("daemon", socket.socket(fileno=int(inherited)), kind))
    kind = sys.argv[1]
    connection = enroll("bare" if kind == "bare" else "root")
    match kind:
        case "daemon" | "fleeting":
            hold(daemonised(connection))
        case "scrubbed":
            hold(daemonised(connection, scrub=True))
        case "vite":  # what a plugin of it starts
            deafen()
            hold(daemonised(connection))
        case "deep":
            chain(connection, DEEP)
        case "decoy":
            hold(connection)
        case _:
            globals()[kind](connection)


if __name__ == "__main__":
    main()
