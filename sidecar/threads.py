"""Start threads, and end the process if one of them fails."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from sidecar.errors import SystemFailureError
from sidecar.exit_codes import EXIT_INTERNAL


def end_with_any_thread() -> None:
    """From now on end the whole process if an exception ends a thread.

    A supervisor without its reader, for example, would never notice the app's end. If the process ends, the guard or
    the job ends the tree.
    """

    def died(it: threading.ExceptHookArgs) -> None:
        try:
            threading.__excepthook__(it)
        finally:
            os._exit(EXIT_INTERNAL)

    def died_at_birth(it: sys.UnraisableHookArgs) -> None:
        """Handle a thread that fails before its first line, as it may when memory runs out."""
        try:
            sys.__unraisablehook__(it)
        finally:
            if "thread" in (it.err_msg or ""):
                os._exit(EXIT_INTERNAL)

    threading.excepthook = died
    sys.unraisablehook = died_at_birth


def start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` in a thread that does not keep the process alive.

    Raises ``SystemFailureError`` if the system refuses one.
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
