"""Make the packages once, with the frozen binary under test. From source there is no binary, so nothing to install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dist import support
from tests.support.command import BINARY

collect_ignore_glob = [
    *([] if BINARY else ["test_npm.py", "test_pypi.py"]),
    *([] if "SIDECAR_DIST" in os.environ else ["test_prove.py"]),  # minutes: build/dev.py dist --prove
]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make all packages; return their folder."""
    return support.build(tmp_path_factory.mktemp("dist"))
