"""How tests start the sidecar, and what it answers.

It runs from source by this Python, or is the frozen binary that SIDECAR_BINARY names.
"""

from __future__ import annotations

import os
import sys
from typing import Any

BINARY = os.environ.get("SIDECAR_BINARY")
SIDECAR = [BINARY] if BINARY else [sys.executable, "-m", "sidecar"]

Message = dict[str, Any]
"""A JSON object."""


class Refused(Exception):  # noqa: N818  it is what the sidecar said, not a fault of the test
    """The sidecar answered with this error."""

    def __init__(self, error: Message) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Message = error.get("data", {})

    @property
    def kind(self) -> str:
        return str(self.data["kind"])

    @property
    def lines(self) -> str:
        return "\n".join(self.data["lines"])
