"""Format lines for an output: with rich's colours and status lines, or plain.

The writer's thread imports rich. That takes as long as the start of a small service, so no service should wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from itertools import cycle
from typing import TYPE_CHECKING

from sidecar.core.events import Output
from sidecar.protocol.messages import Stream
from sidecar.terminal.ansi import Colours, clean
from sidecar.terminal.color import colour_system
from sidecar.terminal.messages import Line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SERVICE_STYLES = ("cyan", "magenta", "green", "blue", "bright_cyan", "bright_magenta", "bright_green", "bright_blue")
"""One colour per service, in their order. Yellow and red are for problems."""

STDERR_STYLE = "yellow"

NAME_WIDTH = 16
"""Names are padded to the longest one, if that is not longer than this."""

PICTURES = "\U0001f000"
"""From this code point on a character takes two cells, unless the terminal joins it to the one before."""

AS_PICTURE = "\ufe0f"
"""Turns the character before it into a picture of two cells, if the terminal supports that."""


class Glyphs:
    """The few characters beyond ASCII, or replacements if the output's encoding lacks them."""

    def __init__(self, encoding: str) -> None:
        """Choose for ``encoding``."""
        self.unicode = _can_write("»│┊●…▸", encoding)
        self.ours, self.dot, self.more, self.chosen = "»●…▸" if self.unicode else (">", "*", "...", ">")
        stdout, stderr = "│┊" if self.unicode else "|:"
        self.bars: dict[Stream, str] = {"stdout": stdout, "stderr": stderr}


class Style:
    """Turns lines into text. Without ``console`` the text is plain."""

    def __init__(
        self, glyphs: Glyphs, console: Console | None, *, colour: bool = False, services: Sequence[str] = ()
    ) -> None:
        """``colour`` keeps the programs' own colours; ours need a ``console``.

        Each of the ``services`` has a colour by its place.
        """
        self.glyphs = glyphs
        self._styles = dict(zip(services, cycle(SERVICE_STYLES), strict=False))
        longest = max(map(len, services), default=0)
        self._name_width = longest if longest <= NAME_WIDTH else 0
        self._console = console
        self._coloured = colour
        self._streams: dict[tuple[str, Stream], tuple[str, Colours | None]] = {}
        """(Service, stream) → the prefix of its lines, and the colours that its last line left on."""
        self._ours = self._styled(((f"{glyphs.ours} ", "bold cyan"),))
        self.frames = _frames(glyphs) if console is not None else ""

    @property
    def rich(self) -> bool:
        """Whether this style can draw status lines."""
        return self._console is not None

    def ours(self, line: Line) -> str:
        """Format a line of ours. Programs' later lines do not continue the colours that they left on."""
        for _, colours in self._streams.values():
            if colours is not None:
                colours.switch("0")
        return f"{self._ours}{self._styled(line)}\n"

    def log(self, output: Output) -> str:
        """Format lines of a program, with the service's name in front, in the program's colours or without colours."""
        prefix, colours = self._stream(output)
        return "".join(f"{prefix}{clean(line, colours)}\n" for line in output.lines)

    def unfinished(self, output: Output, width: int) -> str:
        """Format a line that a program has not finished. Of a long line, show the end that fits in ``width`` cells."""
        from rich.text import Text  # see the module's docstring

        prefix, colours = self._stream(output)
        line = clean(output.partial, colours.copy() if colours else None).expandtabs()
        head, text = Text.from_ansi(prefix), Text.from_ansi(line)
        room = width - _most_cells(head.plain)
        if _most_cells(text.plain) > room:
            begin, left = len(text), room - len(self.glyphs.more)
            while (left := left - _most_cells(text.plain[begin - 1 : begin])) >= 0:
                begin -= 1
            text = Text.assemble(self.glyphs.more, text[begin:])
        return self._drawn(Text.assemble(head, text), width)

    def _stream(self, output: Output) -> tuple[str, Colours | None]:
        stream = output.service, output.stream
        if stream not in self._streams:
            style = self._styles.get(output.service, SERVICE_STYLES[0])
            bar = self.glyphs.bars[output.stream], style if output.stream == "stdout" else STDERR_STYLE
            prefix = self._styled(((f"{output.service:<{self._name_width}} ", style), bar, (" ", "")))
            self._streams[stream] = prefix, Colours() if self._coloured else None
        return self._streams[stream]

    def fit(self, line: Line, width: int) -> str:
        """Format a line, cut to ``width`` cells."""
        return self._styled(line, width)

    def _styled(self, line: Line, width: int | None = None) -> str:
        # a part may quote another program's name or output, which must not control the terminal
        parts = [(clean(text), style) for text, style in line]
        if self._console is None:
            return "".join(text for text, _ in parts)
        from rich.text import Text  # see the module's docstring

        return self._drawn(Text.assemble(*parts), width)

    def _drawn(self, text: Text, width: int | None) -> str:
        assert self._console is not None
        if width is not None:
            text.truncate(width)
        with self._console.capture() as drawn:
            self._console.print(text, end="", soft_wrap=True)
        return drawn.get()


def load_style(encoding: str, *, terminal: bool, colour: bool, services: Sequence[str] = ()) -> Style:
    """Return the best style for this output. Without rich there are no status lines, and our own lines are plain."""
    glyphs = Glyphs(encoding)
    if not terminal and not colour:
        return Style(glyphs, None, services=services)
    try:
        from rich.console import Console  # see the module's docstring
    except ImportError:
        return Style(glyphs, None, colour=colour, services=services)
    system = colour_system() if colour else None
    console = Console(file=StringIO(), force_terminal=True, color_system=system, highlight=False)
    return Style(glyphs, console, colour=console.color_system is not None, services=services)


def _most_cells(text: str) -> int:
    """Return the most cells that a terminal may need for the text.

    Some terminals draw each of several joined characters by itself. If a row were wider than we think, it would wrap,
    and erasing would leave one of its two lines.
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # see the module's docstring

    return sum(2 if char >= PICTURES else max(cell_len(char), char == AS_PICTURE) for char in text)


def _frames(glyphs: Glyphs) -> str:
    from rich.spinner import Spinner  # see the module's docstring

    return "".join(Spinner("dots" if glyphs.unicode else "line").frames)


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
