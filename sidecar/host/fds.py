"""Waiting on descriptors: on single ones, and on all the pipes that one program writes to."""

from __future__ import annotations

import codecs
import os
import sys

PIPE_BYTES = 1 << 18
"""What we ask the kernel to let a pipe hold, so that a flood costs few turns of the loop."""

if sys.platform == "win32":
    import msvcrt
    import queue
    from collections.abc import Sequence
    from functools import partial

    from sidecar.host.windows import winapi
    from sidecar.threads import start_thread

    PIECES_WAITING = 8
    """So many reads may wait for who takes them; the program waits in its pipe meanwhile."""

    class Pipes:
        """See below. A pipe cannot be waited for here, so each has a thread, and order is what the threads make it."""

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

        def close(self) -> None:
            """See below. A thread closes its own at its end."""
            while self._fds:
                os.close(self._fds.pop())

        def _pass_on(self, fd: int) -> None:
            data = b"begin"
            while data:
                data = read_some(fd)
                self._came.put((fd, data))
            os.close(fd)

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
    import math
    import select
    from collections.abc import Sequence

    class Pipes:
        """Reads several pipes as one: what was written first comes first, as far as one reader can tell.

        Where several have something, the one that was read longest ago comes first.
        """

        def __init__(self, fds: Sequence[int]) -> None:
            """Own the descriptors."""
            self._fds = list(fds)
            self._poll = select.poll()
            for fd in self._fds:
                self._poll.register(fd, select.POLLIN)
                widen(fd, PIPE_BYTES)

        @property
        def open(self) -> int:
            """How many have not ended."""
            return len(self._fds)

        def start(self) -> None:
            """Begin to read. Raises ``SystemFailureError``, where that takes a thread and there is none to spare."""

        def read(self, timeout_s: float | None) -> tuple[int, bytes] | None:
            """Wait so long, or for ever; the descriptor and what was in it. ``b""`` is its end, and closes it."""
            ready = dict(self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)))
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
            return fd, data

        def close(self) -> None:
            """Nobody reads."""
            while self._fds:
                os.close(self._fds.pop())

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


def read_some(fd: int) -> bytes:
    """Read what there is, blocking even if somebody made the descriptor non-blocking; ``b""`` is the end."""
    while True:
        try:
            return os.read(fd, PIPE_BYTES)
        except BlockingIOError:
            wait_readable(fd)  # O_NONBLOCK belongs to the pipe, not to us: the other end's owner may set it
        except OSError:
            return b""  # EIO: a terminal went away; EBADF: it was closed before we started. Both are the end


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
