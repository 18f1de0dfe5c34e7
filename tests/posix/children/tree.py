"""A program that leaves a tree: ``tree.py KIND``. Each process of it answers the roll call, and ends with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import NoReturn

if sys.platform == "win32":
    raise ImportError("fork")

AFTER_EXEC = "--after-exec"
SHELL = "/bin/sh"
"""On macOS a program of the system: it shows its environment to nobody."""
TICK_S = 0.001
"""Pause between two looks at our parent's pid. No system that this runs on reports an adoption."""


def hold(role: str) -> None:
    """Live until the roll call ends."""
    with socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"]))) as call:
        call.sendall(f"{role}\n".encode())
        call.recv(1)
    os._exit(0)


def become_shell() -> NoReturn:
    """Answer the roll call by a shell, which ends when its stdin does: that is the connection."""
    call = socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"])))
    call.sendall(b"daemon\n")
    os.dup2(call.fileno(), 0)
    os.execv(SHELL, [SHELL, "-c", "read -r line"])  # noqa: S606  it is to be one


def daemonise(kind: str) -> None:
    """Leave a process whose parent is dead, in a session of its own. Two kinds run another program then."""
    if os.fork() == 0:
        os.setsid()
        middle = os.getpid()
        if os.fork() == 0:
            os.setsid()
            while os.getppid() == middle:
                time.sleep(TICK_S)
            if kind == "shell":
                become_shell()
            if kind == "execs":
                os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, AFTER_EXEC])  # noqa: S606  no shell is wanted
            hold("daemon")
        os._exit(0)
    os.wait()


def main(kind: str) -> None:
    """Make the tree; see the module."""
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
