"""What a program may do to our terminal: colour its text, and nothing else. Pure functions over text."""

from __future__ import annotations

import re

RESET = "\x1b[0m"

_SEQUENCE = re.compile(
    r"\x1b\[([0-9;:]{0,64})m"  # colours and such (SGR): the one that is kept
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # other control sequences: cursor, screen, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"  # other escapes: reset, character sets
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"  # single control characters, but for the tab
)

_FOREGROUND, _BACKGROUND, _UNDERLINE_COLOUR = 38, 48, 58
_EXTENDED = {"5": 1, "2": 3}
"""After 38, 48 or 58: so many numbers follow this kind."""

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
    """What is switched on at this place of a stream."""

    def __init__(self) -> None:
        """Nothing is."""
        self._on: dict[int, str] = {}

    def switch(self, parameters: str) -> None:
        """Take one SGR sequence's parameters."""
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
        """The same, to look ahead with."""
        made = Colours()
        made._on = dict(self._on)
        return made

    @property
    def sequence(self) -> str:
        """What switches it on again, or nothing."""
        return f"\x1b[{';'.join(self._on.values())}m" if self._on else ""


def clean(line: str, colours: Colours | None = None) -> str:
    """The line without control characters.

    With ``colours`` its own stay, begin with what the stream's lines before left on, and end with the line.
    """
    before = colours.sequence if colours else ""
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


def _overwritten(line: str) -> str:
    """A progress bar's line as one sees it in the end: after the last carriage return that something follows."""
    parts = line.split("\r")
    return next((part for part in reversed(parts) if _SEQUENCE.sub("", part).strip()), parts[-1])
