"""A program that makes a process tree: ``tree.py KIND``. Each process connects to the roll call, and ends with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

if sys.platform == "win32":
    raise ImportError("needs fork")

AFTER_EXEC = "--after-exec"
SHELL = "/bin/sh"
"""On macOS no process can read the environment of a system program such as this."""


def hold(role: str) -> None:
    """Connect to the roll call, and live until it ends."""
    with socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"]))) as call:
        call.sendall(f"{role}\n".encode())
        call.recv(1)
    os._exit(0)


def become_shell() -> NoReturn:
    """Exec a shell whose stdin is the connection to the roll call. The shell ends at EOF."""
    call = socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"])))
    call.sendall(b"daemon\n")
    os.dup2(call.fileno(), 0)
    os.execv(SHELL, [SHELL, "-c", "read -r line"])  # noqa: S606  the shell is the point


def daemonise(kind: str) -> None:
    """Make a daemon: its parent is dead, and it has its own session. Two kinds then exec another program."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            os.read(reader, 1)  # it ends when the parent is reaped; by then we have a new one
            os.close(reader)
            if kind == "shell":
                become_shell()
            if kind == "execs":
                os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, AFTER_EXEC])  # noqa: S606  no shell needed
            hold("daemon")
        os._exit(0)
    os.close(reader)
    os.wait()
    os.close(writer)


def main(kind: str) -> None:
    """Make a tree of this kind."""
    if kind == AFTER_EXEC:
        hold("daemon")
    if kind == "deaf":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if kind in {"daemon", "execs", "shell"}:
        daemonise(kind)
    elif os.fork() == 0:
        if kind == "session":
            os.setsid()
        hold("child")
    hold("program")


if __name__ == "__main__":
    main(sys.argv[1])
