"""A file at which whoever opens it is stopped: how a test holds the sidecar in the middle of something.

It is a lease (fcntl(2), F_SETLEASE): the kernel lets an open(2) or an execve(2) of the file wait until the lease is
given back, and the opener dies there like anywhere else. Nothing in the sidecar knows of it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("leases are Linux's")

from tests.support.waiting import until

F_SETSIG = 10
"""fcntl(2); Python has no name for it."""


class Held:
    """A lease on a file that nobody has open. The kernel takes it away after /proc/sys/fs/lease-break-time (45 s)."""

    def __init__(self, path: Path) -> None:
        """Take it. Raises ``OSError`` where the file system knows no leases."""
        self._fd: int | None = os.open(path, os.O_RDONLY)
        fcntl.fcntl(self._fd, F_SETSIG, signal.SIGURG)  # of an opener we are told by a signal, which this one ignores
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def await_opener(self) -> None:
        """Somebody wants to open it, and waits."""
        fd = self._fd
        assert fd is not None
        until(lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_WRLCK, f"somebody who opens {self._path}")

    def release(self) -> None:
        """Let go of it, and of who waits."""
        if self._fd is not None:
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)  # a child of ours may have the descriptor, too
            os.close(self._fd)
            self._fd = None
