"""The sidecar with macOS's guard and host, on Linux's processes: ``python -m tests.faults.darwin``.

What stands between them and the kernel is tests/host/bsd.py. Records and the next start's sweep stay Linux's.
"""

from __future__ import annotations

import os
import sys

if sys.platform != "linux":
    raise ImportError("tests.host.bsd is made of Linux")

from sidecar.host import darwin, darwin_guard, notices
from tests.host.bsd import Kernel, Kevent


def main() -> None:
    kernel = Kernel()
    watched = darwin_guard.identify(kernel, None, None)

    def make_notices() -> notices.Notices:
        return notices.Notices(kernel.kqueue(), Kevent)

    lifeline = darwin_guard.split(kernel, make_notices, os.urandom(16).hex(), watched)
    kernel.close()  # the guard's: what it hears must not be taken from it
    from sidecar import host
    from sidecar.host.base import Host
    from sidecar.runtime import leave

    own = Kernel()

    def make_host(run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> Host:
        assert not contained
        queue = notices.Notices(own.kqueue(), Kevent)
        return darwin.DarwinHost(run_id, guarded=guarded, parent_watched=True, system=own, notices=queue)

    host.make_host = make_host
    from sidecar import stdio  # what it imports takes the host from there

    leave(stdio.serve(lifeline))


main()
