"""The threads that read programs' output and that write to the client, and the bounded outbox for a slow client."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from sidecar.core.events import Output
from sidecar.core.readiness import plain
from sidecar.host.fds import PIPE_BYTES, Pipes, wait_writable, widen
from sidecar.protocol.framing import OutputSplitter, shorten
from sidecar.protocol.messages import Stream
from sidecar.protocol.rpc import notification

BYTES_IN_FLIGHT = 2 << 20
"""How much of a program's output may wait for the loop, in memory. A program that writes faster blocks in its write."""

OUTPUT_BYTES_PACED = 2 << 20
"""If more output than this waits for a client that reads, we pause reading from children. So nothing is dropped."""

LINES_AT_ONCE = 8 << 10
DENSE_BYTES = 16 << 10
"""We split a read with more lines than ``LINES_AT_ONCE`` into pieces of this size: short lines take 20 times as much
memory as in the pipe."""

LINE_BYTES = 64
"""The memory of each line of ASCII beside its characters: an object's header, and a pointer to it."""
POINTER_BYTES = 8
OUTPUT_BYTES = 256
"""The memory of the object that holds the lines of one read."""

PARTIAL_S = 0.1
"""A line without an end is sent unfinished after this time, and again at most once in this time. A question has no line
end, and a progress bar ends late."""

PACE_S = 0.1
"""A client that takes nothing for this long is slow. Children no longer wait for it; its output is dropped instead."""

OUTPUT_BYTES_WAITING = 8 << 20
"""How much output may wait for a slow client, in memory. Beyond it the oldest is dropped, and counted."""

REPLY_BYTES_WAITING = 4 << 20
"""How much else may wait. Beyond it we stop reading requests: the client has to read its answers first."""


class _Line:
    """The unfinished line of one stream."""

    def __init__(self) -> None:
        self.splitter = OutputSplitter()
        self.since: float | None = None
        """When it first had text that was not sent yet; ``None`` if all was sent."""
        self.told = ""


class _Room:
    """Memory for output that waits for the loop. There is always room for one piece, however large."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait for room, and take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + size <= self._size)
            self._taken += size

    def give_back(self, size: int) -> None:
        """Free what was taken."""
        with self._changed:
            self._taken -= size
            self._changed.notify()


def memory_of(lines: tuple[str, ...], size: int, *, ascii_only: bool) -> int:
    """Estimate the memory that lines take. ``size`` is their size in bytes as they were read."""
    if ascii_only:
        return OUTPUT_BYTES + size + LINE_BYTES * len(lines)
    # the widest character decides the width of a line's characters; asking costs less than making the line did
    return OUTPUT_BYTES + sum(map(str.__sizeof__, lines)) + 2 * POINTER_BYTES * len(lines)


class OutputPump:
    """Reads the output of one program and gives it to ``emit``: whole lines, or the text of an unfinished line."""

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
        """``streams`` names the stream of each descriptor. ``ended`` is called at the end of each stream.

        The receiver of ``emit`` calls ``taken`` with the size, once for each call.
        """
        self._pipes = pipes
        self._streams = streams
        self._lines = {fd: _Line() for fd in streams}
        self._emit = emit
        self._ended = ended
        self._pace = pace
        self._keep_ansi = keep_ansi
        self._room = _Room(BYTES_IN_FLIGHT)

    def taken(self, size: int) -> None:
        """Free the memory of output that the loop has handled."""
        self._room.give_back(size)

    def abandon(self) -> None:
        """Stop reading: the program is dead, but a process outside of its tree still has its pipes."""
        self._pipes.abandon()

    def run(self) -> None:
        """Read until all pipes have ended. This is the thread's body."""
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
        for piece in _in_pieces(data):
            rest = line.splitter.rest
            coloured = b"\x1b" in piece or b"\x1b" in rest
            lines = line.splitter.receive(piece)
            if lines:
                line.since, line.told = None, ""
                ascii_only = piece.isascii() and rest.isascii()
                size = memory_of(lines, len(rest) + len(piece), ascii_only=ascii_only)
                self._pass_on(fd, lines, "", size, coloured=coloured)
        if line.since is None and line.splitter.rest:
            line.since = time.monotonic()

    def _finish(self, fd: int) -> None:
        line = self._lines.pop(fd)
        last = line.splitter.finish()
        if last:
            self._pass_on(fd, last, "", memory_of(last, 0, ascii_only=False), coloured=True)
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
                self._pass_on(fd, (), text, memory_of((text,), 0, ascii_only=False), coloured=False)

    def _pass_on(self, fd: int, lines: tuple[str, ...], partial: str, size: int, *, coloured: bool) -> None:
        if coloured and not self._keep_ansi:
            lines = tuple(map(plain, lines))
        self._room.take(size)
        self._pace()
        self._emit(self._streams[fd], lines, partial, size, self)


