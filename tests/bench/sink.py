"""Where a relay's output goes while it is measured."""

from __future__ import annotations

import os
import select
import sys
import time

from tests.bench.processes import ONLY_LINUX, BenchError

READ_BYTES = 1 << 20
"""The most that a pipe holds for an ordinary user."""


class Sink:
    """Takes what a relay brings, fast enough that it is never the reader who is measured.

    The memory is made, and touched, beforehand and used again: a read is one system call and no page fault. Nothing is
    looked at on the way but the last few bytes.
    """

    def __init__(self, size: int) -> None:
        """Hold up to ``size`` bytes."""
        self._memory = memoryview(bytearray(b".") * size)
        self._end = 0
        self._reads: list[tuple[float, int]] = []
        """When (``time.perf_counter``, seconds), and where the memory was full up to then."""

    def clear(self) -> None:
        """Forget what came."""
        self._end = 0
        self._reads.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing has come."""
        return not self._reads

    def read(self, fd: int, timeout: float) -> bool:
        """Take what comes next; False at the end of ``fd``, or when nothing came for ``timeout`` seconds."""
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
        """When each read came that has ``needle`` in it."""
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
        raise BenchError("more came than was ever written")
    return os.readv(fd, [memory])
