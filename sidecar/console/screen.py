"""The one writer of the terminal (or pipe): output above, a status line below; bounded, so that it never blocks the loop.

The status line is always the last line, and the cursor always stands at its begin: whatever a resize made of it is
below the cursor, and erasing from there takes exactly that away.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from sidecar.host.fds import wait_writable
from sidecar.wire.messages import ServiceLog

LOG_BYTES_WAITING = 1 << 20
"""So much output may wait for a slow terminal before the oldest is dropped (and counted)."""

BATCH_BYTES = 1 << 16
"""So much is written at once: the status line comes back in between."""

IDLE_S = 1.0
"""Between two looks at the status line when nothing happens."""

BUSY_S = 0.1
"""The same while something turns: only at the start and at the end of a run."""

ERASE = "\r\x1b[J"
CLEAR = "\r\x1b[H\x1b[2J"


class Bar:
    """What the screen needs for a status line."""

    def text(self) -> str:
        """The line as it is now, shorter than the terminal is wide; empty for none."""
        return ""

    def turns(self) -> bool:
        """Whether it has to be drawn often."""
        return False

    def allowed(self) -> bool:
        """Whether the terminal is ours to draw on."""
        return True


class Screen:
    """Takes text from any thread; ``run`` writes it."""

    def __init__(self, fd: int, format_log: Callable[[ServiceLog], str], bar: Bar | None, encoding: str) -> None:
        """Write to ``fd``. ``format_log`` is called in the writer's thread; without ``bar`` there is no status line."""
        self._fd = fd
        self._format_log = format_log
        self._bar = bar
        self._encoding = encoding
        self._changed = threading.Condition()
        self._queue: deque[str | list[ServiceLog]] = deque()
        """A log is in a list of its own, which is emptied when it is dropped."""
        self._logs: deque[tuple[list[ServiceLog], int]] = deque()
        self._log_bytes = 0
        self._dropped = 0
        self._stale = bar is not None
        self._hidden = False
        self._writing = False
        self._drawn = ""
        self._broken = False

    def put(self, text: str) -> None:
        """Add text of ours, whole lines; it is never dropped."""
        with self._changed:
            if not self._broken:
                self._queue.append(text)
                self._changed.notify_all()

    def put_log(self, message: ServiceLog) -> None:
        """Add output; drop the oldest if too much waits."""
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
                self._dropped += len(old.pop().lines)
            self._changed.notify_all()

    def refresh(self) -> None:
        """The status line has news, or the terminal has another size."""
        with self._changed:
            self._stale = self._bar is not None
            self._changed.notify_all()

    def hide(self, timeout_s: float) -> None:
        """Write what waits and take the status line away; wait for that, but not longer than this."""
        with self._changed:
            self._hidden = True
            self._stale = self._bar is not None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._broken or not (self._queue or self._stale or self._writing), timeout_s)

    def show(self) -> None:
        """The end of ``hide``."""
        with self._changed:
            self._hidden = False
        self.refresh()

    def run(self) -> None:
        """The writer thread's body; it ends when nobody reads any more."""
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._stale, self._pace())
                self._stale = False
                batch = self._take_batch()
                self._writing = True
            if not self._write(self._compose(batch).encode(self._encoding, "replace")):
                break
        with self._changed:
            self._broken = True
            self._writing = False
            self._queue.clear()
            self._logs.clear()
            self._changed.notify_all()

    def _pace(self) -> float | None:
        if self._bar is None or self._hidden:
            return None
        return BUSY_S if self._bar.turns() and self._bar.allowed() else IDLE_S

    def _take_batch(self) -> list[str | ServiceLog]:
        batch: list[str | ServiceLog] = []
        if self._dropped:
            batch.append(f"… {self._dropped} lines were dropped here: they came faster than they could be shown\n")
            self._dropped = 0
        size = 0
        while self._queue and size < BATCH_BYTES:
            item = self._queue.popleft()
            if isinstance(item, str):
                batch.append(item)
                size += len(item)
            elif item:
                _, freed = self._logs.popleft()
                self._log_bytes -= freed
                batch.append(item[0])
                size += freed
        return batch

    def _compose(self, batch: list[str | ServiceLog]) -> str:
        text = "".join(item if isinstance(item, str) else self._format_log(item) for item in batch)
        if self._bar is None:
            return text
        ours = self._bar.allowed()
        line = self._bar.text() if ours and not self._hidden else ""
        erase = ERASE if self._drawn and ours else ""  # in the background the shell's prompt stands there by now
        self._drawn = line
        if text or not line:
            return f"{erase}{text}{line}\r" if line else f"{erase}{text}"
        return f"\r{line}\x1b[J\r"  # over the old one, without a flicker

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                wait_writable(self._fd)  # somebody else made the terminal non-blocking
            except OSError:
                return False  # EIO: the terminal is gone; EPIPE: the reader is; EBADF: stdout was never there
        return True
