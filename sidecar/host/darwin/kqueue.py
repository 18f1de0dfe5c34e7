"""The kernel's own queue for ``Notices``: what the tests bring another one for."""

from __future__ import annotations

import select
import sys

assert sys.platform == "darwin"  # for mypy: what follows exists on systems with a kqueue

from sidecar.host.darwin.notices import Notices


def make_notices() -> Notices:
    """A new queue of this process."""
    return Notices(select.kqueue(), select.kevent)
