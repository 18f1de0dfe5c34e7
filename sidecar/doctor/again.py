"""How doctor starts us again, to play a part."""

from __future__ import annotations

from sidecar.doctor import DOCTOR_PART
from sidecar.host import bundle

LIFE_S = 300
"""So long a part lives at most, if all that should end it fails. A stopped one only has the kernel to thank."""


def as_part(*words: str) -> list[str]:
    """The command line of a part."""
    return bundle.itself(DOCTOR_PART, *words)
