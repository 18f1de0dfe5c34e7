"""The parts that ``sidecar doctor --prove`` plays by starting itself again: a stand-in app, and hostile trees.

They are words of our own command line, not scripts, so that they are there wherever the sidecar is, also when it is
one frozen file. No help names them. Every process of a tree ends when doctor does: it holds a connection to it, and
looks at nothing else.
"""

from __future__ import annotations

import os
import subprocess
import threading
from typing import IO, NoReturn

import msgspec

from sidecar.doctor.platform import find_ground
from sidecar.host import bundle


def play(words: list[str]) -> int:
    """Be a part: ``app SERVICES``, or ``tree`` and what the ground has put behind it."""
    ground = find_ground()
    ground.limit_life()
    part, *rest = words
    if part == "app":
        _be_app(msgspec.json.decode(rest[0]))
    ground.grow(rest)


def _be_app(services: dict[str, object]) -> NoReturn:
    """Start the sidecar and the services as an app does; tell of it on stdout; live until stdin ends."""
    sidecar = subprocess.Popen(bundle.itself("stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
    except OSError:
        pass  # EPIPE, which is EINVAL on Windows: it has died, which the kernel tells doctor


def _tell(what: dict[str, object]) -> None:
    os.write(1, msgspec.json.encode(what) + b"\n")
