"""Limits for a command that only looks at a project: no link leads out, no program of it runs, and it ends in time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.errors import ConfigurationError
from sidecar.files import is_there, kept_in
from sidecar.services.package_json import read_package, upwards, workspace_patterns
from sidecar.tauri.project import FOLDER

LIMIT_S = 60.0
"""The bound for a look. The largest project that we know takes a second, on a slow disk a little longer."""


@contextmanager
def looking_at(root: str) -> Iterator[None]:
    """Limit the look at the project in ``root``. Call it on the main thread.

    Raises ``ConfigurationError`` if the look takes too long.
    """
    app = os.path.abspath(root)
    if os.path.basename(os.path.realpath(app)) == FOLDER:
        app = os.path.dirname(app)
    with kept_in(home_of(app), app), _ends_in_time(root):
        yield


def home_of(root: str) -> str:
    """Return the folder that contains the whole project: its repository, else its workspace, else itself."""
    real = os.path.realpath(root)
    for place in upwards(real):
        if is_there(os.path.join(place, ".git")):
            return place
    return next(filter(_is_workspace, upwards(real)), real)


def _is_workspace(folder: str) -> bool:
    with kept_in(folder, folder):
        return bool(workspace_patterns(folder, read_package(folder)))


class _TooLong(BaseException):
    """Not an ``Exception``, so that no reader of files takes it for an error of its own."""


if sys.platform == "win32":

    @contextmanager
    def _ends_in_time(root: str) -> Iterator[None]:
        """Set no bound: Windows has no timer that interrupts a regular expression."""
        del root
        yield

else:

    @contextmanager
    def _ends_in_time(root: str) -> Iterator[None]:
        before = signal.signal(signal.SIGALRM, _ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _TooLong:
            raise ConfigurationError(
                f"{root} was not understood within {LIMIT_S:g} s, so sidecar has given up.", "Name a smaller folder."
            ) from None
        finally:
            signal.signal(signal.SIGALRM, before)

    def _ring(_number: int, _frame: object) -> None:
        raise _TooLong
