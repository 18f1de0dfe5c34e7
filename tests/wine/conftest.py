"""Tests that run on Linux and start programs under Wine. SIDECAR_WINE names its folder (see build/wine.py)."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SIDECAR_WINE" in os.environ else ["test_*.py"]
