"""How a thread is started, and what its end by a fault means."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from sidecar.errors import SystemFailureError

EXIT_INTERNAL = 70


def end_with_any_thread() -> None:
    """From now on a fault that ends a thread ends this process: half a supervisor never keeps running.

    Without its reader it would never hear of the app's end. Our own end is everybody's: see the guard, or the job.
    """

    def died(it: threading.ExceptHookArgs) -> None:
        try:
            threading.__excepthook__(it)
        finally:
            os._exit(EXIT_INTERNAL)

    def died_at_birth(it: sys.UnraisableHookArgs) -> None:
        """Where memory ends, a thread may not even come to its first line."""
        try:
            sys.__unraisablehook__(it)
        finally:
            if "thread" in (it.err_msg or ""):
                os._exit(EXIT_INTERNAL)

    threading.excepthook = died
    sys.unraisablehook = died_at_birth


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
