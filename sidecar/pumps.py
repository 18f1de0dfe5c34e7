"""Threads that only read a program's output, or only write, and the bounded outbox before a slow client."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from sidecar.core.readiness import plain
from sidecar.events import Output
from sidecar.host.fds import PIPE_BYTES, Pipes, wait_writable, widen
from sidecar.wire.framing import OutputSplitter, shorten
from sidecar.wire.messages import Stream
from sidecar.wire.session import notification

CHUNKS_IN_FLIGHT = 8
"""So many chunks of a stream may wait for the loop: a child that writes faster waits in its pipe, not in our memory."""

OUTPUT_BYTES_PACED = 1 << 20
"""While so much output waits for a client that reads, a child that writes faster waits, too, and nothing is dropped."""

PARTIAL_S = 0.1
"""A line that has not ended after so long is told as it is: a question has no end, and a progress bar no end soon.
Not more often either."""

PACE_S = 0.1
"""A client that took nothing for so long is slow: children do not wait for it, its output is dropped instead."""

OUTPUT_BYTES_WAITING = 4 << 20
"""So much output may wait for a slow client before the oldest is dropped (and counted)."""

REPLY_BYTES_WAITING = 4 << 20
"""So much else may wait before we stop reading requests: the client has to read its answers first."""


class _Line:
    """The unfinished line of one stream."""

    def __init__(self) -> None:
        self.splitter = OutputSplitter()
        self.since: float | None = None
        """When it began to be more than was told of it."""
        self.told = ""


class OutputPump:
    """Reads the output of one program: lines to ``emit``, or what there is of one that does not end."""

    def __init__(
        self,
        pipes: Pipes,
        streams: Mapping[int, Stream],
        emit: Callable[[Stream, tuple[str, ...], str, int, OutputPump], None],
        ended: Callable[[], None],
        pace: Callable[[], None],
        *,
        keep_ansi: bool,
    ) -> None:
        """``streams`` names what comes from which descriptor; ``ended`` is called at the end of each.

        Whoever takes what ``emit`` was given calls ``taken`` once for each.
        """
        self._pipes = pipes
        self._streams = streams
        self._lines = {fd: _Line() for fd in streams}
        self._emit = emit
        self._ended = ended
        self._pace = pace
        self._keep_ansi = keep_ansi
        self._room = threading.Semaphore(CHUNKS_IN_FLIGHT)

    def taken(self) -> None:
        """One chunk was dealt with."""
        self._room.release()

    def run(self) -> None:
        """The thread's body."""
        while self._pipes.open:
            found = self._pipes.read(self._patience())
            if found is not None:
                self._receive(*found)
            self._tell_unfinished()

    def _patience(self) -> float | None:
        since = min((line.since for line in self._lines.values() if line.since is not None), default=None)
        return None if since is None else max(0.0, since + PARTIAL_S - time.monotonic())

    def _receive(self, fd: int, data: bytes) -> None:
        if not data:
            self._finish(fd)
            return
        line = self._lines[fd]
        coloured = b"\x1b" in data or b"\x1b" in line.splitter.rest
        lines = line.splitter.receive(data)
        if lines:
            line.since, line.told = None, ""
            self._pass_on(fd, lines, "", len(data), coloured=coloured)
        if line.since is None and line.splitter.rest:
            line.since = time.monotonic()

    def _finish(self, fd: int) -> None:
        line = self._lines.pop(fd)
        last = line.splitter.finish()
        if last:
            self._pass_on(fd, last, "", sum(map(len, last)), coloured=True)
        self._ended()

    def _tell_unfinished(self) -> None:
        now = time.monotonic()
        for fd, line in self._lines.items():
            if line.since is None or line.since + PARTIAL_S > now:
                continue
            line.since = None
            text = line.splitter.unfinished()
            text = shorten(text if self._keep_ansi else plain(text))
            if text.strip() and text != line.told:
                line.told = text
                self._pass_on(fd, (), text, len(text), coloured=False)

    def _pass_on(self, fd: int, lines: tuple[str, ...], partial: str, size: int, *, coloured: bool) -> None:
        if coloured and not self._keep_ansi:
            lines = tuple(map(plain, lines))
        self._room.acquire()
        self._pace()
        self._emit(self._streams[fd], lines, partial, size, self)


Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """What waits for a slow reader, in order: items that must arrive, and output, whose oldest may be dropped.

    Two queues under one numbering, so that what is dropped leaves nothing behind in the other.
    """

    def __init__(self, limit: int) -> None:
        """At most ``limit`` bytes of output wait."""
        self._limit = limit
        self._count = 0
        self._items: deque[tuple[int, Item]] = deque()
        self._outputs: deque[tuple[int, Output]] = deque()
        self.output_size = 0
        """How many bytes of output wait."""

    def __bool__(self) -> bool:
        return bool(self._items or self._outputs)

    def put(self, item: Item) -> None:
        """Add what must arrive."""
        self._count += 1
        self._items.append((self._count, item))

    def put_output(self, output: Output) -> list[Output]:
        """Add output; what had to be dropped for it."""
        self._supersede(output)
        self._count += 1
        self._outputs.append((self._count, output))
        self.output_size += output.size
        dropped = []
        while self.output_size > self._limit and len(self._outputs) > 1:
            dropped.append(self._pop_output())
        return dropped

    def pop(self) -> Item | Output:
        """Take the oldest. Raises ``IndexError`` if nothing waits."""
        if self._outputs and (not self._items or self._outputs[0][0] < self._items[0][0]):
            return self._pop_output()
        return self._items.popleft()[1]

    def clear(self) -> None:
        """Nobody will read it any more."""
        self._items.clear()
        self._outputs.clear()
        self.output_size = 0

    def _supersede(self, output: Output) -> None:
        """Forget an unfinished line that still waits: this has more of it. A bar's frames must not pile up."""
        for at in range(len(self._outputs) - 1, -1, -1):
            _, waiting = self._outputs[at]
            if not waiting.partial:
                return
            if (waiting.service, waiting.run, waiting.stream) == (output.service, output.run, output.stream):
                del self._outputs[at]
                self.output_size -= waiting.size
                return

    def _pop_output(self) -> Output:
        _, output = self._outputs.popleft()
        self.output_size -= output.size
        return output


