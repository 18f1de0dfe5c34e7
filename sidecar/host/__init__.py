"""Choose the platform. No other module does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

from sidecar.errors import UnsupportedPlatformError

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # the guard is in this package and forks before msgspec is loaded
    from typing import Any

    from sidecar.host.base import Host, Seen, Session
    from sidecar.host.survey import Survey


def _load_msgspec() -> None:
    """Load msgspec without three modules that do nothing for us, so that each start is quicker.

    msgspec prefers typing_extensions to typing if it is installed. Since Python 3.11, typing has all that msgspec
    needs. msgspec uses textwrap for JSON Schemas only. uuid, which msgspec loads, asks platform for the system's name.
    """
    with_platform = ("platform",) if sys.platform == "linux" else ()  # elsewhere uuid does not ask
    # for the import system, None means: not installed
    stand_ins: dict[str, Any] = {"typing_extensions": None}
    stand_ins |= {name: _Later(name) for name in ("textwrap", *with_platform)}
    stand_ins = {name: it for name, it in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        import msgspec  # noqa: F401
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                sys.modules.pop(name, None)


class _Later(ModuleType):
    """A stand-in for a module. The module is loaded on first use."""

    def __getattr__(self, name: str) -> object:
        """Load the module and look there, unless we know the answer."""
        if (self.__name__, name) == ("platform", "system"):
            return lambda: "Linux"
        if name.startswith("__"):
            raise AttributeError(name)  # the import system looks for __spec__ and __path__
        import importlib

        if sys.modules.get(self.__name__) is self:  # another version of msgspec may use it while it is imported
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def attach(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Session:
    """Become a supervisor that depends on the app: on ``parent_pid``, or else on the process that launched us.

    If ``parent_pid`` is ``UNWATCHED``, no process is watched.

    On Linux and macOS this forks before anything heavy is loaded. The parent becomes the guard, and this returns in the
    child. The guard calls ``at_end`` once everything below it is dead. The argument says whether the app is dead.

    Raises ``ProcessLookupError`` if the app is dead already, ``UnsupportedPlatformError`` on a platform without a host,
    ``OSError`` if the system has no process to spare.
    """
    if sys.platform == "linux":
        from sidecar.host.linux import guard

        lifeline = guard.split(parent_pid, at_end)
        _load_msgspec()
        from sidecar.host.linux.session import LinuxSession

        return LinuxSession(lifeline)
    if sys.platform == "darwin":
        from sidecar.host.darwin import guard as darwin_guard
        from sidecar.host.darwin.kernel_events import make_kernel_events
        from sidecar.host.darwin.libproc import Libproc

        system = Libproc()
        watched = darwin_guard.identify(system, parent_pid, system.bootloader())
        lifeline = darwin_guard.split(system, make_kernel_events, watched, at_end)
        _load_msgspec()
        from sidecar.host.darwin.session import DarwinSession

        return DarwinSession(system, make_kernel_events, lifeline, watched, system.boot_id())
    if sys.platform == "win32":
        _load_msgspec()
        from sidecar.host.windows.session import WindowsSession

        return WindowsSession(parent_pid)
    raise unsupported()


def make_host(run_id: str, *, guarded: bool, parent_watched: bool, contained: bool) -> Host:
    """Make the host of Linux, for its session and for the doctor. On other systems the session makes its own.

    ``run_id`` marks every process of this run. ``guarded``, ``parent_watched`` and ``contained`` (in a control group)
    say what the guard set up. Raises ``UnsupportedPlatformError`` on any other platform.
    """
    if sys.platform == "linux":
        from sidecar.host.linux.host import LinuxHost

        return LinuxHost(run_id, guarded=guarded, parent_watched=parent_watched, contained=contained)
    raise unsupported()


def survey(command: str) -> Survey:
    """Return the platform's survey for ``command``, which supervises nothing.

    Raises ``UnsupportedPlatformError`` on a platform without a survey.
    """
    if sys.platform == "linux":
        from sidecar.host.linux import survey as linux

        return linux
    if sys.platform == "darwin":
        from sidecar.host.darwin.kernel_events import make_kernel_events
        from sidecar.host.darwin.libproc import Libproc
        from sidecar.host.darwin.survey import DarwinSurvey

        system = Libproc()
        return DarwinSurvey(system, make_kernel_events, system.boot_id())
    if sys.platform == "win32":
        from sidecar.host.windows import survey as windows

        return windows
    raise unsupported(command)


def look_at(pid: int) -> Seen | None:
    """Read a process for job control, as it is now; ``None`` if there is none (any more).

    Raises ``UnsupportedPlatformError`` on a platform without job control or without a host.
    """
    if sys.platform == "linux":
        from sidecar.host.linux.processes import read_process

        return read_process(pid)
    if sys.platform == "darwin":
        from sidecar.host.darwin.libproc import Libproc

        return Libproc().read(pid)
    raise unsupported()


def load_late_modules() -> None:
    """Load the modules that a supervisor may need later and that only the unpacked folder has; see ``frozen.seal``."""
    import linecache  # noqa: F401
    import locale  # noqa: F401
    import traceback  # noqa: F401

    import psutil  # noqa: F401

    if sys.platform == "linux":
        from sidecar.host.linux import names

        names.load()


def unsupported(command: str | None = None) -> UnsupportedPlatformError:
    """Make the error for a platform without a host, or for a command that does not exist on this platform."""
    name = {"win32": "Windows", "darwin": "macOS"}.get(sys.platform)
    if name is not None and command is not None:
        return UnsupportedPlatformError(f"'sidecar {command}' does not run on {name} yet. The other commands do.")
    return UnsupportedPlatformError(
        f"This version of sidecar runs on Linux, Windows and macOS only; this is {sys.platform}."
    )
