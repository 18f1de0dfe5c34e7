"""The command that starts the sidecar in tests, and the errors that the sidecar answers with.

The sidecar runs from source under this Python, or as the frozen binary that SIDECAR_BINARY names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

BINARY = os.environ.get("SIDECAR_BINARY")

_ROOT = str(Path(__file__).resolve().parents[2])
_MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
MODULE = ["-c", _MAIN, _ROOT] if sys.platform == "win32" else ["-m", "sidecar"]
"""Python's arguments. An embedded Python, as under Wine, looks neither in PYTHONPATH nor in the current folder."""
SIDECAR = [BINARY] if BINARY else [sys.executable, *MODULE]

from_source = pytest.mark.skipif(
    BINARY is not None, reason="the test changes the sidecar's modules; a binary ignores PYTHONPATH"
)
"""For a test that changes the sidecar's own modules by PYTHONPATH."""

Message = dict[str, Any]
"""A JSON object."""


class Refused(Exception):  # noqa: N818  the sidecar's answer, not an error of the test
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
