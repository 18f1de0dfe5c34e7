"""The sidecar with all of macOS's parts, on Linux's processes: ``python -m tests.faults.darwin``, as any sidecar.

What stands between it and the kernel is tests/host/bsd.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

if sys.platform != "linux":
    raise ImportError("tests.host.bsd is made of Linux")

from sidecar import cli, host
from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin.notices import Notices
from tests.host.bsd import Kernel, Kevent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidecar.host.base import Seen, Tether
    from sidecar.host.survey import Survey

COMMAND = (sys.executable, "-m", "tests.faults.darwin")


def attach(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Tether:
    kernel = Kernel()
    watched = darwin_guard.identify(kernel, parent_pid, None)
    lifeline = darwin_guard.split(kernel, lambda: Notices(kernel.kqueue(), Kevent), watched, at_end)
    kernel.close()  # the guard's: what it hears must not be taken from it
    from sidecar.host.darwin import tether
    from sidecar.host.linux import sweep

    own = Kernel()
    return tether.KqueueTether(own, lambda: Notices(own.kqueue(), Kevent), lifeline, watched, sweep.boot_id())


def survey(command: str) -> Survey:
    del command
    from sidecar.host.darwin import survey as darwin
    from sidecar.host.linux import sweep

    kernel = Kernel()
    return darwin.DarwinSurvey(kernel, lambda: Notices(kernel.kqueue(), Kevent), sweep.boot_id())


@cache
def own_kernel() -> Kernel:
    """The supervisor's, for job control."""
    return Kernel()


def look_at(pid: int) -> Seen | None:
    return own_kernel().read(pid)


if __name__ == "__main__":
    host.attach = attach
    host.survey = survey
    host.look_at = look_at
    sys.exit(cli.main())
