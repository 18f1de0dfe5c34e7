"""The last lines of a service, kept by chunk so that a fast writer costs little."""

from __future__ import annotations

from collections import deque

from sidecar.wire.messages import LogLine, Stream

LINES_KEPT = 1_000
"""For ``logs`` and for a failure's report; more is the client's to keep."""

BYTES_KEPT = 1 << 20
"""A bound for long lines."""


class LogBuffer:
    """Append chunks, read the tail."""

    def __init__(self) -> None:
        """Start empty."""
        self._chunks: deque[tuple[Stream, tuple[str, ...], int]] = deque()
        self._lines = 0
        self._size = 0

    def append(self, stream: Stream, lines: tuple[str, ...]) -> None:
        """Keep these; forget whole chunks from the old end that the bounds do not need."""
        size = sum(map(len, lines))
        self._chunks.append((stream, lines, size))
        self._lines += len(lines)
        self._size += size
        while self._lines - len(self._chunks[0][1]) >= LINES_KEPT or (
            len(self._chunks) > 1 and self._size > BYTES_KEPT
        ):
            _, old, freed = self._chunks.popleft()
            self._lines -= len(old)
            self._size -= freed

    def tail(self, count: int) -> tuple[LogLine, ...]:
        """The last ``count`` lines (at most ``LINES_KEPT``), oldest first."""
        found: list[LogLine] = []
        for stream, lines, _ in reversed(self._chunks):
            missing = min(count, LINES_KEPT) - len(found)
            if missing <= 0:
                break
            found.extend(LogLine(stream, line) for line in reversed(lines[-missing:]))
        return tuple(reversed(found))
