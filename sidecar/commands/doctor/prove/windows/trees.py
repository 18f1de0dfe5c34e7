"""Hostile trees. Each process holds a connection to doctor, and ends only when that closes."""

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

from sidecar.commands.doctor.prove.platform import LIFE_S, as_part
from sidecar.host import frozen
from sidecar.host.windows import winapi

WIDE = 20
DEEP = 8

SIZES = {"plain": 3, "deaf": 2, "detached": 2, "breakaway": 2, "wide": WIDE + 1, "deep": DEEP + 1}
"""See ``platform.Platform``."""

BELOW = {"plain": 2, "deaf": 1, "deep": DEEP}
"""For trees that are a chain: the number of processes below the first one."""

CREATE_BREAKAWAY_FROM_JOB = 0x0100_0000


def limit_life() -> None:
    """See ``platform.Platform``."""
    timer = threading.Timer(LIFE_S, os._exit, (124,))
    timer.daemon = True
    timer.start()


def grow(words: Sequence[str]) -> NoReturn:
    """See ``platform.Platform``. A process learns from its starter how many processes to start below it."""
    kind, liveness, *more = words
    connection = _enroll(kind, liveness, "child" if more else "root")
    if kind == "deaf":
        for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    left = int(more[0]) if more else BELOW.get(kind, 0)
    if left > 0:
        _start(kind, liveness, left - 1)
    elif not more and kind == "wide":
        for _ in range(WIDE):
            _start(kind, liveness)
    elif not more and kind in {"detached", "breakaway"}:
        _leave(kind, liveness)
    while connection.recv(1):
        pass
    os._exit(0)


def _enroll(kind: str, liveness: str, role: str) -> socket.socket:
    """Open this process's own connection to doctor, and send its identity: pid and time of creation."""
    port, _, word = liveness.partition(":")
    connection = socket.socket()  # create_connection would resolve a name; a frozen binary lacks the codec for that
    connection.connect(("127.0.0.1", int(port)))
    birth = winapi.created(_winapi.GetCurrentProcess())
    connection.sendall(f"{word} {kind} {role} {os.getpid()} {birth}\n".encode())
    return connection


def _start(kind: str, liveness: str, left: int = 0, flags: int = 0) -> None:
    """Start one more process, with none of our streams."""
    null = subprocess.DEVNULL
    command = as_part("tree", kind, liveness, str(left))
    subprocess.Popen(command, cwd=frozen.HOME, stdin=null, stdout=null, stderr=null, creationflags=flags)


def _leave(kind: str, liveness: str) -> None:
    """Start a process without our console, in its own process group. A ``breakaway`` leaves the job if it can."""
    flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    if kind == "breakaway":
        try:
            _start(kind, liveness, flags=flags | CREATE_BREAKAWAY_FROM_JOB)
        except PermissionError:
            pass  # the job does not allow breakaway
        else:
            return
    _start(kind, liveness, flags=flags)
