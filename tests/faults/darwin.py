"""Run the sidecar with macOS's host code on Linux: ``python -m tests.faults.darwin`` is a drop-in for the sidecar.

tests/host/bsd.py emulates macOS's kernel interfaces.
"""

from __future__ import annotations

import ctypes  # noqa: F401  macOS's own code has loaded it by then; call_itself_keeper would load it too late
import sys
from collections.abc import Callable
from functools import cache

if sys.platform != "linux":
    raise ImportError("tests.host.bsd runs on Linux")

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
    kernel.close()  # it is the guard's: reading here would steal its events
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
    """Return the supervisor's kernel, for job control."""
    return Kernel()


def look_at(pid: int) -> Seen | None:
    return own_kernel().read(pid)


def call_itself_keeper(_: object) -> None:
    """Set the process name by which tests tell the keeper from the supervisor. macOS has no call for that."""
    syscalls.prctl(syscalls.PR_SET_NAME, b"sidecar-keeper")


if __name__ == "__main__":
    setattr(darwin_keeper.DarwinKeeping, "_begin", call_itself_keeper)  # noqa: B010  mypy rejects assigning to a method
    host.attach = attach
    host.survey = survey
    host.look_at = look_at
    sys.exit(cli.main())
