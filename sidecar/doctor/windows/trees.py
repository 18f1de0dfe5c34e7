"""Hostile trees. A process of one ends when doctor does: it holds a connection to it, and looks at nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from sidecar.doctor.again import LIFE_S, as_part
from sidecar.host import bundle
from sidecar.host.windows import winapi

WIDE = 20
DEEP = 8

SIZES = {"plain": 3, "deaf": 2, "detached": 2, "breakaway": 2, "wide": WIDE + 1, "deep": DEEP + 1}
"""See ``ground.Ground``."""

BELOW = {"plain": 2, "deaf": 1, "deep": DEEP}
"""Trees that are a chain, and so many processes are below the first one."""

CREATE_BREAKAWAY_FROM_JOB = 0x0100_0000


def limit_life() -> None:
    """See ``ground.Ground``."""
    timer = threading.Timer(LIFE_S, os._exit, (124,))
    timer.daemon = True
    timer.start()


def grow(words: Sequence[str]) -> NoReturn:
    """See ``ground.Ground``. A process that another one of the tree has started is told how many are to follow it."""
    kind, roll, *more = words
    connection = _enroll(kind, roll, "child" if more else "root")
    if kind == "deaf":
        for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    left = int(more[0]) if more else BELOW.get(kind, 0)
    if left > 0:
        _start(kind, roll, left - 1)
    elif not more and kind == "wide":
        for _ in range(WIDE):
            _start(kind, roll)
    elif not more and kind in {"detached", "breakaway"}:
        _leave(kind, roll)
    while connection.recv(1):
        pass
    os._exit(0)


def _enroll(kind: str, roll: str, role: str) -> socket.socket:
    """A connection of this process's own to doctor, to which it tells what no other process has: pid and birth."""
    port, _, word = roll.partition(":")
    connection = socket.socket()  # create_connection resolves names, for which a frozen binary has no codec
    connection.connect(("127.0.0.1", int(port)))
    birth = winapi.created(_winapi.GetCurrentProcess())
    connection.sendall(f"{word} {kind} {role} {os.getpid()} {birth}\n".encode())
    return connection


def _start(kind: str, roll: str, left: int = 0, flags: int = 0) -> None:
    """One more, with no stream of ours."""
    null = subprocess.DEVNULL
    command = as_part("tree", kind, roll, str(left))
    subprocess.Popen(command, cwd=bundle.HOME, stdin=null, stdout=null, stderr=null, creationflags=flags)


def _leave(kind: str, roll: str) -> None:
    """One without our console and in a group of its own, and outside of the job if the job lets it go."""
    flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    if kind == "breakaway":
        try:
            _start(kind, roll, flags=flags | CREATE_BREAKAWAY_FROM_JOB)
        except PermissionError:
            pass  # the job holds it
        else:
            return
    _start(kind, roll, flags=flags)
