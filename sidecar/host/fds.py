"""Wait for descriptors: for a single one, or for all the pipes that one program writes to."""

from __future__ import annotations

import codecs
import os
import sys

PIPE_BYTES = 1 << 18
"""The pipe capacity that we ask the kernel for. With it a flood of output costs few turns of the loop."""

if sys.platform == "win32":
    import msvcrt
    import queue
    from collections.abc import Sequence
    from functools import partial

    from sidecar.host.windows import winapi
    from sidecar.threads import start_thread

    PIECES_WAITING = 8
    """How many reads the queue holds. If it is full, the program blocks in its write."""

    class Pipes:
        """See below. Windows cannot wait for a pipe, so each pipe has a thread. The threads determine the order."""

        def __init__(self, fds: Sequence[int]) -> None:
            """Own the descriptors."""
            self._fds = list(fds)
            self._came: queue.Queue[tuple[int, bytes]] = queue.Queue(PIECES_WAITING)
            self.open = len(self._fds)

        def start(self) -> None:
            """See below."""
            while self._fds:
                start_thread("pipe", partial(self._pass_on, self._fds[0]))
                del self._fds[0]

        def read(self, timeout_s: float | None) -> tuple[int, bytes] | None:
            """See below."""
            try:
                piece = self._came.get(timeout=timeout_s)
            except queue.Empty:
                return None
            self.open -= not piece[1]
            return piece

        def abandon(self) -> None:
            """Do nothing. The job holds the whole tree, so no process outside of it has the pipes, and they end."""

        def close(self) -> None:
            """See below. Each thread closes its own descriptor when it ends."""
            while self._fds:
                os.close(self._fds.pop())

        def _pass_on(self, fd: int) -> None:
            data = b"begin"
            while data:
                data = read_some(fd)
                self._came.put((fd, data))
            os.close(fd)

    def wait_readable(fd: int) -> None:
        """Return at once: on Windows a read from a pipe always blocks."""

    def wait_writable(fd: int) -> None:
        """Return at once: on Windows a write to a pipe always blocks."""

    def hung_up(fd: int) -> bool:
        """Return ``False``: on Windows only a read tells."""
        del fd
        return False

    def is_terminal(fd: int) -> bool:
        """Tell whether ``fd`` is a console. ``os.isatty`` is also true for the null device (NUL)."""
        return winapi.is_console(msvcrt.get_osfhandle(fd))

    def takes_escapes(fd: int) -> bool:
        """Return ``False``: a console shows colours only in a mode that has to be set, and old ones lack it."""
        del fd
        return False

    def encoding_of(fd: int) -> str:
        """Return the encoding for text to ``fd``: a console's code page, which Python itself does not use there."""
        return _had(os.device_encoding(fd) or _encoding_of_stdout())

else:
    import math
    import select
    import threading
    from collections.abc import Sequence

    class Pipes:
        """Reads several pipes as one, in the order of the writes as far as one reader can tell.

        If several pipes are readable, the one whose last read is longest ago comes first.
        """

        def __init__(self, fds: Sequence[int]) -> None:
            """Take over the descriptors. Raises ``OSError`` if the system has none to spare for one more pipe."""
            self._fds = list(fds)
            self._poll = select.poll()
            self._wakes: int | None
            self._wake: int | None
            self._wakes, self._wake = os.pipe()
            self._waking = threading.Lock()
            """Held while ``_wake`` is closed. A second close could hit a new descriptor with the same number."""
            for fd in (*self._fds, self._wakes):
                self._poll.register(fd, select.POLLIN)
            for fd in self._fds:
                widen(fd, PIPE_BYTES)

        @property
        def open(self) -> int:
            """How many pipes have not ended."""
            return len(self._fds)

        def start(self) -> None:
            """Begin to read. Raises ``SystemFailureError`` if this needs a thread and there is none to spare."""

        def read(self, timeout_s: float | None) -> tuple[int, bytes] | None:
            """Wait for data, without a bound if ``timeout_s`` is ``None``. Return a descriptor and its data.

            ``b""`` is the pipe's end; it is closed then. ``None``: the time is over, or the pipes were abandoned.
            """
            ready = dict(self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)))
            if self._wakes in ready:
                self.close()
                return None
            fd = next((fd for fd in self._fds if fd in ready), None)
            if fd is None:
                return None
            self._fds.remove(fd)
            data = read_some(fd)
            if data:
                self._fds.append(fd)
            else:
                self._poll.unregister(fd)
                os.close(fd)
                if not self._fds:
                    self.close()
            return fd, data

        def abandon(self) -> None:
            """Make the reading thread stop at once and close the pipes. Any thread may call this, at any time."""
            with self._waking:
                if self._wake is not None:
                    os.close(self._wake)
                    self._wake = None

        def close(self) -> None:
            """Close all pipes. No thread reads them now."""
            self.abandon()
            if self._wakes is not None:
                os.close(self._wakes)
                self._wakes = None
            while self._fds:
                os.close(self._fds.pop())

    def wait_readable(fd: int) -> None:
        """Block until a read of ``fd`` would return data or its end."""
        _wait(fd, select.POLLIN)

    def wait_writable(fd: int) -> None:
        """Block until a write to ``fd`` would take data, or fail for good."""
        _wait(fd, select.POLLOUT)

    def hung_up(fd: int) -> bool:
        """Tell whether the pipe's writer is gone. The pipe may still hold unread data."""
        poll = select.poll()
        poll.register(fd, select.POLLHUP)  # poll reports it unasked, but macOS skips a descriptor without events
        return bool(poll.poll(0))

    def is_terminal(fd: int) -> bool:
        """Tell whether ``fd`` is a terminal."""
        return os.isatty(fd)

    def takes_escapes(fd: int) -> bool:
        """Tell whether ``fd`` is a terminal that understands escape sequences: for colours, and to erase lines."""
        return os.isatty(fd) and os.environ.get("TERM") != "dumb"

    def encoding_of(fd: int) -> str:
        """Return the encoding for text to ``fd``. A frozen binary is in UTF-8 mode, but the terminal may not be."""
        del fd
        if not getattr(sys, "frozen", False):
            return _encoding_of_stdout()
        import locale  # only output for people needs it

        return _had(locale.getencoding())

    def _wait(fd: int, what: int) -> None:
        if os.isatty(fd):  # poll(2) of macOS does not support devices, by its manual
            wanted = ([fd], []) if what == select.POLLIN else ([], [fd])
            select.select(*wanted, [])
            return
        poll = select.poll()
        poll.register(fd, what)
        poll.poll()


def read_some(fd: int) -> bytes:
    """Read what is available. Block until there is some, even if ``fd`` is non-blocking. ``b""`` is the end."""
    while True:
        try:
            return os.read(fd, PIPE_BYTES)
        except BlockingIOError:
            wait_readable(fd)  # O_NONBLOCK belongs to the open file: another process that has it may set it
        except OSError:
            return b""  # EIO: the terminal is gone; EBADF: it was closed before we started. Both are the end


def _encoding_of_stdout() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no sys.stdout if it was closed at the start


def _had(encoding: str) -> str:
    """Return the encoding; ASCII if the frozen binary does not include it."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        return "ascii"
    return encoding


if sys.platform == "linux":
    import fcntl

    def widen(fd: int, size: int) -> None:
        """Make the pipe hold at least ``size`` bytes."""
        try:
            if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < size:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            pass  # EBADF: it is a file or a socket; EPERM: this user's pipes have reached their limit

else:

    def widen(fd: int, size: int) -> None:
        """Do nothing: only Linux can resize a pipe."""
