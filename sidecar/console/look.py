"""How lines look on this output: with rich's colours and a status line, or plain.

Made and used in the writer's thread: to load rich takes as long as to start a small service, which need not wait.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from sidecar.console.ansi import Colours, clean
from sidecar.console.colour import colour_system
from sidecar.console.words import Line
from sidecar.events import Output
from sidecar.wire.messages import Stream

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PREFIX_STYLES: dict[Stream, str] = {"stdout": "cyan", "stderr": "yellow"}

PICTURES = "\U0001f000"
"""From here on a character takes two cells, unless the one before takes it in."""

AS_PICTURE = "\ufe0f"
"""Makes a picture of two cells of a character that has one, where the terminal knows that."""


class Glyphs:
    """The few characters beyond ASCII, or what stands for them where the output's encoding lacks them."""

    def __init__(self, encoding: str) -> None:
        """Choose."""
        self.unicode = _can_write("»│●…", encoding)
        self.ours, self.bar, self.dot, self.more = "»│●…" if self.unicode else (">", "|", "*", "...")


class Look:
    """Makes text of lines. Without ``console`` it is plain."""

    def __init__(self, glyphs: Glyphs, console: Console | None, *, colour: bool = False) -> None:
        """Nothing was shown yet. ``colour`` leaves the programs' own; ours need a ``console``."""
        self.glyphs = glyphs
        self._console = console
        self._coloured = colour
        self._streams: dict[tuple[str, Stream], tuple[str, Colours | None]] = {}
        """Each service's streams: what their lines begin with, and the colours that they left on."""
        self._ours = self._styled(((f"{glyphs.ours} ", "bold cyan"),))
        self.frames = _frames(glyphs) if console is not None else ""

    @property
    def rich(self) -> bool:
        """Whether a status line can be drawn."""
        return self._console is not None

    def ours(self, line: Line) -> str:
        """A line of ours; whatever colour the program left on ends before it."""
        for _, colours in self._streams.values():
            if colours is not None:
                colours.switch("0")
        return f"{self._ours}{self._styled(line)}\n"

    def log(self, output: Output) -> str:
        """Lines of a program, prefixed with its service, in its own colours or none."""
        prefix, colours = self._stream(output)
        return "".join(f"{prefix}{clean(line, colours)}\n" for line in output.lines)

    def unfinished(self, output: Output, width: int) -> str:
        """The line that a program has not ended, as far as it is now; of a long one the end, in ``width`` cells."""
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
            prefix = self._styled(((f"{output.service} {self.glyphs.bar} ", PREFIX_STYLES[output.stream]),))
            self._streams[stream] = prefix, Colours() if self._coloured else None
        return self._streams[stream]

    def fit(self, line: Line, width: int) -> str:
        """The line, cut to ``width`` cells."""
        return self._styled(line, width)

    def _styled(self, line: Line, width: int | None = None) -> str:
        # a part may quote another program's name or output, which must not get at the terminal
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


def load_look(encoding: str, *, terminal: bool, colour: bool) -> Look:
    """The best look for this output. Without rich there is no status line, and only programs have colours."""
    glyphs = Glyphs(encoding)
    if not terminal and not colour:
        return Look(glyphs, None)
    try:
        from rich.console import Console  # see the module's docstring
    except ImportError:
        return Look(glyphs, None, colour=colour)
    system = colour_system() if colour else None
    console = Console(file=StringIO(), force_terminal=True, color_system=system, highlight=False)
    return Look(glyphs, console, colour=console.color_system is not None)


def _most_cells(text: str) -> int:
    """In how many cells a terminal draws the text at most.

    Some draw characters that are joined into one picture each by itself. A row that is wider than it was taken for
    would take two lines, of which one would stay.
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
