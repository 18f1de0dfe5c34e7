"""Lines that programs have not finished: a question, a progress bar. Pure: outputs and times in, outputs out.

A terminal with a status line shows them above it as they grow, and they become lines when they end. In a pipe nothing
can be redrawn. There an unfinished line is written once it has not changed for ``STILL_S``; if it then ends unchanged,
it is not written again. So a CI log shows the question, and only the last state of a progress bar.
"""

from __future__ import annotations

from msgspec import Struct, structs

from sidecar.core.events import Output
from sidecar.protocol.messages import Stream
from sidecar.terminal.ansi import clean

STILL_S = 1.0
"""A progress bar changes within this time; a question does not."""


class _Line(Struct):
    output: Output
    since: float
    told: str
    """The text of it that was last written as a line."""


class Unfinished:
    """The unfinished lines, one for each stream of each service."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: dict[tuple[str, Stream], _Line] = {}

    def take(self, output: Output, now: float) -> tuple[list[Output], bool]:
        """Add an output. Return what to write now, and whether its first line was already written."""
        key = output.service, output.stream
        line = self._lines.get(key)
        before: list[Output] = []
        if line is not None and line.output.run != output.run:  # a process still holds the pipe of an earlier run
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
        """Return the unfinished lines to write now, because they have not changed for a while."""
        due = [line for line in self._lines.values() if line.since + STILL_S <= now]
        return [output for line in due for output in _as_lines(line)]

    def next_due(self) -> float | None:
        """Return the time when ``still`` will next have a line."""
        waiting = (line.since for line in self._lines.values() if line.told != line.output.partial)
        since = min(waiting, default=None)
        return None if since is None else since + STILL_S

    def all(self) -> list[Output]:
        """Return all unfinished lines as they are, the oldest first."""
        return [line.output for line in self._lines.values()]

    def forget(self, service: str) -> None:
        """Forget the lines of a service, because its last lines are shown again."""
        self._lines = {key: line for key, line in self._lines.items() if key[0] != service}

    def end(self) -> list[Output]:
        """Return everything that was not written yet. No more output comes."""
        lines, self._lines = self._lines, {}
        return [output for line in lines.values() for output in _as_lines(line)]


def _as_lines(line: _Line) -> list[Output]:
    if line.told == line.output.partial:
        return []
    line.told = line.output.partial
    return [structs.replace(line.output, lines=(line.told,), partial="")]
