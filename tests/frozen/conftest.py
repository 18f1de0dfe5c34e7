"""These tests are about the bootloader: there is none, and so nothing to skip, when the sidecar runs from source."""

from __future__ import annotations

from tests.support.command import BINARY

collect_ignore_glob = [] if BINARY else ["test_*.py"]
