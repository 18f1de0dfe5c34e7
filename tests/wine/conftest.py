"""Tests from Linux's side of Wine, whose folder (see build/wine.py) SIDECAR_WINE names. Else there is nothing here."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SIDECAR_WINE" in os.environ else ["test_*.py"]
