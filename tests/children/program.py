"""A program that does what its words say, one after another: ``program.py WORD…``. ``FakeHost`` knows the same words.

- ``print:TEXT``, ``err:TEXT``, ``exit:CODE``, ``die:SIGNAL``, ``ignore:SIGNAL``
- ``report:SIGNAL``: at the signal, print ``got SIGNAL`` and exit with 0
- ``child``: fork a child in the same process group; both do the remaining words
- ``daemon``: start an orphan in its own session that only waits
- ``listen:ADDRESS=PORT``
- ``grandchild:ADDRESS=PORT``: start a child whose child listens there
- ``hold``: live on
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:  # only the parts in C: see trees.py
    import _signal as signal
    import _socket as socket

if sys.platform == "win32":
    raise ImportError("fork and process groups")

LIFE_S = 280
"""Longest life, whatever happens to the test."""

servers: list[socket.socket] = []


def report(name: str) -> None:
    """Report this signal when it comes, and exit."""

    def told(*_: object) -> None:
        os.write(1, f"got {name}\n".encode())
        os._exit(0)

    signal.signal(getattr(signal, name), told)


def daemon() -> None:
    """Start a daemon; return once its parent is dead."""
    ready, done = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        signal.alarm(LIFE_S)
        os.write(done, b".")
        hold()
    os.wait()
    os.read(ready, 1)


def grandchild(value: str) -> None:
    """Start a grandchild; return once it listens."""
    ready, done = os.pipe()
    if os.fork() == 0:
        signal.alarm(LIFE_S)
        if os.fork() == 0:
            signal.alarm(LIFE_S)
            listen(value)
            os.write(done, b".")
        hold()
    os.read(ready, 1)


def listen(value: str) -> None:
    address, _, port = value.partition("=")
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, int(port)))
    server.listen()
    servers.append(server)


def hold() -> None:
    """Wait for ever. Not by pause(2): Python would never handle a signal that came just before it."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    while True:
        os.read(wake_read, 512)


def enroll() -> None:
    """Connect to the roll call, if there is one. The connection closes when we die."""
    if "ROLL_CALL" in os.environ:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect("\0" + os.environ["ROLL_CALL"])
        connection.sendall(f"{os.environ.get('SIDECAR_SERVICE', 'program')} root\n".encode())
        servers.append(connection)


def main() -> None:
    signal.alarm(LIFE_S)
    enroll()
    for step in sys.argv[1:]:
        word, _, value = step.partition(":")
        match word:
            case "print":
                os.write(1, value.encode() + b"\n")
            case "err":
                os.write(2, value.encode() + b"\n")
            case "exit":
                os._exit(int(value))
            case "die":
                os.kill(os.getpid(), getattr(signal, value))
                hold()
            case "ignore":
                signal.signal(getattr(signal, value), signal.SIG_IGN)
            case "report":
                report(value)
            case "child":
                if os.fork() == 0:
                    signal.alarm(LIFE_S)
            case "daemon":
                daemon()
            case "listen":
                listen(value)
            case "grandchild":
                grandchild(value)
            case "hold":
                hold()


if __name__ == "__main__":
    main()
