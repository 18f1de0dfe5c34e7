"""How doctor starts us again, to play a part."""

from __future__ import annotations

import os
import sys

from sidecar.doctor import DOCTOR_PART

LIFE_S = 300
"""So long a part lives at most, if all that should end it fails. A stopped one only has the kernel to thank."""

HOME = os.path.abspath(os.sep)
"""The folder to start us again in: nobody removes it meanwhile."""

_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
"""``-m`` looks in the current folder and in variables, and an embedded Python in neither."""


def itself(*words: str) -> list[str]:
    """The command line that starts this sidecar, and no other thing that is called so."""
    start = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-c", _MAIN, _PACKAGE_HOME]
    return [*start, *words]


def as_part(*words: str) -> list[str]:
    """The command line of a part."""
    return itself(DOCTOR_PART, *words)
