"""What the tests of Windows share."""

from __future__ import annotations

import ctypes
import sys

if sys.platform != "win32":
    raise ImportError("Windows' own")

UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")

WAIT_S = 60.0
"""For what must happen: far more than it takes on two busy cores, under Wine."""
