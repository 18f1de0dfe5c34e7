r"""The user's patterns. Their groups ``url``, ``host`` and ``port`` take an address out of a line. Pure functions.

``(?<port>\d+)``, the spelling of most languages, means the same as Python's ``(?P<port>\d+)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Matches = Callable[[str, tuple[str, ...]], Mapping[str, str] | None]
"""(pattern, lines) → the named groups of the first line that matches, or ``None``.

Without lines it only compiles the pattern. Raises ``TimeoutError`` if it takes too long.
"""

URL, HOST, PORT = "url", "host", "port"

_NO_GROUP = r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
"""An escaped character, or a set of characters. A parenthesis inside opens no group."""


def python_pattern(pattern: str) -> str:
    """Rewrite the pattern in Python's spelling."""
    return re.sub(rf"({_NO_GROUP})|\(\?<(?![=!])", lambda found: found[1] or "(?P<", pattern, flags=re.DOTALL)


def names_address(pattern: str) -> bool:
    """Tell whether a matching line gives the port that the program listens on."""
    found = re.finditer(rf"{_NO_GROUP}|\(\?P?<(?P<name>\w+)>", pattern, re.DOTALL)
    return any(each["name"] in {URL, PORT} for each in found)


def compiles(pattern: str, _lines: tuple[str, ...]) -> None:
    """Compile a pattern without a time limit. A ``Matches`` for callers that have no lines and block no loop."""
    re.compile(python_pattern(pattern))
