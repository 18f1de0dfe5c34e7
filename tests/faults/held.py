"""Block every opener of a file, so that a test can hold the sidecar in the middle of an operation.

The test takes a lease on the file (fcntl(2), F_SETLEASE). An open(2) or execve(2) of the file then blocks until the
test releases the lease. A blocked opener can still be killed. The sidecar's code needs no change for this.
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
    """A lease on a file that no process has open. An open breaks it after /proc/sys/fs/lease-break-time (45 s)."""

    def __init__(self, path: Path) -> None:
        """Take the lease. Raises ``OSError`` if the file system has no leases."""
        self._fd: int | None = os.open(path, os.O_RDONLY)
        fcntl.fcntl(
            self._fd, F_SETSIG, signal.SIGURG
        )  # the kernel signals us at an open; the default would be SIGIO, which kills
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def await_opener(self) -> None:
        """Wait until a process is blocked opening the file."""
        fd = self._fd
        assert fd is not None
        until(lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_WRLCK, f"a process that opens {self._path}")

    def release(self) -> None:
        """Release the lease, so that blocked openers go on."""
        if self._fd is not None:
            fcntl.fcntl(
                self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK
            )  # explicitly: a child may hold a copy of the descriptor
            os.close(self._fd)
            self._fd = None
