"""Fixtures for the tests of hosts."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

if sys.platform == "linux":
    from tests.host.bsd import Kernel, skip_without_forks

    @pytest.fixture
    def kernel() -> Iterator[Kernel]:
        """Emulate macOS's kernel on Linux."""
        skip_without_forks()
        it = Kernel()
        yield it
        it.close()
