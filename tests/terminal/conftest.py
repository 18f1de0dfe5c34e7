"""The tests of drawing in a terminal run on Linux only, so far."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]
