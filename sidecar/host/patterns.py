"""A bound on the time that a pattern of the user's may take.

``re`` backtracks, and holds the interpreter's lock meanwhile: no thread of ours would see the app die. What ends it is
outside of the interpreter: a timer of the kernel's, which ``re`` looks for now and then, or a thread of C's.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterable

from sidecar.core.readiness import matches

LIMIT_S = 0.2
"""For all lines of one piece of output. An honest pattern takes a few milliseconds for the longest piece."""


if sys.platform == "win32":
    WEDGED_S = 5.0
    """There is no such timer, so a wedged supervisor ends itself, and with its job the tree: the app starts a new one.
    That costs the services, so it waits longer."""

    def matches_in_time(pattern: str, lines: Iterable[str]) -> bool:
        """Whether one of the lines matches. Does not return if that takes too long."""
        with open(os.devnull, "wb") as nowhere:
            faulthandler.dump_traceback_later(WEDGED_S, exit=True, file=nowhere)
            try:
                return matches(pattern, lines)
            finally:
                faulthandler.cancel_dump_traceback_later()

else:

    def matches_in_time(pattern: str, lines: Iterable[str]) -> bool:
        """Whether one of the lines matches. For the main thread, which alone is told of signals.

        Raises ``TimeoutError`` if it takes too long to find out.
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