def _in_pieces(data: bytes) -> Iterable[bytes]:
    """Return what was read. Split it if it has very many lines."""
    if data.count(b"\n") <= LINES_AT_ONCE:
        return (data,)
    return (data[at : at + DENSE_BYTES] for at in range(0, len(data), DENSE_BYTES))


Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """What waits for a slow reader, in order: items that must arrive, and output, which may be dropped, oldest first.

    Items and output have a queue each, with a common numbering. So dropped output leaves nothing behind in the other
    queue.
    """

    def __init__(self, limit: int) -> None:
        """At most ``limit`` bytes of output wait."""
        self._limit = limit
        self._count = 0
        self._items: deque[tuple[int, Item]] = deque()
        self._outputs: deque[tuple[int, Output]] = deque()
        self.output_size = 0
        """The memory of the waiting output, in bytes."""

    def __bool__(self) -> bool:
        return bool(self._items or self._outputs)

    def put(self, item: Item) -> None:
        """Add an item that must arrive."""
        self._count += 1
        self._items.append((self._count, item))

    def put_output(self, output: Output) -> list[Output]:
        """Add output. Return what had to be dropped for it."""
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
        """Drop everything: there is no reader any more."""
        self._items.clear()
        self._outputs.clear()
        self.output_size = 0

    def _supersede(self, output: Output) -> None:
        """Drop an unfinished line that still waits: ``output`` has more of it. So frames of a bar do not pile up."""
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
    """Write all data. Block for it, even if the descriptor is non-blocking. Return whether there still is a reader."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            wait_writable(fd)  # O_NONBLOCK belongs to the open file: another process that has it may set it
        except OSError:
            return False  # EPIPE: the reader is gone; EIO: the terminal is gone; EBADF: closed before we started
    return True


class Outbox:
    """What waits for the client: everything in order, bounded.

    Output may be dropped, oldest first; the dropped lines are counted. Everything else is kept. If too much of that
    waits, we stop reading requests (``wait_for_room``).
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
        """Whether a wait for the client has timed out since our last write."""

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
        """Pause the reader of a child's output while the client is behind, unless the client does not read at all."""
        with self._changed:
            if self._backlog.output_size > OUTPUT_BYTES_PACED and not self._slow:
                self._slow = not self._changed.wait_for(self._has_caught_up, PACE_S)

    def _has_caught_up(self) -> bool:
        return self._backlog.output_size <= OUTPUT_BYTES_PACED or self._broken

    def wait_for_room(self, hung_up: Callable[[], bool]) -> bool:
        """Block while the client does not read its answers. Return ``False`` if the client has gone meanwhile."""
        with self._changed:
            while self._reply_bytes > REPLY_BYTES_WAITING and not self._broken:
                if hung_up():
                    return False
                self._changed.wait(0.25)  # the client's death shows only on another descriptor, so check that again
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written, at most ``timeout_s``. Return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._backlog and not self._writing, timeout_s)

    def run(self) -> None:
        """Write what waits, until the client is gone. This is the thread's body."""
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
                    # there is no reader any more. The services go on; other threads notice the app's death
                    self._broken = True
                    self._writing = False
                    self._backlog.clear()
                    self._changed.notify_all()
                return

    def _next_batch(self) -> bytes:
        """Take one message, or all short ones that wait, up to a pipe's buffer."""
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
