"""The sidecar with macOS's guard, tether and host, on Linux's processes: ``python -m tests.faults.darwin``.

What stands between them and the kernel is tests/host/bsd.py.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("tests.host.bsd is made of Linux")

from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin.notices import Notices
from tests.host.bsd import Kernel, Kevent


def main() -> None:
    kernel = Kernel()
    watched = darwin_guard.identify(kernel, None, None)
    lifeline = darwin_guard.split(kernel, lambda: Notices(kernel.kqueue(), Kevent), watched)
    kernel.close()  # the guard's: what it hears must not be taken from it
    from sidecar import stdio
    from sidecar.host.darwin import tether as darwin_tether
    from sidecar.host.linux import sweep
    from sidecar.runtime import leave

    own = Kernel()
    tether = darwin_tether.KqueueTether(own, lambda: Notices(own.kqueue(), Kevent), lifeline, watched, sweep.boot_id())
    leave(stdio.serve(tether))


main()
