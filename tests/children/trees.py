"""A script that makes a hostile tree: ``trees.py KIND [PORT]``, to be run with ``python -I -S``.

Each process connects to the roll call (see tests/support/liveness.py) before it closes the connection that it
inherited. It ends when the roll call closes the connection, or shortly before the deadline. Nothing else ends it: it
watches neither its parent, nor stdin, nor stdout.

With ``ROLL_DECOY`` set, the same command line makes no tree, but one decoy, which the sidecar must leave alone.
"""

from __future__ import annotations

import _thread
import gc
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:
    # Only the parts in C. Each cell starts this program for each tree, and most fork. The parts in Python load enum,
    # selectors and more: each start would take longer, and each fork would copy more.
    import _signal as signal
    import _socket as socket

if sys.platform != "linux":
    raise ImportError("needs fork, and threads that outlive their leader")

DECOY = "ROLL_DECOY"
WIDE = 50
DEEP = 8
STORM = 200
"""Most processes of the storm that live at once."""
LEAVE_OF_256 = 77
"""Share of the storm's processes, in 1/256, that exit at each turn. Others then take their places."""

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
"""Processes of each whole tree. The storm's number is a bit below its limit. For Vite's tree see vite.config.mjs."""


def enroll(role: str, inherited: socket.socket | None = None, kind: str | None = None) -> socket.socket:
    """Open this process's own connection, and set its alarm, as neither is inherited."""
    signal.alarm(max(1, int(float(os.environ["ROLL_DEADLINE"]) - time.monotonic())))
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.connect("\0" + os.environ["ROLL_CALL"])
    own.sendall(f"{kind or sys.argv[1]} {role}\n".encode())
    if inherited is not None:
        inherited.close()
    return own


def hold(connection: socket.socket) -> None:
    """Live until the connection ends, and echo its bytes. ``g`` means go to a process that waits for it."""
    while (word := connection.recv(1)) not in (b"", b"g"):
        connection.sendall(word)
    os._exit(0)


def plain(connection: socket.socket) -> None:
    """A child and a grandchild."""
    chain(connection, 2)


def chain(connection: socket.socket, length: int) -> None:
    """Each process is the child of the one before."""
    for _ in range(length):
        if os.fork() != 0:
            break
        connection = enroll("descendant", connection)
    hold(connection)


def deaf(connection: socket.socket) -> None:
    """Ignore every signal that asks to end."""
    deafen()
    chain(connection, 1)


def deafen() -> None:
    """Ignore these signals here and in all later children."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def sessions(connection: socket.socket) -> None:
    """Each descendant has its own session."""
    for _ in range(2):
        if os.fork() != 0:
            break
        os.setsid()
        connection = enroll("session", connection)
    hold(connection)


def daemonised(connection: socket.socket, *, scrub: bool = False) -> socket.socket:
    """Make a daemon: its parent is dead, and it has its own session. ``scrub`` empties its environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        if scrub:
            keep = [os.environ[name] for name in ("ROLL_CALL", "ROLL_DEADLINE")]
            os.set_inheritable(connection.fileno(), True)
            argv = [sys.executable, "-I", "-S", __file__, "--rest", sys.argv[1], str(connection.fileno()), *keep]
            os.execve(sys.executable, argv, {})  # noqa: S606  no shell needed
        hold(enroll("daemon", connection))
    os.wait()  # reap the middle process
    return connection


def stopped(connection: socket.socket) -> None:
    """All processes are stopped."""
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
        return False  # no free place


def zombies(connection: socket.socket) -> None:
    """Parents that do not reap their children."""
    if os.fork() == 0:
        connection = enroll("child", connection)
    for _ in range(5):
        if os.fork() == 0:
            os._exit(0)
    hold(connection)


def leaderless(connection: socket.socket) -> None:
    """The thread leader has exited, but other threads run on: /proc shows a zombie, though the process lives."""
    import ctypes

    if os.fork() == 0:
        connection = enroll("child", connection)
    _thread.start_new_thread(hold, (connection,))
    ctypes.CDLL(None).pthread_exit(None)


def bare(connection: socket.socket) -> None:
    """Close all descriptors, once the roll call has a pidfd of this process."""
    if os.fork() == 0:
        connection = enroll("bare", connection)
    connection.recv(1)
    os.closerange(0, 4096)
    while True:
        signal.pause()


def listener(connection: socket.socket) -> None:
    """A daemon listens on the port."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(sys.argv[2])))
    server.listen()
    connection = daemonised(connection)
    server.close()
    hold(connection)


def decoy() -> None:
    """Live, and listen on a port in the range that services get."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    hold(enroll("decoy", kind="decoy"))
    server.close()


def main() -> None:
    """Connect to the roll call, and make the tree."""
    gc.disable()  # a collection would write to each object, and so make each fork copy its page
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
        case "vite":  # the helper that a plugin of Vite starts
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
