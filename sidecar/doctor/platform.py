"""The one place of ``doctor --prove`` that picks a platform."""

from __future__ import annotations

import sys

from sidecar.doctor.ground import Ground
from sidecar.host import unsupported


def find_ground() -> Ground:
    """The ground of this platform. Raises ``UnsupportedPlatformError`` where none is written yet."""
    if sys.platform == "linux":
        from sidecar.doctor.linux import ground as linux

        return linux
    if sys.platform == "win32":
        from sidecar.doctor.windows import ground as windows

        return windows
    raise unsupported("doctor --prove")
