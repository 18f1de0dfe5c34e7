"""The report of a command: lines and tables, with rich's colours in a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from io import StringIO

from sidecar.host.fds import encoding_of, takes_escapes
from sidecar.runtime.streams import write_all
from sidecar.terminal.ansi import clean
from sidecar.terminal.messages import DIM, NAME, Line

GAP = "  "
"""The gap between two columns."""

Cell = tuple[str, str]
"""Text and style. A newline in the text begins a new line in the cell."""

Row = Sequence[Cell | str]


class Report:
    """Collects text for ``fd``. Text that quotes another program cannot control the terminal."""

    def __init__(self, fd: int = 1) -> None:
        """Find out what ``fd`` can show."""
        self._fd = fd
        self.controls = takes_escapes(fd)
        """Whether it is a terminal that takes escape sequences."""
        self._encoding = encoding_of(fd)
        self._text = StringIO()
        self._console = None
        if self.controls:
            try:
                from rich.console import Console
            except ImportError:
                return
            self._console = Console(
                file=self._text,
                force_terminal=True,
                color_system=None if os.environ.get("NO_COLOR") else "auto",
                highlight=False,
                width=os.get_terminal_size(fd).columns or None,
            )

    def line(self, *parts: Cell | str) -> None:
        """Add a line; without parts it is empty."""
        line = _line(parts)
        if self._console is None:
            self._text.write("".join(text for text, _ in line) + "\n")
            return
        from rich.text import Text

        self._console.print(Text.assemble(*line))

    def table(self, head: Sequence[str], rows: Iterable[Row]) -> None:
        """Add a table, or nothing if there are no rows."""
        cells = [_line(row) for row in rows]
        if not cells:
            return
        if self._console is None:
            self._text.write(_plain([tuple((text.upper(), "") for text in head), *cells]))
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style=DIM)
        for at, name in enumerate(head):
            numbers = all(row[at][0].replace(".", "").isdecimal() for row in cells)
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(text, style) for text, style in row))
        self._console.print(table)

    def heading(self, text: str) -> None:
        """Add a heading, with an empty line before it unless it is the first line."""
        if self._text.tell():
            self.line()
        self.line((text, NAME))

    def take(self) -> str:
        """Return the text so far, and make the report empty."""
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text

    def show(self, before: str = "") -> bool:
        """Write the text; return whether the output still takes it."""
        return write_all(self._fd, (before + self.take()).encode(self._encoding, "backslashreplace"))


def _line(row: Row) -> Line:
    """Clean the texts line by line; each has a style."""
    parts = ((it, "") if isinstance(it, str) else it for it in row)
    return tuple(("\n".join(clean(line) for line in text.split("\n")), style) for text, style in parts)


def _plain(rows: list[Line]) -> str:
    """Lay out columns as wide as their widest cell; do not pad the last one."""
    broken = [[text.split("\n") for text, _ in row] for row in rows]
    widths = [max(len(line) for row in broken for line in row[at]) for at in range(len(rows[0]))]
    written = []
    for row in broken:
        for number in range(max(len(cell) for cell in row)):
            cells = [cell[number] if number < len(cell) else "" for cell in row]
            written.append(GAP.join(it.ljust(width) for it, width in zip(cells, widths, strict=True)).rstrip())
    return "\n".join(written) + "\n"
