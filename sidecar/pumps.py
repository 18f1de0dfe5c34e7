"""Threads that only read (or write) one descriptor, and the bounded outbox between the runtime and a slow client."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from sidecar.core.readiness import plain
from sidecar.host.fds import wait_readable, wait_writable
from sidecar.wire.framing import OutputSplitter
from sidecar.wire.messages import ServiceLog
from sidecar.wire.session import notification

READ_BYTES = 1 << 16
"""A pipe's whole buffer on Linux."""

CHUNKS_IN_FLIGHT = 8
"""So many chunks of a stream may wait for the loop: a child that writes faster waits in its pipe, not in our memory."""

LOG_BYTES_WAITING = 4 << 20
"""So much output may wait for a slow client before the oldest is dropped (and counted)."""

REPLY_BYTES_WAITING = 4 << 20
"""So much else may wait before we stop reading requests: the client has to read its answers first."""


def start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` in a thread that does not keep the process alive."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def read_some(fd: int) -> bytes:
    """Read what there is, blocking even if somebody made the descriptor non-blocking; ``b""`` is the end."""
    while True:
        try:
            return os.read(fd, READ_BYTES)
        except BlockingIOError:
            wait_readable(fd)  # O_NONBLOCK belongs to the pipe, not to us: the other end's owner may set it
        except OSError:
            return b""  # EIO: a terminal went away; EBADF: it was closed before we started. Both are the end


class StreamPump:
    """Reads one output stream of one child: lines to ``emit``, and ``ended`` at its end."""

    def __init__(
        self,
        fd: int,
        emit: Callable[[tuple[str, ...], StreamPump], None],
        ended: Callable[[], None],
        *,
        keep_ansi: bool,
    ) -> None:
        """Own ``fd``. Whoever takes lines calls ``taken`` once for each ``emit``."""
        self._fd = fd
        self._emit = emit
        self._ended = ended
        self._keep_ansi = keep_ansi
        self._room = threading.Semaphore(CHUNKS_IN_FLIGHT)

    def taken(self) -> None:
        """One chunk was dealt with."""
        self._room.release()

    def run(self) -> None:
        """The thread's body."""
        splitter = OutputSplitter()
        while data := read_some(self._fd):
            self._pass_on(splitter.receive(data), coloured=b"\x1b" in data)
        self._pass_on(splitter.finish(), coloured=True)
        os.close(self._fd)
        self._ended()

    def _pass_on(self, lines: tuple[str, ...], *, coloured: bool) -> None:
        if coloured and not self._keep_ansi:
            lines = tuple(map(plain, lines))
        if lines:
            self._room.acquire()
            self._emit(lines, self)


class Outbox:
    """What waits for the client: everything in order, bounded.

    Output lines may be dropped, oldest first, and are counted; all else is kept, and too much of it closes the gate
    through which requests come.
    """

    def __init__(self, fd: int) -> None:
        """Write to ``fd``."""
        self._fd = fd
        self._changed = threading.Condition()
        self._queue: deque[bytes | list[ServiceLog]] = deque()
        """A log is in a list of its own, which is emptied when it is dropped."""
        self._logs: deque[tuple[list[ServiceLog], int]] = deque()
        self._log_bytes = 0
        self._reply_bytes = 0
        self._dropped: dict[tuple[str, str], int] = {}
        self._writing = False
        self._broken = False

    def put(self, data: bytes) -> None:
        """Add a message that must arrive."""
        with self._changed:
            if not self._broken:
                self._queue.append(data)
                self._reply_bytes += len(data)
                self._changed.notify_all()

    def put_log(self, message: ServiceLog) -> None:
        """Add output; drop the oldest output if too much waits."""
        size = sum(map(len, message.lines)) + len(message.lines)
        with self._changed:
            if self._broken:
                return
            cell = [message]
            self._queue.append(cell)
            self._logs.append((cell, size))
            self._log_bytes += size
            while self._log_bytes > LOG_BYTES_WAITING and len(self._logs) > 1:
                old, freed = self._logs.popleft()
                self._log_bytes -= freed
                lost = old.pop()
                key = (lost.service, lost.stream)
                self._dropped[key] = self._dropped.get(key, 0) + len(lost.lines) + lost.dropped
            self._changed.notify_all()

    def wait_for_room(self, hung_up: Callable[[], bool]) -> bool:
        """Block while the client does not read its answers; ``False`` if it has gone meanwhile."""
        with self._changed:
            while self._reply_bytes > REPLY_BYTES_WAITING and not self._broken:
                if hung_up():
                    return False
                self._changed.wait(0.25)  # the client's death is a notice on another descriptor: look there, too
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written, at most so long; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._writing, timeout_s)

    def run(self) -> None:
        """The writer thread's body."""
        while True:
            with self._changed:
                self._writing = False
                if not self._queue:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue)
                data = self._next_batch()
                self._writing = True
            if data and not self._write(data):
                with self._changed:
                    # EPIPE: nobody will read any more. The services go on; the app's death is noticed elsewhere.
                    self._broken = True
                    self._writing = False
                    self._queue.clear()
                    self._changed.notify_all()
                return

    def _next_batch(self) -> bytes:
        """One message, or all short ones that wait, up to a pipe's buffer."""
        parts: list[bytes] = []
        size = 0
        while self._queue and size < READ_BYTES:
            item = self._queue.popleft()
            if isinstance(item, bytes):
                self._reply_bytes -= len(item)
                data = item
            elif item:
                data = self._log_bytes_of(item[0])
            else:
                continue  # it was dropped
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def _log_bytes_of(self, message: ServiceLog) -> bytes:
        _, size = self._logs.popleft()
        self._log_bytes -= size
        dropped = self._dropped.pop((message.service, message.stream), 0)
        return notification(msgspec.structs.replace(message, dropped=dropped) if dropped else message)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                wait_writable(self._fd)  # the other end's owner made the pipe non-blocking
            except OSError:
                return False  # EPIPE: the reader is gone; EBADF: stdout was closed when we were started
        return True
