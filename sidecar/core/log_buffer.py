"""The last lines of a service, kept in chunks, so that a fast writer costs little."""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from sidecar.core.events import Output
from sidecar.protocol.messages import LogLine, Stream

LINES_KEPT = 1_000
"""The number of lines for ``logs`` and for an error's report. A client that wants more keeps them itself."""

BYTES_KEPT = 2 << 20
"""The bound on the memory of these lines."""


class LogBuffer:
    """A buffer that takes chunks and returns the last lines."""

    def __init__(self) -> None:
        """Start empty."""
        self._chunks: deque[Output] = deque()
        self._lines = 0
        self._size = 0
        self._unfinished: dict[Stream, Output] = {}
        self._next = 1
        """The number of the next line."""

    def append(self, output: Output) -> Output:
        """Keep the output, and return it with its number. Drop whole old chunks beyond the bounds.

        An unfinished line is kept separately until the next output of its stream, which has more of that line.
        """
        output = replace(output, seq=self._next)
        self._next += len(output.lines)
        self._unfinished.pop(output.stream, None)
        if output.partial:
            self._unfinished[output.stream] = output
            return output
        kept = output
        if len(output.lines) > LINES_KEPT:  # the other lines would only take memory
            share = output.size * LINES_KEPT // len(output.lines)
            first = output.seq + len(output.lines) - LINES_KEPT
            kept = replace(output, lines=output.lines[-LINES_KEPT:], size=share, seq=first)
        self._chunks.append(kept)
        self._lines += len(kept.lines)
        self._size += kept.size
        while self._lines - len(self._chunks[0].lines) >= LINES_KEPT or (
            len(self._chunks) > 1 and self._size > BYTES_KEPT
        ):
            old = self._chunks.popleft()
            self._lines -= len(old.lines)
            self._size -= old.size
        return output

    def unfinished(self, run: int) -> int:
        """Return how many lines of this run are unfinished."""
        return sum(output.run == run for output in self._unfinished.values())

    def tail(self, count: int) -> tuple[LogLine, ...]:
        """Return the last ``count`` lines (at most ``LINES_KEPT``), oldest first. Unfinished ones come last."""
        unfinished = [LogLine(output.stream, output.partial) for output in self._unfinished.values()]
        found = unfinished[::-1][:count]
        for chunk in reversed(self._chunks):
            missing = min(count, LINES_KEPT) - len(found)
            if missing <= 0:
                break
            first = max(0, len(chunk.lines) - missing)
            found.extend(
                LogLine(chunk.stream, chunk.lines[at], chunk.seq + at)
                for at in range(len(chunk.lines) - 1, first - 1, -1)
            )
        return tuple(reversed(found))
