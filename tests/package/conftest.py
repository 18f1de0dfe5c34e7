"""These tests need packages that were built before. `python3 build/dev.py package` does both."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

collect_ignore_glob = [
    *([] if "SIDECAR_DEB" in os.environ else ["test_deb.py"]),
    *([] if "SIDECAR_RPM" in os.environ else ["test_rpm.py"]),
    *([] if "SIDECAR_BACKEND_DEB" in os.environ else ["test_python_backend.py"]),
]

if sys.platform == "linux":
    from tests.package.support import screen

    @pytest.fixture(scope="module")
    def display() -> Iterator[str]:
        with screen() as name:
            yield name
