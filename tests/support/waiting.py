"""How tests wait: for a condition, with a bound; and a gate, at which a program waits for the test."""

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
"""For what must happen: a hundred times what it takes on two busy cores."""
PAUSE_S = 0.002
"""Between two looks at what gives no notice."""


def until(condition: Callable[[], T | None], what: str, seconds: float = WAIT_S, pause_s: float = PAUSE_S) -> T:
    """Wait for what must come true and has no notice to wait for; what it was. A last look comes after the bound."""
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline
        if found := condition():
            return found
        assert not late, f"awaited in vain: {what}"
        time.sleep(pause_s)


# ── a gate ────────────────────────────────────────────────────────────────────────────────────────────────────────────

GATE = "go"

AT_GATE = f"open({GATE!r}, 'rb', 0).read(1)"
"""A line of Python that waits at the gate of the program's folder, and passes one that is open."""


def make_gate(folder: Path) -> Path:
    """Make a closed gate in the folder: a FIFO. A program that opens it for reading blocks, and need not poll."""
    if sys.platform == "win32":
        raise NotImplementedError("no FIFOs")
    gate = folder / GATE
    os.mkfifo(gate)
    return gate


def open_gate(gate: Path) -> None:
    """Wait until a program stands at the gate, then let it pass, and all that come later."""
    fd = until(lambda: _opened(gate), f"a program at the gate {gate}")
    try:
        # later programs find a file; those that stand at the FIFO read the byte, or the FIFO's end
        gate.unlink()
        gate.write_bytes(b".")
        os.write(fd, b".")
    finally:
        os.close(fd)


def _opened(gate: Path) -> int | None:
    """The FIFO's writing end; ``None`` while no program has the other end."""
    if sys.platform == "win32":
        raise NotImplementedError("no FIFOs")
    try:
        return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
