"""Pick the platform. No other module of ``doctor --prove`` does."""

from __future__ import annotations

import sys

from sidecar.commands.doctor.prove.platform import Platform
from sidecar.host import unsupported


def find_platform() -> Platform:
    """Return this platform's module. Raises ``UnsupportedPlatformError`` if there is none yet."""
    if sys.platform == "linux":
        from sidecar.commands.doctor.prove.linux import platform as linux

        return linux
    if sys.platform == "win32":
        from sidecar.commands.doctor.prove.windows import platform as windows

        return windows
    raise unsupported("doctor --prove")
