"""These tests need a site that was built before. `python3 build/dev.py docs --look` does both."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SIDECAR_SITE_FOLDER" in os.environ else ["test_pages.py"]
