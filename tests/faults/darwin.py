"""The sidecar with all of macOS's parts, on Linux's processes: ``python -m tests.faults.darwin``, as any sidecar.

What stands between it and the kernel is tests/host/bsd.py.
"""

from __future__ import annotations

import ctypes  # noqa: F401  as macOS' own parts load it: for call_itself_keeper it would be loaded late
import sys
from collections.abc import Callable
from functools import cache

if sys.platform != "linux":
    raise ImportError("tests.host.bsd is made of Linux")

from sidecar import cli, host
from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin import keeper as darwin_keeper
from sidecar.host.darwin.kernel_events import KernelEvents
from sidecar.host.linux import syscalls
from tests.host.bsd import Kernel, Kevent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sidecar.host.base import Seen, Session
    from sidecar.host.survey import Survey

COMMAND = (sys.executable, "-m", "tests.faults.darwin")


def attach(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Session:
    kernel = Kernel()
    watched = darwin_guard.identify(kernel, parent_pid, None)
    lifeline = darwin_guard.split(kernel, lambda: KernelEvents(kernel.kqueue(), Kevent), watched, at_end)
    kernel.close()  # the guard's: what it hears must not be taken from it
    from sidecar.host.darwin import session
    from sidecar.host.linux import orphans

    own = Kernel()
    return session.DarwinSession(own, lambda: KernelEvents(own.kqueue(), Kevent), lifeline, watched, orphans.boot_id())


def survey(command: str) -> Survey:
    del command
    from sidecar.host.darwin import survey as darwin
    from sidecar.host.linux import orphans

    kernel = Kernel()
    return darwin.DarwinSurvey(kernel, lambda: KernelEvents(kernel.kqueue(), Kevent), orphans.boot_id())


@cache
def own_kernel() -> Kernel:
    """The supervisor's, for job control."""
    return Kernel()


def look_at(pid: int) -> Seen | None:
    return own_kernel().read(pid)


def call_itself_keeper(_: object) -> None:
    """For tests, which tell it by that from the supervisor: a process of macOS cannot."""
    syscalls.prctl(syscalls.PR_SET_NAME, b"sidecar-keeper")


if __name__ == "__main__":
    setattr(darwin_keeper.DarwinKeeping, "_begin", call_itself_keeper)  # noqa: B010  for mypy methods do not change
    host.attach = attach
    host.survey = survey
    host.look_at = look_at
    sys.exit(cli.main())
