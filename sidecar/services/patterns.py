"""A bound on the time that a pattern of the user may take.

``re`` backtracks, and holds the interpreter's lock meanwhile, so no thread of ours would see the app die. Only
something outside of the interpreter can end it: a timer of the kernel (``re`` checks for its signal now and then), or a
C thread.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterable

from sidecar.core.readiness import matches

LIMIT_S = 0.2
"""The bound for all lines of one piece of output. A good pattern takes a few milliseconds for the longest piece."""


if sys.platform == "win32":
    WEDGED_S = 5.0
    """Windows has no such timer. So a C thread ends the supervisor after this time. Its job then ends the tree, and the
    app starts a new sidecar. This costs all services, so the bound is longer."""

    def matches_in_time(pattern: str, lines: Iterable[str]) -> dict[str, str] | None:
        """Return the named groups of the first line that matches. If that takes too long, the process exits."""
        with open(os.devnull, "wb") as nowhere:
            faulthandler.dump_traceback_later(WEDGED_S, exit=True, file=nowhere)
            try:
                return matches(pattern, lines)
            finally:
                faulthandler.cancel_dump_traceback_later()

else:

    def matches_in_time(pattern: str, lines: Iterable[str]) -> dict[str, str] | None:
        """Return the named groups of the first line that matches. Call it on the main thread: only that gets signals.

        Raises ``TimeoutError`` if it takes too long.
        """
        before = signal.signal(signal.SIGALRM, _ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
            try:
                return matches(pattern, lines)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.signal(signal.SIGALRM, before)

    def _ring(_number: int, _frame: object) -> None:
        raise TimeoutError
