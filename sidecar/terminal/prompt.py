"""Ask the person at the terminal."""

from __future__ import annotations

import signal

from sidecar.runtime.streams import write_all


def agreed(question: str) -> bool:
    """Ask, and tell whether the answer is yes. The end of the input means no."""
    # let the kernel end us on Ctrl-C: if Python's handler ran just before the read, the read would still wait
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
