"""How a thread is started."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sidecar.errors import SystemFailureError


def start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` in a thread that does not keep the process alive.

    Raises ``SystemFailureError`` if the system has none to spare.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise SystemFailureError(
            f"The system has no thread to spare for {name!r}. End some programs, or raise the limit on this user's or "
            "this container's processes (ulimit -u, pids.max), then try again."
        ) from None
    return thread
