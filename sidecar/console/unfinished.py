"""The lines that programs have not ended: a question, a progress bar. Pure: outputs and times in, outputs out.

A terminal with a status line shows them above it as they grow, and they become lines when they end. Elsewhere what is
written stays written: there an unfinished line becomes a line of its own once it has been still for ``STILL_S``, and
is not written again when it ends as it was. So a person sees the question in a pipe or a CI log, and of a progress bar
only what it stops at.
"""

from __future__ import annotations

from msgspec import Struct, structs

from sidecar.console.ansi import clean
from sidecar.events import Output
from sidecar.wire.messages import Stream

STILL_S = 1.0
"""A progress bar moves more often than that; a question stays."""


class _Line(Struct):
    output: Output
    since: float
    told: str
    """What of it was written as a line of its own."""


class Unfinished:
    """One line for each stream of each service."""

    def __init__(self) -> None:
        """There is none."""
        self._lines: dict[tuple[str, Stream], _Line] = {}

    def take(self, output: Output, now: float) -> tuple[list[Output], bool]:
        """What is to be written of an output at once, and whether its first line was written before."""
        key = output.service, output.stream
        line = self._lines.get(key)
        before: list[Output] = []
        if line is not None and line.output.run != output.run:  # somebody else holds the pipe of a run that is over
            before = _as_lines(self._lines.pop(key))
            line = None
        told = line.told if line is not None else ""
        if output.partial:
            self._lines[key] = _Line(output, now, told)
            return before, False
        if line is not None:
            del self._lines[key]
        repeated = bool(told) and not before and clean(told) == clean(output.lines[0])
        return [*before, output], repeated

    def still(self, now: float) -> list[Output]:
        """Those that are to become lines of their own now."""
        due = [line for line in self._lines.values() if line.since + STILL_S <= now]
        return [output for line in due for output in _as_lines(line)]

    def next_due(self) -> float | None:
        """When ``still`` has the next one."""
        waiting = (line.since for line in self._lines.values() if line.told != line.output.partial)
        since = min(waiting, default=None)
        return None if since is None else since + STILL_S

    def all(self) -> list[Output]:
        """As they are, oldest first."""
        return [line.output for line in self._lines.values()]

    def end(self) -> list[Output]:
        """Nothing comes any more: what was not written yet is."""
        lines, self._lines = self._lines, {}
        return [output for line in lines.values() for output in _as_lines(line)]


def _as_lines(line: _Line) -> list[Output]:
    if line.told == line.output.partial:
        return []
    line.told = line.output.partial
    return [structs.replace(line.output, lines=(line.told,), partial="")]
