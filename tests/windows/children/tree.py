"""A script that makes a hostile tree: ``tree.py KIND``, to be run with ``python -I -S``. See tests/children/trees.py.

Each process connects to the roll call by itself, as descriptors are not inherited here. They end when the roll call
closes their connection, or at the deadline; they look neither at their parent nor at stdin.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

if sys.platform != "win32":
    raise ImportError("there are better means elsewhere")

WIDE = 50
DEEP = 8
LIFE_S = 300

SIZES = {"plain": 3, "deaf": 2, "wide": WIDE + 1, "deep": DEEP + 1, "detached": 3, "listener": 2}
"""So many live once a tree is whole."""

CREATE_BREAKAWAY_FROM_JOB = 0x0100_0000


def start(*words: str, flags: int = 0) -> None:
    """Ourselves once more, with no stream of ours."""
    null = subprocess.DEVNULL
    command = [sys.executable, "-I", "-S", __file__, *words]
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, creationflags=flags)


def enroll(kind: str) -> socket.socket:
    threading.Timer(LIFE_S, os._exit, (124,)).start()
    connection = socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"])))
    connection.sendall(f"{kind} {os.getpid()}\n".encode())
    return connection


def break_away(kind: str) -> None:
    """Every means to leave: of a console, of a group, of a job."""
    flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    start(kind, "0", flags=flags)
    try:
        start(kind, "0", flags=flags | CREATE_BREAKAWAY_FROM_JOB)
    except OSError:
        start(kind, "0", flags=flags)  # the job does not let it go


def main() -> None:
    kind = sys.argv[1]
    left = int(sys.argv[2]) if len(sys.argv) > 2 else None  # so many are to follow
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
        server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        server.set_inheritable(True)
        command = [sys.executable, "-I", "-S", __file__, kind, "0"]
        subprocess.Popen(command, close_fds=False)  # it has the listening socket, too
    else:
        more = {"plain": 2, "deaf": 1, "deep": DEEP}.get(kind, 0) if left is None else left
        if more > 0:
            start(kind, str(more - 1))
    while word := connection.recv(1):
        connection.sendall(word)
    os._exit(0)


if __name__ == "__main__":
    main()
