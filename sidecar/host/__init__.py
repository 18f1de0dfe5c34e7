"""The system around us: the one place that picks a platform."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sidecar.errors import UnsupportedPlatformError

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # the guard is in this package and forks before msgspec is loaded
    from sidecar.host.base import Host, Seen, Tether
    from sidecar.host.survey import Survey


def attach(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Tether:
    """Become a supervisor that hangs on the app: on ``parent_pid``, or else on the process that launched us.

    ``UNWATCHED`` in the place of a pid watches none.

    Where a guard is needed it is forked here, before anything heavy is loaded: this returns in its child, and
    ``at_end`` is what the guard does when all below it is dead; it is told whether the app's death was the reason.

    Raises ``ProcessLookupError`` if the app is dead already, ``UnsupportedPlatformError`` where no host is written yet,
    ``OSError`` if the system has no process to spare.
    """
    if sys.platform == "linux":
        from sidecar.host.linux import guard

        lifeline = guard.split(parent_pid, at_end)
        from sidecar.host.linux.tether import Guarded

        return Guarded(lifeline)
    if sys.platform == "darwin":
        from sidecar.host.darwin import guard as darwin_guard
        from sidecar.host.darwin.kqueue import make_notices
        from sidecar.host.darwin.libproc import Libproc

        system = Libproc()
        watched = darwin_guard.identify(system, parent_pid, system.bootloader())
        lifeline = darwin_guard.split(system, make_notices, watched, at_end)
        from sidecar.host.darwin.tether import KqueueTether

        return KqueueTether(system, make_notices, lifeline, watched, system.boot_id())
    if sys.platform == "win32":
        from sidecar.host.windows.tether import Unguarded

        return Unguarded(parent_pid)
    raise unsupported()


def make_host(run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> Host:
    """The host that belongs to the guard of Linux, also for the doctor; elsewhere the tether makes its own.

    ``run_id`` marks every process of this run; ``guarded``, ``parent_watched`` and ``contained`` (in a control group)
    say what the guard set up. Raises ``UnsupportedPlatformError`` where no host is written yet.
    """
    if sys.platform == "linux":
        from sidecar.host.linux.host import LinuxHost

        return LinuxHost(run_id, guarded=guarded, parent_watched=parent_watched, contained=contained)
    raise unsupported()


def survey(command: str) -> Survey:
    """What ``command`` sees, which supervises nothing.

    Raises ``UnsupportedPlatformError`` where none is written yet.
    """
    if sys.platform == "linux":
        from sidecar.host.linux import survey as linux

        return linux
    if sys.platform == "darwin":
        from sidecar.host.darwin.kqueue import make_notices
        from sidecar.host.darwin.libproc import Libproc
        from sidecar.host.darwin.survey import DarwinSurvey

        system = Libproc()
        return DarwinSurvey(system, make_notices, system.boot_id())
    if sys.platform == "win32":
        from sidecar.host.windows import survey as windows

        return windows
    raise unsupported(command)


def look_at(pid: int) -> Seen | None:
    """A process of this moment, for job control; ``None`` if there is none (any more).

    Raises ``UnsupportedPlatformError`` where there is no job control, or no host is written yet.
    """
    if sys.platform == "linux":
        from sidecar.host.linux.tree import read_process

        return read_process(pid)
    if sys.platform == "darwin":
        from sidecar.host.darwin.libproc import Libproc

        return Libproc().read(pid)
    raise unsupported()


def unsupported(command: str | None = None) -> UnsupportedPlatformError:
    """The error for a platform without a host, or for a command that is not written for it."""
    name = {"win32": "Windows", "darwin": "macOS"}.get(sys.platform)
    if name is not None and command is not None:
        return UnsupportedPlatformError(f"'sidecar {command}' does not run on {name} yet. The other commands do.")
    return UnsupportedPlatformError(
        f"This version of sidecar runs on Linux, Windows and macOS only; this is {sys.platform}."
    )
