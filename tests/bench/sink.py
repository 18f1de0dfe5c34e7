"""The reader of a relay's output during a measurement."""

from __future__ import annotations

import os
import select
import sys
import time

from tests.bench.processes import ONLY_LINUX, BenchError

READ_BYTES = 1 << 20
"""Largest pipe capacity for an ordinary user."""


class Sink:
    """Reads a relay's output, fast enough that the reader is never the bottleneck.

    The memory is allocated and touched beforehand, and reused, so a read is one system call without page faults. Only
    the last few bytes are examined meanwhile.
    """

    def __init__(self, size: int) -> None:
        """Hold up to ``size`` bytes."""
        self._memory = memoryview(bytearray(b".") * size)
        self._end = 0
        self._reads: list[tuple[float, int]] = []
        """The time of each read (``time.perf_counter``, seconds), and the number of bytes read by then."""

    def clear(self) -> None:
        """Forget all bytes."""
        self._end = 0
        self._reads.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing was read."""
        return not self._reads

    def read(self, fd: int, timeout: float) -> bool:
        """Read once; return False at EOF, or if nothing came for ``timeout`` seconds."""
        if not select.select([fd], [], [], timeout)[0]:
            return False
        size = _read_into(fd, self._memory[self._end : self._end + READ_BYTES])
        self._end += size
        self._reads.append((time.perf_counter(), self._end))
        return size > 0

    def last(self, size: int) -> bytes:
        """The last ``size`` bytes."""
        return bytes(self._memory[max(0, self._end - size) : self._end])

    def whole(self) -> bytes:
        """All that came."""
        return bytes(self._memory[: self._end])

    def times_of(self, needle: bytes) -> list[float]:
        """Return the times of the reads that contain ``needle``."""
        found: list[float] = []
        begin = 0
        for when, end in self._reads:
            if needle in bytes(self._memory[begin:end]):
                found.append(when)
            begin = end
        return found


def _read_into(fd: int, memory: memoryview) -> int:
    if sys.platform == "win32":
        raise BenchError(ONLY_LINUX)
    if not memory:
        raise BenchError("more bytes arrived than were written")
    return os.readv(fd, [memory])
