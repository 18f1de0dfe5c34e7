"""A question to the person at the terminal."""

from __future__ import annotations

import signal

from sidecar.pumps import write_all


def agreed(question: str) -> bool:
    """Whether they say yes; the end of the input is a no."""
    # Ctrl-C is the kernel's to act on: Python's handler may come just before the read, which then waits all the same
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        write_all(1, b"\n")
        return False
    finally:
        signal.signal(signal.SIGINT, before)
