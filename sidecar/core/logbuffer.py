"""The last lines of a service, kept by chunk so that a fast writer costs little."""

from __future__ import annotations

from collections import deque

from sidecar.events import Output
from sidecar.wire.messages import LogLine, Stream

LINES_KEPT = 1_000
"""For ``logs`` and for a failure's report; more is the client's to keep."""

BYTES_KEPT = 1 << 20
"""A bound for long lines."""


class LogBuffer:
    """Append chunks, read the tail."""

    def __init__(self) -> None:
        """Start empty."""
        self._chunks: deque[Output] = deque()
        self._lines = 0
        self._size = 0
        self._unfinished: dict[Stream, Output] = {}

    def append(self, output: Output) -> None:
        """Keep these; forget whole chunks from the old end that the bounds do not need.

        An unfinished line is kept beside them until the next output of its stream, which has more of it.
        """
        self._unfinished.pop(output.stream, None)
        if output.partial:
            self._unfinished[output.stream] = output
            return
        self._chunks.append(output)
        self._lines += len(output.lines)
        self._size += output.size
        while self._lines - len(self._chunks[0].lines) >= LINES_KEPT or (
            len(self._chunks) > 1 and self._size > BYTES_KEPT
        ):
            old = self._chunks.popleft()
            self._lines -= len(old.lines)
            self._size -= old.size

    def unfinished(self, run: int) -> int:
        """How many lines of this run have not ended."""
        return sum(output.run == run for output in self._unfinished.values())

    def tail(self, count: int) -> tuple[LogLine, ...]:
        """The last ``count`` lines (at most ``LINES_KEPT``), oldest first; unfinished ones are the last."""
        unfinished = [LogLine(output.stream, output.partial) for output in self._unfinished.values()]
        found = unfinished[::-1][:count]
        for chunk in reversed(self._chunks):
            missing = min(count, LINES_KEPT) - len(found)
            if missing <= 0:
                break
            found.extend(LogLine(chunk.stream, line) for line in reversed(chunk.lines[-missing:]))
        return tuple(reversed(found))
