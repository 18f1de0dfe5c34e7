"""Whether there are colours: NO_COLOR and FORCE_COLOR decide, then whether a terminal shows it.

NO_COLOR with any text means none. FORCE_COLOR means none with ``0`` or ``false``, and with any other text colours in a
pipe, too. A variable without text decides nothing.
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


def shows_colour() -> bool:
    """Whether colours are wanted on stdout."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    return forced not in _NONE if forced else takes_escapes(1)


def colour_system() -> System:
    """Which colours, where they are wanted."""
    forced = os.environ.get("FORCE_COLOR")
    return _SYSTEMS.get(forced, "standard") if forced else "auto"


def ask_for_colours(own: Mapping[str, str]) -> dict[str, str]:
    """The variables that ask a program for its colours, where neither the person nor its ``own`` ones say anything."""
    if "NO_COLOR" in own or any(name in own for name in _ASKED_BY):
        return {}
    return {name: "1" for name in _ASKED_BY if name not in os.environ}
