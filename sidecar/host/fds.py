"""Waiting on single descriptors."""

from __future__ import annotations

import codecs
import os
import sys

if sys.platform == "win32":
    import msvcrt

    from sidecar.host.windows import winapi

    def wait_readable(fd: int) -> None:
        """Return at once: a pipe's read always blocks here."""

    def wait_writable(fd: int) -> None:
        """Return at once: a pipe's write always blocks here."""

    def hung_up(fd: int) -> bool:
        """``False``: here only a read tells."""
        del fd
        return False

    def is_terminal(fd: int) -> bool:
        """Whether it is a console. For ``os.isatty`` the empty device (NUL) is one, too."""
        return winapi.is_console(msvcrt.get_osfhandle(fd))

    def takes_escapes(fd: int) -> bool:
        """``False``: a console has to be switched to colours first, and old ones cannot be."""
        del fd
        return False

    def encoding_of(fd: int) -> str:
        """How text is written to ``fd``: a console has a code page, which is not what Python itself writes there."""
        return _had(os.device_encoding(fd) or _encoding_of_stdout())

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
        poll.register(fd, select.POLLHUP)  # it is told unasked, but macOS does not even look where nothing is asked
        return bool(poll.poll(0))

    def is_terminal(fd: int) -> bool:
        """Whether a person may be there."""
        return os.isatty(fd)

    def takes_escapes(fd: int) -> bool:
        """Whether it is a terminal that colours text, and whose lines can be taken away again."""
        return os.isatty(fd) and os.environ.get("TERM") != "dumb"

    def encoding_of(fd: int) -> str:
        """How text is written to ``fd``. A frozen binary itself is in UTF-8 mode, whatever the terminal is in."""
        del fd
        if not getattr(sys, "frozen", False):
            return _encoding_of_stdout()
        import locale  # only who writes for people wants to know

        return _had(locale.getencoding())

    def _wait(fd: int, what: int) -> None:
        if os.isatty(fd):  # of macOS's poll(2) its manual says that it does not support devices
            wanted = ([fd], []) if what == select.POLLIN else ([], [fd])
            select.select(*wanted, [])
            return
        poll = select.poll()
        poll.register(fd, what)
        poll.poll()


def _encoding_of_stdout() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no sys.stdout if it was closed at the start


def _had(encoding: str) -> str:
    """The encoding; or ASCII instead of one that a frozen binary leaves out."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        return "ascii"
    return encoding


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
