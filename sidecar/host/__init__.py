"""The system below us. ``make_host`` is the one place that picks a platform."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sidecar.errors import UnsupportedPlatformError

if TYPE_CHECKING:  # the guard is in this package and forks before msgspec is loaded
    from sidecar.host.base import Host


def make_host(run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> Host:
    """The host of this platform.

    ``run_id`` marks every process of this run; ``guarded``, ``parent_watched`` and ``contained`` (in a control group)
    say what the guard set up. Raises ``UnsupportedPlatformError`` where no host is written yet.
    """
    if sys.platform == "linux":
        from sidecar.host.linux import LinuxHost

        return LinuxHost(run_id, guarded=guarded, parent_watched=parent_watched, contained=contained)
    raise unsupported()


def unsupported() -> UnsupportedPlatformError:
    """The error for a platform without a host."""
    return UnsupportedPlatformError(
        f"This version of sidecar runs on Linux only; this is {sys.platform}. Windows and macOS are being worked on."
    )
