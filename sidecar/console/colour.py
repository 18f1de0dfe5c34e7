"""Whether there are colours: NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE decide in this order, then the terminal.

NO_COLOR with any text means none. FORCE_COLOR means none with ``0`` or ``false``, and with any other text colours in a
pipe, too. CLICOLOR_FORCE means the same, but ``0`` decides nothing. A variable without text decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from sidecar.host.fds import takes_escapes

System = Literal["auto", "standard", "256", "truecolor"]
"""What rich calls it."""

_NONE = {"0", "false"}
_SYSTEMS: dict[str, System] = {"2": "256", "3": "truecolor"}
_ASKED_BY = ("FORCE_COLOR", "CLICOLOR_FORCE")
"""What programs look at that write to a pipe: those of node, of Python and of Rust, and those of BSD's kind."""

_DECLINED_BY = ("NO_COLOR", "NODE_DISABLE_COLORS")
"""Where node finds one of these beside FORCE_COLOR, it passes it over, and warns of that at every start."""


def shows_colour() -> bool:
    """Whether colours are wanted on stdout."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced not in _NONE
    return os.environ.get("CLICOLOR_FORCE", "") not in {"", "0"} or takes_escapes(1)


def colour_system() -> System:
    """Which colours, where they are wanted."""
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return _SYSTEMS.get(forced, "standard")
    return "auto" if takes_escapes(1) else "standard"


def ask_for_colours(own: Mapping[str, str]) -> dict[str, str]:
    """The variables that ask a program for its colours, where neither the person nor its ``own`` ones say anything."""
    if os.environ.get("NODE_DISABLE_COLORS") or any(name in own for name in (*_DECLINED_BY, *_ASKED_BY)):
        return {}
    return {name: "1" for name in _ASKED_BY if name not in os.environ}
