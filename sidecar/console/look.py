"""How lines look on this output: with rich's colours and a status line, or plain.

Made and used in the writer's thread: to load rich takes as long as to start a small service, which need not wait.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Literal

from sidecar.console.ansi import Colours, clean
from sidecar.console.words import Line
from sidecar.events import Output
from sidecar.wire.messages import Stream

if TYPE_CHECKING:
    from rich.console import Console

PREFIX_STYLES: dict[Stream, str] = {"stdout": "cyan", "stderr": "yellow"}


class Glyphs:
    """The few characters beyond ASCII, or what stands for them where the output's encoding lacks them."""

    def __init__(self, encoding: str) -> None:
        """Choose."""
        self.unicode = _can_write("»│●…", encoding)
        self.ours, self.bar, self.dot, self.more = "»│●…" if self.unicode else (">", "|", "*", "...")


class Look:
    """Makes text of lines. Without ``console`` it is plain."""

    def __init__(self, glyphs: Glyphs, console: Console | None) -> None:
        """Nothing was shown yet."""
        self.glyphs = glyphs
        self._console = console
        self._coloured = console is not None and console.color_system is not None
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
        stream = output.service, output.stream
        if stream not in self._streams:
            prefix = self._styled(((f"{output.service} {self.glyphs.bar} ", PREFIX_STYLES[output.stream]),))
            self._streams[stream] = prefix, Colours() if self._coloured else None
        prefix, colours = self._streams[stream]
        return "".join(f"{prefix}{clean(line, colours)}\n" for line in output.lines)

    def fit(self, line: Line, width: int) -> str:
        """The line, cut to ``width`` cells."""
        return self._styled(line, width)

    def _styled(self, line: Line, width: int | None = None) -> str:
        # a part may quote another program's name or output, which must not get at the terminal
        parts = [(clean(text), style) for text, style in line]
        if self._console is None:
            return "".join(text for text, _ in parts)
        from rich.text import Text  # see the module's docstring

        text = Text.assemble(*parts)
        if width is not None:
            text.truncate(width)
        with self._console.capture() as drawn:
            self._console.print(text, end="", soft_wrap=True)
        return drawn.get()


def load_look(encoding: str, *, terminal: bool, colour: bool) -> Look:
    """The best look for this output; plain where it is no terminal, or rich is not installed."""
    glyphs = Glyphs(encoding)
    if not terminal:
        return Look(glyphs, None)
    try:
        from rich.console import Console  # see the module's docstring
    except ImportError:
        return Look(glyphs, None)
    system: Literal["auto"] | None = "auto" if colour else None
    return Look(glyphs, Console(file=StringIO(), force_terminal=True, color_system=system, highlight=False))


def _frames(glyphs: Glyphs) -> str:
    from rich.spinner import Spinner  # see the module's docstring

    return "".join(Spinner("dots" if glyphs.unicode else "line").frames)


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
