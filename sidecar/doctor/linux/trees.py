"""Hostile trees. A process of one ends when doctor does: it holds a connection to it, and looks at nothing else."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor.again import LIFE_S, as_part
from sidecar.doctor.ground import VITE

WIDE = 20

SIZES = {"plain": 3, "deaf": 2, "daemon": 2, "scrubbed": 2, "stopped": 2, "wide": WIDE + 1, VITE: 2}
"""See ``ground.Ground``."""

SCRUBBED = "scrubbed"
"""What the daemon of that tree says when it has begun anew without its environment."""


def limit_life() -> None:
    """See ``ground.Ground``. An alarm is not inherited by a fork: each sets one."""
    signal.alarm(LIFE_S)


def grow(words: Sequence[str]) -> NoReturn:
    """See ``ground.Ground``."""
    kind, roll, *more = words
    if more == [SCRUBBED]:
        _hold(_enroll(kind, roll, "daemon"))
    _grow(kind, roll, more)


def _enroll(kind: str, roll: str, role: str) -> socket.socket:
    """A connection of this process's own to doctor, which counts by it."""
    limit_life()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(f"\0{roll}")
    connection.sendall(f"{kind} {role}\n".encode())
    return connection


def _hold(connection: socket.socket) -> NoReturn:
    """Live as long as doctor does."""
    while connection.recv(1):
        pass
    os._exit(0)


def _child(kind: str, roll: str, parent: socket.socket) -> socket.socket | None:
    """Fork; in the child its connection."""
    if os.fork() != 0:
        return None
    parent.close()
    return _enroll(kind, roll, "child")


def _grow(kind: str, roll: str, node: list[str]) -> NoReturn:
    connection = _enroll(kind, roll, "root")
    match kind:
        case "plain":
            child = _child(kind, roll, connection)
            if child is not None:
                _hold(_child(kind, roll, child) or child)
        case "deaf":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            connection = _child(kind, roll, connection) or connection
        case "daemon" | "scrubbed":
            _leave_daemon(kind, roll, connection)
        case "stopped":
            connection = _child(kind, roll, connection) or connection
            os.kill(os.getpid(), signal.SIGSTOP)
        case "vite":  # behind a program that the parent-death signal ends, as a version manager's may be
            child = _child(kind, roll, connection)
            if child is not None:
                os.set_inheritable(child.fileno(), True)  # it is node's now, and so is the alarm
                os.execv(node[0], [*node, str(child.fileno())])  # noqa: S606  there is no shell to want
        case "wide":
            for _ in range(WIDE):
                child = _child(kind, roll, connection)
                if child is not None:
                    _hold(child)
    _hold(connection)


def _leave_daemon(kind: str, roll: str, parent: socket.socket) -> None:
    """A process in a session of its own whose parent is dead; ``scrubbed`` has an empty environment, too."""
    between = os.fork()
    if between != 0:
        os.waitpid(between, 0)  # else it would be a zombie
        return
    parent.close()
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    if kind == "scrubbed":
        command = as_part("tree", kind, roll, SCRUBBED)
        os.execve(command[0], command, {})  # noqa: S606  there is no shell to want
    _hold(_enroll(kind, roll, "daemon"))
