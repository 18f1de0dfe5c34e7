"""The one writer of the terminal (or pipe): output above, a status line below. It is bounded and never blocks the loop.

The status line is always the last line; above it stand the lines that programs have not ended yet. The cursor always
stands at the begin of all that: whatever a resize made of it is below the cursor, and erasing from there takes exactly
that away.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from sidecar.console.look import Look
from sidecar.console.unfinished import Unfinished
from sidecar.console.words import WARN, Line
from sidecar.events import Output
from sidecar.pumps import Backlog, write_all

LOG_BYTES_WAITING = 1 << 20
"""So much output may wait for a slow terminal before the oldest is dropped (and counted)."""

BATCH_BYTES = 1 << 16
"""So much is written at once: the status line comes back in between."""

UNFINISHED_SHOWN = 4
"""So many unfinished lines are drawn at most, and fewer on a low terminal."""

WINDOW = (80, 24)
"""The size to assume where the terminal does not say."""

ERASE = "\r\x1b[J"
CLEAR = "\r\x1b[H\x1b[2J"


Item = Line | str
"""A line of ours, or text that is written as it is."""


class Bar(Protocol):
    """What the screen needs for a status line. Called in the writer's thread."""

    def text(self, look: Look) -> str:
        """The line as it is now, shorter than the terminal is wide; empty for none."""
        ...

    def pace(self) -> float:
        """In how many seconds it has to be drawn again, if nothing happens."""
        ...

    def allowed(self) -> bool:
        """Whether the terminal is ours to draw on."""
        ...


class Screen:
    """Takes lines from any thread; ``run`` writes them."""

    def __init__(self, fd: int, load: Callable[[], Look], bar: Bar | None, encoding: str) -> None:
        """Write to ``fd``. ``load`` is called once, in the writer's thread; only a rich look draws the ``bar``."""
        self._fd = fd
        self._load = load
        self._bar = bar
        self._encoding = encoding
        self._changed = threading.Condition()
        self._backlog: Backlog[Item] = Backlog(LOG_BYTES_WAITING)
        self._dropped = 0
        self._stale = bar is not None
        self._hidden = False
        self._writing = True
        """Also before the first look at the queue: what is put until then is on its way."""
        self._drawn = False
        self._broken = False
        self._ending = False
        self._unfinished = Unfinished()

    def put(self, *items: Item) -> None:
        """Add lines of ours (or text that is written as it is); they are never dropped."""
        with self._changed:
            if not self._broken:
                for item in items:
                    self._backlog.put(item)
                self._changed.notify_all()

    def put_output(self, output: Output) -> None:
        """Add output; drop the oldest if too much waits."""
        with self._changed:
            if self._broken:
                return
            self._dropped += sum(len(lost.lines) for lost in self._backlog.put_output(output))
            self._changed.notify_all()

    def refresh(self) -> None:
        """The status line has news, or the terminal has another size."""
        with self._changed:
            self._stale = self._bar is not None
            self._changed.notify_all()

    def hide(self, timeout_s: float, *, ending: bool = False) -> None:
        """Write what waits and take the status line away; wait for that, but not longer than this.

        ``ending`` says that nothing comes any more: no unfinished line waits for its end.
        """
        with self._changed:
            self._hidden = True
            self._ending = ending
            self._stale = ending or self._bar is not None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._broken or not (self._waits() or self._writing), timeout_s)

    def show(self) -> None:
        """The end of ``hide``."""
        with self._changed:
            self._hidden = False
        self.refresh()

    def run(self) -> None:
        """The writer thread's body; it ends when nobody reads any more."""
        look = self._load()
        if not look.rich:
            with self._changed:
                self._bar = None
                self._stale = False
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(self._waits, self._pace())
                self._stale = False
                batch = self._take_batch()
                self._writing = True
            if not write_all(self._fd, self._compose(look, batch).encode(self._encoding, "replace")):
                break
        with self._changed:
            self._broken = True
            self._writing = False
            self._backlog.clear()
            self._changed.notify_all()

    def _waits(self) -> bool:
        return bool(self._backlog or self._stale)

    def _pace(self) -> float | None:
        if self._bar is not None:
            return None if self._hidden else self._bar.pace()
        due = self._unfinished.next_due()
        return None if due is None else max(0.0, due - time.monotonic())

    def _take_batch(self) -> list[Item | Output]:
        batch: list[Item | Output] = []
        if self._dropped:
            told = f"{self._dropped} lines were dropped here: they came faster than they could be shown"
            batch.append(((told, WARN),))
            self._dropped = 0
        taken = 0
        while self._backlog and taken < BATCH_BYTES:
            item = self._backlog.pop()
            batch.append(item)
            taken += item.size if isinstance(item, Output) else 0
        return batch

    def _compose(self, look: Look, batch: list[Item | Output]) -> str:
        text = "".join(self._format(look, item) for item in batch)
        if self._ending:
            text += "".join(map(look.log, self._unfinished.end()))
        elif self._bar is None:
            text += "".join(map(look.log, self._unfinished.still(time.monotonic())))
        if self._bar is None:
            return text
        ours = self._bar.allowed()
        rows = self._rows(look, self._bar) if ours and not self._hidden else []
        erase = ERASE if self._drawn and ours else ""  # in the background the shell's prompt stands there by now
        self._drawn = bool(rows)
        back = f"\x1b[{len(rows) - 1}A\r" if len(rows) > 1 else "\r"
        if not rows:
            return f"{erase}{text}"
        if text:
            return erase + text + "\n".join(rows) + back
        return "\r" + "\x1b[K\n".join(rows) + "\x1b[J" + back  # over the old ones, without a flicker

    def _rows(self, look: Look, bar: Bar) -> list[str]:
        """What stands below the output, each shorter than the terminal is wide."""
        columns, lines = _window(self._fd)
        count = min(UNFINISHED_SHOWN, max(0, lines - 2))
        outputs = self._unfinished.all()[-count:] if count else []
        rows = [look.unfinished(output, columns - 1) for output in outputs]
        line = bar.text(look)
        return [*rows, line] if line else rows

    def _format(self, look: Look, item: Item | Output) -> str:
        if isinstance(item, str):
            return item
        if not isinstance(item, Output):
            return look.ours(item)
        outputs, repeated = self._unfinished.take(item, time.monotonic())
        text = "".join(map(look.log, outputs))
        return text.partition("\n")[2] if repeated else text


def _window(fd: int) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        return WINDOW  # EIO: the terminal is gone, which the next write will tell
    return columns or WINDOW[0], lines or WINDOW[1]
