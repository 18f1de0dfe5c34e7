"""The projects are tried on Linux only: what is left of each is read from /proc."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]
