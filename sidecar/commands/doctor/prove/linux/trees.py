"""Hostile trees. Each process holds a connection to doctor, and ends only when that closes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.commands.doctor.prove.platform import LIFE_S, VITE, as_part

WIDE = 20

SIZES = {"plain": 3, "deaf": 2, "daemon": 2, "scrubbed": 2, "stopped": 2, "wide": WIDE + 1, VITE: 2}
"""See ``platform.Platform``."""

SCRUBBED = "scrubbed"
"""The word with which this tree's daemon starts itself again, without its environment."""


def limit_life() -> None:
    """See ``platform.Platform``. A fork does not inherit the alarm, so each process sets its own."""
    signal.alarm(LIFE_S)


def grow(words: Sequence[str]) -> NoReturn:
    """See ``platform.Platform``."""
    kind, liveness, *more = words
    if more == [SCRUBBED]:
        _hold(_enroll(kind, liveness, "daemon"))
    _grow(kind, liveness, more)


def _enroll(kind: str, liveness: str, role: str) -> socket.socket:
    """Open this process's own connection to doctor, which counts processes by connections."""
    limit_life()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(f"\0{liveness}")
    connection.sendall(f"{kind} {role}\n".encode())
    return connection


def _hold(connection: socket.socket) -> NoReturn:
    """Live as long as doctor does."""
    while connection.recv(1):
        pass
    os._exit(0)


def _child(kind: str, liveness: str, parent: socket.socket) -> socket.socket | None:
    """Fork. Return the child's connection in the child, and ``None`` in the parent."""
    if os.fork() != 0:
        return None
    parent.close()
    return _enroll(kind, liveness, "child")


def _grow(kind: str, liveness: str, node: list[str]) -> NoReturn:
    connection = _enroll(kind, liveness, "root")
    match kind:
        case "plain":
            child = _child(kind, liveness, connection)
            if child is not None:
                _hold(_child(kind, liveness, child) or child)
        case "deaf":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            connection = _child(kind, liveness, connection) or connection
        case "daemon" | "scrubbed":
            _leave_daemon(kind, liveness, connection)
        case "stopped":
            connection = _child(kind, liveness, connection) or connection
            os.kill(os.getpid(), signal.SIGSTOP)
        case "vite":  # behind a program that the parent-death signal ends, as a version manager's shim may be
            child = _child(kind, liveness, connection)
            if child is not None:
                os.set_inheritable(child.fileno(), True)  # node inherits it, and keeps the alarm
                os.execv(node[0], [*node, str(child.fileno())])  # noqa: S606  no shell is needed
        case "wide":
            for _ in range(WIDE):
                child = _child(kind, liveness, connection)
                if child is not None:
                    _hold(child)
    _hold(connection)


def _leave_daemon(kind: str, liveness: str, parent: socket.socket) -> None:
    """Leave a daemon: its parent is dead, it has its own session and, if ``scrubbed``, an empty environment."""
    between = os.fork()
    if between != 0:
        os.waitpid(between, 0)  # else it would be a zombie
        return
    parent.close()
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    if kind == "scrubbed":
        command = as_part("tree", kind, liveness, SCRUBBED)
        os.execve(command[0], command, {})  # noqa: S606  no shell is needed
    _hold(_enroll(kind, liveness, "daemon"))
