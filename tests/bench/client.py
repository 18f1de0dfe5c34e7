"""The app's side of the protocol, as far as the benches need it. Each message has its time of arrival."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.contenders import Launch
from tests.bench.processes import BenchError, Pen

READ_BYTES = 1 << 20
Message = dict[str, Any]
"""One decoded JSON-RPC object."""


def tail(path: Path, lines: int = 12) -> str:
    """Return the last ``lines`` of a text file, for an error message."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@dataclass
class Sidecar:
    """A running sidecar with its requests sent. ``launched`` is its launch time (``time.perf_counter``, seconds)."""

    process: subprocess.Popen[bytes]
    errors: Path
    """The file with its stderr."""
    launched: float
    _rest: bytes = b""
    _seen: list[tuple[float, Message]] = field(default_factory=list)

    @classmethod
    def launch(cls, pen: Pen, how: Launch) -> Sidecar:
        """Start it and write all requests at once."""
        errors = pen.folder / "sidecar.stderr"
        with errors.open("wb") as sink:
            launched = time.perf_counter()
            process = pen.spawn(
                how.argv, cwd=how.cwd, env=how.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink
            )
        sidecar = cls(process, errors, launched)
        for line in how.send:
            sidecar.send(line)
        return sidecar

    @property
    def stdout(self) -> int:
        """The descriptor that its messages are read from."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, line: str) -> None:
        """Write one request."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def read(self, deadline: float) -> bytes:
        """Read what comes next.

        Raises ``BenchError`` at the end of stdout, or at ``deadline`` (``time.perf_counter``, seconds).
        """
        left = deadline - time.perf_counter()
        if left <= 0 or not select.select([self.stdout], [], [], left)[0]:
            raise self._fault("did not send the awaited message in time")
        data = os.read(self.stdout, READ_BYTES)
        if not data:
            raise self._fault("closed its stdout")
        return data

    def await_message(self, wanted: Callable[[Message], bool], deadline: float) -> tuple[float, Message]:
        """Return the first message that is ``wanted``, old or new, with its time (``time.perf_counter``).

        Raises ``BenchError`` if it does not come before ``deadline``, or if an error comes first.
        """
        looked_at = 0
        while True:
            for when, message in self._seen[looked_at:]:
                if wanted(message):
                    return when, message
                if "error" in message:
                    raise self._fault(f"answered {json.dumps(message['error'])[:600]}")
            looked_at = len(self._seen)
            data = self._rest + self.read(deadline)
            now = time.perf_counter()
            *lines, self._rest = data.split(b"\n")
            self._seen.extend((now, json.loads(line)) for line in lines if line)

    def _fault(self, what: str) -> BenchError:
        said = [message.get("method") or message.get("id") for _, message in self._seen]
        return BenchError(f"the sidecar {what}; it said {said}, is {self.process.poll()}, stderr: {tail(self.errors)}")


def notification(method: str) -> Callable[[Message], bool]:
    """Return a test whether a message is the notification ``method``."""
    return lambda message: message.get("method") == method


def answer(identifier: int) -> Callable[[Message], bool]:
    """Return a test whether a message is the result of request ``identifier``."""
    return lambda message: message.get("id") == identifier and "result" in message
