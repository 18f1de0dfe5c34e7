"""The demo's lines, and its stopwatch."""

from __future__ import annotations

import os
import sys
import time
from typing import Any


class DemoError(Exception):
    """A step failed; the message is the reason to print."""


class Watch:
    """A stopwatch, which runs from its creation."""

    def __init__(self) -> None:
        self._began = time.perf_counter()  # Windows' finest clock; all processes share it

    def ms(self, until: float | None = None) -> float:
        """Return the milliseconds until now, or until ``until``."""
        return ((time.perf_counter() if until is None else until) - self._began) * 1000


class Show:
    """Prints lines: coloured in a terminal, plain elsewhere and with NO_COLOR."""

    def __init__(self, stream: Any) -> None:
        """Write to ``stream``."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or sys.platform == "win32"
        self._colours = stream.isatty() and not plain  # enables colours in a Windows console
        if hasattr(stream, "reconfigure"):
            # a locale without ✓ must not end the demo; on Windows a reader of a pipe expects UTF-8, not a code page
            stream.reconfigure(encoding="utf-8" if sys.platform == "win32" else None, errors="replace")

    def title(self, text: str) -> None:
        """Print a line between the steps."""
        print(self._paint("1", text), flush=True)

    def done(self, ms: float, text: str) -> None:
        """Print a step that succeeded, with its time."""
        print(f"  {self._paint('32', '✓')} {self._paint('2', f'{ms:7.1f} ms')}  {text}", flush=True)

    def failed(self, text: str) -> None:
        """Print why a step failed."""
        print(f"  {self._paint('31', '✗')} {self._paint('31', text)}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
