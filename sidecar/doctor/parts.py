"""The parts that ``sidecar doctor --prove`` plays by starting itself again: a stand-in app, and hostile trees.

They are words of our own command line, not scripts, so that they are there wherever the sidecar is, also when it is
one frozen file. No help names them. Every process of a tree ends when doctor does: it holds a connection to it, and
looks at nothing else.
"""

from __future__ import annotations

import os
import subprocess
from typing import IO, NoReturn

import msgspec

from sidecar.doctor.platform import find_ground
from sidecar.host import bundle

PIPE_BYTES = 65_536
"""As much as a pipe holds."""


def play(words: list[str]) -> int:
    """Be a part: ``app SERVICES``, a number; or ``tree`` and what the ground has put behind it."""
    ground = find_ground()
    ground.limit_life()
    part, *rest = words
    if part == "app":
        _be_app(int(rest[0]))
    ground.grow(rest)


def _be_app(services: int) -> NoReturn:
    """Start the sidecar and tell of it on stdout; live until stdin ends.

    Our stdin is the sidecar's, and doctor asks it to start so many services: doctor is the heir that an app may have,
    whose end of the pipe outlives the app's death.
    """
    sidecar = subprocess.Popen(bundle.itself("stdio"), stdout=subprocess.PIPE)
    if sidecar.stdout is None:
        raise AssertionError  # for mypy: it is a pipe
    _tell({"app": os.getpid()})
    _listen(sidecar.stdout, services)
    while os.read(0, PIPE_BYTES):
        pass  # what the sidecar has not taken, as it was killed
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


def _tell(what: dict[str, object]) -> None:
    try:
        os.write(1, msgspec.json.encode(what) + b"\n")
    except OSError:
        pass  # EPIPE, which is EINVAL on Windows: doctor is dead, and the end of stdin is ours
