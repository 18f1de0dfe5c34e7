"""Escape sequences that we send, and a filter for those in other programs' text. Pure functions.

Text of another program may set its colours, and nothing else. The filter removes all other control characters and
sequences. It shows invisible characters (direction marks, zero-width characters, tags) as escapes, so that two
different names look different.
"""

from __future__ import annotations

import re

RESET = "\x1b[0m"
"""Colours off."""
HOME = "\x1b[H"
"""The cursor to the top left."""
ERASE_LINE = "\x1b[K"
"""From the cursor to the end of its line."""
ERASE_BELOW = "\x1b[J"
"""From the cursor to the end of the screen."""
ERASE_SCREEN = "\x1b[2J"
"""The whole screen; the cursor stays."""

_SEQUENCE = re.compile(
    r"\x1b\[([0-9;:]{0,64})m"  # colours and the like (SGR): the only sequences that may stay
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # other control sequences: cursor, screen, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"  # other escapes: reset, character sets
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"  # single control characters except the tab
)

_MARKS = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
"""Format characters (Unicode's Cf), except visible ones of single scripts; and line separators."""

_MARK = re.compile(
    r"(\U0001f3f4[\U000e0020-\U000e007e]{2,6}\U000e007f)"  # a flag such as Scotland's is spelled with tags
    rf"|[{_MARKS}]"
    # joiners make one picture or letter of two characters; between ASCII characters they are invisible
    r"|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)

_UNPRINTED = re.compile(rf"[\x7f-\x9f\u200c\u200d{_MARKS}]")

_FOREGROUND, _BACKGROUND, _UNDERLINE_COLOUR = 38, 48, 58
_EXTENDED = {"5": 1, "2": 3}
"""After 38, 48 or 58 comes a kind: kind → how many numbers follow it."""

_OFF = {
    22: (1, 2),
    23: (3,),
    24: (4,),
    25: (5,),
    27: (7,),
    28: (8,),
    29: (9,),
    39: (_FOREGROUND,),
    49: (_BACKGROUND,),
    55: (53,),
    59: (_UNDERLINE_COLOUR,),
}
_SLOT = (
    {code: code for code in (1, 2, 3, 4, 5, 7, 8, 9, 53)}
    | {6: 5, 21: 4}
    | dict.fromkeys((*range(30, 38), *range(90, 98)), _FOREGROUND)
    | dict.fromkeys((*range(40, 48), *range(100, 108)), _BACKGROUND)
)


class Colours:
    """The colours that are on at this point of a stream."""

    def __init__(self) -> None:
        """Begin with none."""
        self._on: dict[int, str] = {}

    def switch(self, parameters: str) -> None:
        """Apply the parameters of one SGR sequence."""
        words = parameters.split(";")
        while words:
            word = words.pop(0)
            code = int(word.partition(":")[0] or 0)
            if code == 0:
                self._on.clear()
            elif code in (_FOREGROUND, _BACKGROUND, _UNDERLINE_COLOUR):
                if ":" not in word:
                    count = 1 + _EXTENDED.get(words[0], 0) if words else 0
                    word = ";".join([word, *words[:count]])
                    del words[:count]
                self._on[code] = word
            elif code in _OFF:
                for slot in _OFF[code]:
                    self._on.pop(slot, None)
            elif code in _SLOT:
                self._on[_SLOT[code]] = word

    def copy(self) -> Colours:
        """Return a copy, for looking ahead."""
        made = Colours()
        made._on = dict(self._on)
        return made

    @property
    def sequence(self) -> str:
        """The sequence that switches them on again; empty if none are on."""
        return f"\x1b[{';'.join(self._on.values())}m" if self._on else ""


def up(rows: int) -> str:
    """Return the sequence that moves the cursor up by ``rows`` (at least one), in the same column."""
    return f"\x1b[{rows}A"


def clean(line: str, colours: Colours | None = None) -> str:
    """Return the line without control characters, and with escapes for invisible characters.

    With ``colours``, the line keeps its colours. It begins with those that the stream's previous line left on, and ends
    with a reset.
    """
    before = colours.sequence if colours else ""
    if not line.isascii():
        line = _MARK.sub(lambda found: found[1] or _escape(found[0]), line)
    if not _SEQUENCE.search(line):
        return f"{before}{line}{RESET}" if before else line
    if "\r" in line:
        line = _overwritten(line)
    seen = bool(before)

    def keep(match: re.Match[str]) -> str:
        nonlocal seen
        if colours is None or match[1] is None:
            return ""
        colours.switch(match[1])
        seen = True
        return match[0]

    text = _SEQUENCE.sub(keep, line)
    return f"{before}{text}{RESET}" if seen else text


def printable_json(line: str) -> str:
    """Escape unprintable characters of a JSON text, for a terminal. A JSON parser reads the same values."""
    return line if line.isascii() and "\x7f" not in line else _UNPRINTED.sub(lambda found: _escape(found[0]), line)


def _escape(mark: str) -> str:
    units = mark.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _overwritten(line: str) -> str:
    """Return what a progress bar shows in the end: the last part between carriage returns that is not blank."""
    parts = line.split("\r")
    return next((part for part in reversed(parts) if _SEQUENCE.sub("", part).strip()), parts[-1])
