"""The parts that ``sidecar doctor --prove`` plays by starting itself again: a stand-in app, and hostile trees.

They are words of our own command line, not scripts, so that they are there wherever the sidecar is, also when it is
one frozen file. No help names them. Every process of a tree ends when doctor does: it holds a connection to it, and
looks at nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, NoReturn

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.doctor import DOCTOR_PART

WIDE = 20

LIFE_S = 120
"""So long a part lives at most, if all that should end it fails. A stopped one only has the kernel to thank."""

SIZES = {"plain": 3, "deaf": 2, "daemon": 2, "scrubbed": 2, "stopped": 2, "wide": WIDE + 1}
"""The trees, and so many processes live once each is whole."""

PACKAGE_HOME = Path(__file__).resolve().parents[2]
"""Where ``python -m sidecar`` finds us, and no other thing that is called sidecar."""


def itself(*words: str) -> list[str]:
    """The command line that starts us again."""
    start = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "sidecar"]
    return [*start, *words]


def home() -> str:
    """The folder to start us again in."""
    return "/" if getattr(sys, "frozen", False) else str(PACKAGE_HOME)


def play(words: list[str]) -> int:
    """Be a part: ``app SERVICES``, or ``tree KIND ROLL`` and ``rest KIND ROLL``, a tree and its scrubbed daemon."""
    signal.alarm(LIFE_S)
    part, *rest = words
    match part:
        case "app":
            _be_app(msgspec.json.decode(rest[0]))
        case "tree":
            _grow(rest[0], rest[1])
        case "rest":
            _hold(_enroll(rest[0], rest[1], "daemon"))
    return 2


# ── the app ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _be_app(services: dict[str, object]) -> NoReturn:
    """Start the sidecar and the services as an app does; tell of it on stdout; live until stdin ends."""
    sidecar = subprocess.Popen(itself("stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if sidecar.stdin is None or sidecar.stdout is None:
        raise AssertionError  # for mypy: both are pipes
    _tell({"app": os.getpid()})
    threading.Thread(target=_listen, args=(sidecar.stdout, len(services)), daemon=True).start()
    hello = {"protocolVersion": 1, "client": {"name": "sidecar doctor"}, "services": services}
    _ask(sidecar.stdin, 0, "initialize", hello)
    for number, name in enumerate(services, 1):
        _ask(sidecar.stdin, number, "start", {"service": name})
    while os.read(0, 1):
        pass
    os._exit(0)


def _listen(stdout: IO[bytes], services: int) -> None:
    """Tell what doctor waits for: the answer to ``initialize``, errors, that all have started, what was swept."""
    pids: dict[str, int] = {}
    for line in stdout:
        message = msgspec.json.decode(line)
        if message.get("method") == "supervisor/swept":
            _tell({"swept": message["params"]})
        elif "error" in message:
            _tell({"error": message["error"]})
        elif message.get("id") == 0:
            _tell({"hello": message["result"]})
        elif "id" in message:
            started = message["result"]
            pids[started["service"]] = started["status"]["pid"]
            if len(pids) == services:
                _tell({"started": pids})
    _tell({"error": {"message": "it has ended"}})


def _ask(stdin: IO[bytes], number: int, method: str, params: dict[str, object]) -> None:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    try:
        stdin.write(msgspec.json.encode(request) + b"\n")
        stdin.flush()
    except BrokenPipeError:
        pass  # it has died, which its pidfd tells


def _tell(what: dict[str, object]) -> None:
    os.write(1, msgspec.json.encode(what) + b"\n")


# ── the trees ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _enroll(kind: str, roll: str, role: str) -> socket.socket:
    """A connection of this process's own to doctor, which counts by it. An alarm is not inherited, so each sets one."""
    signal.alarm(LIFE_S)
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


def _grow(kind: str, roll: str) -> NoReturn:
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
        command = itself(DOCTOR_PART, "rest", kind, roll)
        os.execve(command[0], command, {})  # noqa: S606  there is no shell to want
    _hold(_enroll(kind, roll, "daemon"))
