"""The processes of a trial, for which ``sidecar doctor --prove`` starts itself again: a stand-in app, hostile trees.

A word of our command line selects the role. There is no script, so this also works if the sidecar is one frozen file.
No help text names the word. Every process of a tree holds a connection to doctor, and ends when doctor does.
"""

from __future__ import annotations

import os
import subprocess
from typing import IO, NoReturn

import msgspec

from sidecar.commands.doctor.prove.choice import find_platform
from sidecar.host import frozen

PIPE_BYTES = 65_536
"""The capacity of a pipe."""


def play(words: list[str]) -> int:
    """Run a role. ``words``: ``app`` and the number of services, or ``tree`` and the words of the platform."""
    platform = find_platform()
    platform.limit_life()
    part, *rest = words
    if part == "app":
        _be_app(int(rest[0]))
    platform.grow(rest)


def _be_app(services: int) -> NoReturn:
    """Start the sidecar, report its answers on stdout, and live until stdin ends.

    The sidecar has our stdin, through which doctor asks it to start the services. So doctor holds the other end of that
    pipe, as a child of an app may: the pipe outlives the app.
    """
    sidecar = subprocess.Popen(frozen.itself("stdio"), stdout=subprocess.PIPE)
    if sidecar.stdout is None:
        raise AssertionError  # for mypy: it is a pipe
    _tell({"app": os.getpid()})
    _listen(sidecar.stdout, services)
    while os.read(0, PIPE_BYTES):
        pass  # requests that the sidecar did not read before it was killed
    os._exit(0)


def _listen(stdout: IO[bytes], services: int) -> None:
    """Pass on what doctor waits for: the answer to ``initialize``, errors, the start of all services, a cleanup."""
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


def _tell(what: dict[str, object]) -> None:
    try:
        os.write(1, msgspec.json.encode(what) + b"\n")
    except OSError:
        pass  # EPIPE, on Windows EINVAL: doctor is dead, so our stdin ends and so do we
