"""Waiting on single descriptors."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def wait_readable(fd: int) -> None:
        """Return at once: a pipe's read always blocks here."""

    def wait_writable(fd: int) -> None:
        """Return at once: a pipe's write always blocks here."""

    def hung_up(fd: int) -> bool:
        """``False``: here only a read tells."""
        del fd
        return False

else:
    import select

    def wait_readable(fd: int) -> None:
        """Block until a read of ``fd`` gives something (data or its end)."""
        _wait(fd, select.POLLIN)

    def wait_writable(fd: int) -> None:
        """Block until a write to ``fd`` takes something (or fails for good)."""
        _wait(fd, select.POLLOUT)

    def hung_up(fd: int) -> bool:
        """Whether the writer of this pipe has gone, though it may have left something unread in it."""
        poll = select.poll()
        poll.register(fd, 0)  # POLLHUP needs not be asked for
        return bool(poll.poll(0))

    def _wait(fd: int, what: int) -> None:
        poll = select.poll()
        poll.register(fd, what)
        poll.poll()


if sys.platform == "linux":
    import fcntl

    def widen(fd: int, size: int) -> None:
        """Let a pipe hold so many bytes."""
        try:
            if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < size:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            pass  # EBADF: it is a file or a socket; EPERM: this user's pipes hold as much as they may

else:

    def widen(fd: int, size: int) -> None:
        """Leave it: only Linux's pipes can be resized."""
