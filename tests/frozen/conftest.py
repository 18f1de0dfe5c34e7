"""These tests need a frozen binary. When the sidecar runs from source they are not collected, so not even skipped."""

from __future__ import annotations

from tests.support.command import BINARY

collect_ignore_glob = [] if BINARY else ["test_*.py"]
