"""Decide whether to use colours: by NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE in this order, then by the terminal.

NO_COLOR with any text means no colours. FORCE_COLOR with ``0`` or ``false`` means no colours; with any other text it
means colours, even in a pipe. CLICOLOR_FORCE means colours, but ``0`` decides nothing. An empty variable decides
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from sidecar.host.fds import takes_escapes

System = Literal["auto", "standard", "256", "truecolor"]
"""Rich's names for the sets of colours."""

_NONE = {"0", "false"}
_SYSTEMS: dict[str, System] = {"2": "256", "3": "truecolor"}
_ASKED_BY = ("FORCE_COLOR", "CLICOLOR_FORCE")
"""Variables that make programs colour their output even in a pipe: programs in node, Python and Rust; those of BSD."""

_DECLINED_BY = ("NO_COLOR", "NODE_DISABLE_COLORS")
"""If FORCE_COLOR is set, node ignores these, and warns about them at every start."""


def shows_colour() -> bool:
    """Tell whether to use colours on stdout."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced not in _NONE
    return os.environ.get("CLICOLOR_FORCE", "") not in {"", "0"} or takes_escapes(1)


def colour_system() -> System:
    """Tell which colours to use, if any."""
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return _SYSTEMS.get(forced, "standard")
    return "auto" if takes_escapes(1) else "standard"


def ask_for_colours(own: Mapping[str, str]) -> dict[str, str]:
    """Return variables that ask a program for colours, unless our environment or the program's ``own`` decides that."""
    if os.environ.get("NODE_DISABLE_COLORS") or any(name in own for name in (*_DECLINED_BY, *_ASKED_BY)):
        return {}
    return {name: "1" for name in _ASKED_BY if name not in os.environ}
