"""The projects are tried on Linux only, as /proc shows which processes are left."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]
