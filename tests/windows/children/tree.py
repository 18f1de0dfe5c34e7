"""A script that makes a hostile tree: ``tree.py KIND``, to be run with ``python -I -S``. See tests/children/trees.py.

Each process connects to the roll call by itself, as Windows has no inherited descriptors. It ends when the roll call
closes the connection, or after ``LIFE_S``. It watches neither its parent nor stdin.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:
    # Only the parts in C: each module in Python is slow to load under Wine.
    import _signal as signal
    import _socket as socket

if sys.platform != "win32":
    raise ImportError("POSIX has tests/children/trees.py")

WIDE = 20
"""Fewer than on POSIX: the job ends them in one call, however many they are, and each is a slow start of Python."""
DEEP = 8
LIFE_S = 300

SIZES = {"plain": 3, "deaf": 2, "wide": WIDE + 1, "deep": DEEP + 1, "detached": 3, "listener": 2}
"""Number of processes of each whole tree."""

CREATE_BREAKAWAY_FROM_JOB = 0x0100_0000


def start(*words: str, flags: int = 0) -> None:
    """Start this script again without our streams."""
    import subprocess  # slow to load, and most of these processes start no other

    null = subprocess.DEVNULL
    command = [sys.executable, "-I", "-S", __file__, *words]
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, creationflags=flags)


def enroll(kind: str) -> socket.socket:
    _thread.start_new_thread(end_in_time, ())
    connection = socket.socket()
    connection.connect(("127.0.0.1", int(os.environ["ROLL_CALL"])))
    connection.sendall(f"{kind} {os.getpid()}\n".encode())
    return connection


def end_in_time() -> None:
    time.sleep(LIFE_S)
    os._exit(124)


def break_away(kind: str) -> None:
    """Try every way out: of the console, of the group, of the job."""
    import subprocess

    flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    start(kind, "0", flags=flags)
    try:
        start(kind, "0", flags=flags | CREATE_BREAKAWAY_FROM_JOB)
    except OSError:
        start(kind, "0", flags=flags)  # the job does not allow breakaway


def main() -> None:
    kind = sys.argv[1]
    left = int(sys.argv[2]) if len(sys.argv) > 2 else None  # number of processes still to start
    connection = enroll(kind)
    if kind == "deaf":
        for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    if left is None and kind == "wide":
        for _ in range(WIDE):
            start(kind, "0")
    elif left is None and kind == "detached":
        break_away(kind)
    elif left is None and kind == "listener":
        import subprocess

        server = socket.socket()
        server.bind(("127.0.0.1", int(os.environ["PORT"])))
        server.listen()
        os.set_handle_inheritable(server.fileno(), True)
        command = [sys.executable, "-I", "-S", __file__, kind, "0"]
        subprocess.Popen(command, close_fds=False)  # it inherits the listening socket
    else:
        more = {"plain": 2, "deaf": 1, "deep": DEEP}.get(kind, 0) if left is None else left
        if more > 0:
            start(kind, str(more - 1))
    while word := connection.recv(1):
        connection.sendall(word)
    os._exit(0)


if __name__ == "__main__":
    main()