def write_all(fd: int, data: bytes) -> bool:
    """Write all of it, blocking even if somebody made the descriptor non-blocking; whether somebody can still read."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            wait_writable(fd)  # O_NONBLOCK belongs to the pipe or terminal, not to us: the other end's owner may set it
        except OSError:
            return False  # EPIPE: the reader is gone; EIO: the terminal is; EBADF: it was closed before we started
    return True


class Outbox:
    """What waits for the client: everything in order, bounded.

    Output lines may be dropped, oldest first, and are counted; all else is kept, and too much of it closes the gate
    through which requests come.
    """

    def __init__(self, fd: int) -> None:
        """Write to ``fd``."""
        self._fd = fd
        self._changed = threading.Condition()
        self._backlog: Backlog[bytes] = Backlog(OUTPUT_BYTES_WAITING)
        self._reply_bytes = 0
        self._dropped: dict[tuple[str, str], int] = {}
        self._writing = False
        self._broken = False
        self._slow = False
        """Whether the client was waited for in vain since our last write."""

    def put(self, data: bytes) -> None:
        """Add a message that must arrive."""
        with self._changed:
            if not self._broken:
                self._backlog.put(data)
                self._reply_bytes += len(data)
                self._changed.notify_all()

    def put_output(self, output: Output) -> None:
        """Add output; drop the oldest if too much waits."""
        with self._changed:
            if self._broken:
                return
            for lost in self._backlog.put_output(output):
                key = (lost.service, lost.stream)
                self._dropped[key] = self._dropped.get(key, 0) + len(lost.lines)
            self._changed.notify_all()

    def pace(self) -> None:
        """Hold the reader of a child's output while the client is behind, unless it does not read at all."""
        with self._changed:
            if self._backlog.output_size > OUTPUT_BYTES_PACED and not self._slow:
                self._slow = not self._changed.wait_for(self._has_caught_up, PACE_S)

    def _has_caught_up(self) -> bool:
        return self._backlog.output_size <= OUTPUT_BYTES_PACED or self._broken

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
            return self._changed.wait_for(lambda: not self._backlog and not self._writing, timeout_s)

    def run(self) -> None:
        """The writer thread's body."""
        widen(self._fd, PIPE_BYTES)
        while True:
            with self._changed:
                self._writing = False
                self._slow = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._backlog)
                data = self._next_batch()
                self._writing = True
            if not write_all(self._fd, data):
                with self._changed:
                    # nobody will read any more. The services go on; the app's death is noticed elsewhere
                    self._broken = True
                    self._writing = False
                    self._backlog.clear()
                    self._changed.notify_all()
                return

    def _next_batch(self) -> bytes:
        """One message, or all short ones that wait, up to a pipe's buffer."""
        parts: list[bytes] = []
        size = 0
        while self._backlog and size < PIPE_BYTES:
            item = self._backlog.pop()
            if isinstance(item, bytes):
                self._reply_bytes -= len(item)
                data = item
            else:
                dropped = self._dropped.pop((item.service, item.stream), 0)
                data = notification(item.message(dropped))
            parts.append(data)
            size += len(data)
        return b"".join(parts)
