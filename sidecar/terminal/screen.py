"""The only writer of the terminal (or pipe): output above, status lines below. It is bounded and never blocks the loop.

The status lines are always the last ones. Above them are the lines that programs have not finished yet. The cursor
stays at the beginning of all these rows. However a resize wraps them, they are below the cursor, so erasing from there
removes exactly these rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from sidecar.core.events import Output
from sidecar.runtime.streams import Backlog, write_all
from sidecar.terminal.ansi import ERASE_BELOW, ERASE_LINE, ERASE_SCREEN, HOME, up
from sidecar.terminal.messages import WARN, Line
from sidecar.terminal.partial_lines import Unfinished
from sidecar.terminal.style import Style

LOG_BYTES_WAITING = 2 << 20
"""Bound on the output that waits for a slow terminal. Beyond it the oldest is dropped and counted."""

BATCH_BYTES = 1 << 17
"""Bytes to write at once. The status lines are drawn again between two batches."""

UNFINISHED_SHOWN = 4
"""Bound on the unfinished lines to draw. A terminal with few rows gets fewer."""

WINDOW = (80, 24)
"""The size to assume if the terminal does not tell its size."""

ERASE = f"\r{ERASE_BELOW}"
CLEAR = f"\r{HOME}{ERASE_SCREEN}"


class Only(Struct, frozen=True):
    """From here on show only this service's output, or all if it is ``None``."""

    service: str | None


Item = Line | str | Only
"""A line of ours, or text to write as it is."""


class Bar(Protocol):
    """Makes the status lines. The writer's thread calls it."""

    def rows(self, style: Style, columns: int, most: int) -> list[str]:
        """Return the lines as of now: at most ``most`` (1 or more), each shorter than the terminal is wide."""
        ...

    def pace(self) -> float:
        """Return the seconds until the next redraw, if nothing happens before."""
        ...

    def allowed(self) -> bool:
        """Tell whether we may draw on the terminal."""
        ...


class Screen:
    """Takes lines from any thread; ``run`` writes them in its own."""

    def __init__(self, fd: int, load: Callable[[], Style], bar: Bar | None, encoding: str) -> None:
        """Write to ``fd``. The writer's thread calls ``load`` once; only a rich style draws the ``bar``."""
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
        """True even before the writer first looks at the queue, so that ``hide`` waits for items that came earlier."""
        self._drawn = False
        self._broken = False
        self._ending = False
        self._unfinished = Unfinished()
        self._only: str | None = None

    @property
    def draws_bar(self) -> bool:
        """Whether the status lines are drawn."""
        return self._bar is not None

    def put(self, *items: Item) -> None:
        """Add lines of ours, or text to write as it is. They are never dropped."""
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
        """Draw the status lines again: they have changed, or the terminal's size has."""
        with self._changed:
            self._stale = self._bar is not None
            self._changed.notify_all()

    def hide(self, timeout_s: float, *, ending: bool = False) -> None:
        """Write what waits, erase the status lines, and wait for that, but at most ``timeout_s``.

        ``ending`` says that no more output comes, so unfinished lines are written as they are.
        """
        with self._changed:
            self._hidden = True
            self._ending = ending
            self._stale = ending or self._bar is not None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._broken or not (self._waits() or self._writing), timeout_s)

    def show(self) -> None:
        """Draw the status lines again after ``hide``."""
        with self._changed:
            self._hidden = False
        self.refresh()

    def run(self) -> None:
        """Write until the terminal or pipe is closed; the body of the writer's thread."""
        style = self._load()
        if not style.rich:
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
            if not write_all(self._fd, self._compose(style, batch).encode(self._encoding, "replace")):
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

    def _compose(self, style: Style, batch: list[Item | Output]) -> str:
        text = "".join(self._format(style, item) for item in batch)
        if self._ending:
            text += "".join(map(style.log, self._seen(self._unfinished.end())))
        elif self._bar is None:
            text += "".join(map(style.log, self._seen(self._unfinished.still(time.monotonic()))))
        if self._bar is None:
            return text
        ours = self._bar.allowed()
        rows = self._rows(style, self._bar) if ours and not self._hidden else []
        erase = ERASE if self._drawn and ours else ""  # in the background the shell's prompt is in that place by now
        self._drawn = bool(rows)
        back = f"{up(len(rows) - 1)}\r" if len(rows) > 1 else "\r"
        if not rows:
            return f"{erase}{text}"
        if text:
            return erase + text + "\n".join(rows) + back
        return "\r" + f"{ERASE_LINE}\n".join(rows) + ERASE_BELOW + back  # over the old ones, without a flicker

    def _rows(self, style: Style, bar: Bar) -> list[str]:
        """Return the rows below the output, each shorter than the terminal is wide."""
        columns, lines = _window(self._fd)
        status = bar.rows(style, columns, max(1, lines - 2))
        count = min(UNFINISHED_SHOWN, max(0, lines - 1 - len(status)))
        outputs = self._seen(self._unfinished.all())[-count:] if count else []
        return [*(style.unfinished(output, columns - 1) for output in outputs), *status]

    def _seen(self, outputs: list[Output]) -> list[Output]:
        return [each for each in outputs if self._only in {None, each.service}]

    def _format(self, style: Style, item: Item | Output) -> str:
        match item:
            case str():
                return item
            case Only(service=service):
                self._only = service
                if service is not None:
                    self._unfinished.forget(service)
                return ""
            case Output():
                outputs, repeated = self._unfinished.take(item, time.monotonic())
                text = "".join(map(style.log, self._seen(outputs)))
                return text.partition("\n")[2] if repeated else text
            case _:
                return style.ours(item)


def _window(fd: int) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        return WINDOW  # EIO: the terminal is gone; the next write reports that
    return columns or WINDOW[0], lines or WINDOW[1]
