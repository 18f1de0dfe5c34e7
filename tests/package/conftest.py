"""These tests are about a package that was built before them: `python3 build/dev.py package` does both."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SIDECAR_DEB" in os.environ else ["test_*.py"]
