"""Split bytes into lines.

``LineReader`` is for a client. It refuses a line over its bound, so a client cannot fill our memory. ``OutputSplitter``
is for a child's output, where nothing may be lost: it cuts a line over its bound into pieces.
"""

from __future__ import annotations

import codecs
import re

from msgspec import Struct

MAX_LINE_BYTES = 1 << 20
"""1 MiB: far above any known request, far below what would do harm."""

MAX_OUTPUT_LINE_BYTES = 64 << 10
"""A child's line is cut at this size, because it may never end."""

PARTIAL_BYTES = 4 << 10
"""Of an unfinished line we report this much (as UTF-8): its end, which has the question or the percentage."""

_make_decoder = codecs.getincrementaldecoder("utf-8")
# not terminal.ansi: these are bytes, and the last sequence may be incomplete
_INVISIBLE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\?)?|[^\[\]]?)")
_TO_FIRST_COLUMN = re.compile(rb"\x1b\[[01]?G")
_UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")


class Line(Struct, frozen=True):
    """A whole line, without its line feed."""

    data: bytes


class Overlong(Struct, frozen=True):
    """A line over the bound was skipped; ``size`` is its length in bytes."""

    size: int


class LineReader:
    """Bytes in, whole lines out. A line over ``limit`` is dropped as it comes and reported once, when it ends."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        """Start empty."""
        self._limit = limit
        self._buffer = bytearray()
        self._skipped = 0

    def receive(self, data: bytes) -> list[Line | Overlong]:
        """Take bytes; return the lines that they end."""
        first, *rest = data.split(b"\n")
        self._take(first)
        lines: list[Line | Overlong] = []
        for piece in rest:
            self._end(lines)
            self._take(piece)
        return lines

    def finish(self) -> list[Line | Overlong]:
        """Return the last line if it has no line feed: the stream has ended."""
        lines: list[Line | Overlong] = []
        self._end(lines)
        return lines

    def _take(self, piece: bytes) -> None:
        if self._skipped:
            self._skipped += len(piece)
        elif len(self._buffer) + len(piece) > self._limit:
            self._skipped = len(self._buffer) + len(piece)
            self._buffer.clear()
        else:
            self._buffer += piece

    def _end(self, lines: list[Line | Overlong]) -> None:
        if self._skipped:
            lines.append(Overlong(self._skipped))
        elif self._buffer.strip():  # by the protocol, blank lines are ignored
            lines.append(Line(bytes(self._buffer)))
        self._buffer.clear()
        self._skipped = 0


class OutputSplitter:
    """A child's bytes in, lines of text out.

    Broken UTF-8 becomes U+FFFD, and a line over ``limit`` comes in pieces. A carriage return starts the line again. So
    only the last frame of a progress bar is left, as on a terminal. The escape sequence "cursor to the first column",
    which node programs write, does the same.
    """

    def __init__(self, limit: int = MAX_OUTPUT_LINE_BYTES) -> None:
        """Start empty."""
        self._limit = limit
        self._rest = b""

    def receive(self, data: bytes) -> tuple[str, ...]:
        """Take bytes; return the lines that they end, and pieces of a line over the bound."""
        whole, feed, rest = data.rpartition(b"\n")
        if feed:
            whole = _with_returns(self._rest + whole)
            self._rest = _with_returns(rest)
            if b"\r" in whole:  # a fast check: most output has none, and the replacement is slow
                whole = b"\n".join(map(_last_frame, whole.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")))
            lines = whole.decode("utf-8", "replace").split("\n")
            if self._has_long_line(whole):
                lines = [piece for line in lines for piece in self._cut(line)]
        else:
            self._rest = _with_returns(self._rest + rest)
            lines = []
        if b"\r" in self._rest:
            self._rest = _last_frames(self._rest)
        while len(self._rest) > self._limit:
            piece, self._rest = _cut_at(self._rest, self._limit)
            lines.append(_last_frame(piece).decode("utf-8", "replace"))
        return tuple(lines)

    def finish(self) -> tuple[str, ...]:
        """Return the rest as a line: the stream has ended."""
        rest, self._rest = self._rest, b""
        return (_last_frame(rest).decode("utf-8", "replace"),) if rest else ()

    @property
    def rest(self) -> bytes:
        """The bytes of the unfinished line, without overwritten frames."""
        return self._rest

    def unfinished(self) -> str:
        """Return the unfinished line as it looks now, without an incomplete character or escape sequence at its end."""
        text = _make_decoder("replace").decode(_last_frame(self._rest))
        return _UNFINISHED_ESCAPE.sub("", text)

    def _has_long_line(self, data: bytes) -> bool:
        """Tell whether a line is over the bound, by jumping from line feed to line feed."""
        at = 0
        while len(data) - at > self._limit:
            at = data.rfind(b"\n", at, at + self._limit + 1) + 1
            if at == 0:
                return True
        return False

    def _cut(self, line: str) -> list[str]:
        return [line[at : at + self._limit] for at in range(0, len(line), self._limit)] or [line]


def shorten(text: str) -> str:
    """Return the end of an unfinished line, within the bound."""
    return text if len(text) * 4 <= PARTIAL_BYTES else text.encode()[-PARTIAL_BYTES:].decode("utf-8", "ignore")


def _with_returns(data: bytes) -> bytes:
    """Replace the sequences for "first column" by carriage returns."""
    return _TO_FIRST_COLUMN.sub(b"\r", data) if b"G" in data and b"\x1b" in data else data


def _last_frame(line: bytes) -> bytes:
    """Return what a terminal shows of the line in the end: the last frame with something visible."""
    if b"\r" not in line:
        return line
    return next((frame for frame in reversed(line.split(b"\r")) if _is_visible(frame)), b"")


def _last_frames(line: bytes) -> bytes:
    """Do the same for a line that goes on: keep its last visible frame, and the frame that is being written."""
    *before, last = line.split(b"\r")
    if not before or _is_visible(last):
        return last
    blank = before[0] if len(before) == 1 else b"\r"  # a single first frame may be a whole line that ends in \r\n
    return next((frame for frame in reversed(before) if _is_visible(frame)), blank) + b"\r" + last


def _is_visible(frame: bytes) -> bool:
    return bool(_INVISIBLE.sub(b"", frame).strip())


def _cut_at(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Cut at ``size`` or a little before, never inside a UTF-8 sequence (at most 3 continuation bytes)."""
    for back in range(4):
        if data[size - back] & 0xC0 != 0x80:  # noqa: PLR2004  10xxxxxx is a continuation byte
            return data[: size - back], data[size - back :]
    return data[:size], data[size:]
