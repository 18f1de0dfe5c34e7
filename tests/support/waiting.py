"""Wait for a condition, with a bound. Make a gate, at which a program waits for the test."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

WAIT_S = 30.0
"""Longest wait for an expected event: a hundred times what that takes on two busy cores."""
PAUSE_S = 0.002
"""Time between two polls."""


def until(condition: Callable[[], T | None], what: str, seconds: float = WAIT_S, pause_s: float = PAUSE_S) -> T:
    """Poll until the condition is true; return its value. Poll once more after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline
        if found := condition():
            return found
        assert not late, f"timed out waiting for {what}"
        time.sleep(pause_s)


# ── a gate ────────────────────────────────────────────────────────────────────────────────────────────────────────────

GATE = "go"

AT_GATE = f"open({GATE!r}, 'rb', 0).read(1)"
"""A line of Python that waits at the gate in the working directory, or passes an open one at once."""


def make_gate(folder: Path) -> Path:
    """Make a closed gate in the folder: a FIFO. A program that opens it for reading blocks until ``open_gate``."""
    if sys.platform == "win32":
        raise NotImplementedError("no FIFOs")
    gate = folder / GATE
    os.mkfifo(gate)
    return gate


def open_gate(gate: Path) -> None:
    """Wait until a program blocks at the gate, then let it pass, and all later ones."""
    fd = until(lambda: _opened(gate), f"a program at the gate {gate}")
    try:
        # later programs find a plain file; those blocked at the FIFO read the byte or EOF
        gate.unlink()
        gate.write_bytes(b".")
        os.write(fd, b".")
    finally:
        os.close(fd)


def _opened(gate: Path) -> int | None:
    """Return the FIFO's write end; ``None`` while no program has the read end open."""
    if sys.platform == "win32":
        raise NotImplementedError("no FIFOs")
    try:
        return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
