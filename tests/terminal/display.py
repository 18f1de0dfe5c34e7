"""An in-memory terminal that knows the few sequences that the view writes."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]")


class Display:
    """A screen of ``rows`` and ``columns``. ``lines`` also keeps what has scrolled away."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self._rows = rows
        self._columns = columns
        self._lines = [""]
        self._row = 0
        self._column = 0

    @property
    def lines(self) -> list[str]:
        """All lines from the first on, without padding."""
        return [line.rstrip() for line in self._lines]

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's row, as an index of ``lines``, and its column."""
        return self._row, self._column

    def feed(self, text: str) -> None:
        """Take written text. A line feed also returns the carriage, as in a terminal's driver."""
        at = 0
        for token in _TOKEN.finditer(text):
            assert token.start() == at, f"unknown: {text[at : token.end()]!r}"
            at = token.end()
            self._take(token)
        assert at == len(text), f"unknown: {text[at:]!r}"

    def _take(self, token: re.Match[str]) -> None:
        if token[0] == "\r":
            self._column = 0
        elif token[0] == "\n":
            self._row, self._column = self._row + 1, 0
            self._lines += [""] * (self._row + 1 - len(self._lines))
        elif token[2] is None:
            self._print(token[0])
        elif token[2] == "A":
            top = max(0, len(self._lines) - self._rows)
            assert self._row - int(token[1]) >= top, "the cursor cannot leave the screen"
            self._row -= int(token[1])
        elif token[2] in "JK":
            self._lines[self._row] = self._lines[self._row][: self._column]
            if token[2] == "J":
                del self._lines[self._row + 1 :]
        else:
            assert token[2] == "m", f"unknown: {token[0]!r}"

    def _print(self, character: str) -> None:
        assert self._column < self._columns, "the line wraps"
        line = self._lines[self._row].ljust(self._column)
        self._lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1
