"""What a guard does in the same way everywhere: it passes signals on, takes orders, and knows the supervisor's end.

Light on purpose, as all that is loaded before the guard forks.
"""

from __future__ import annotations

import os
import signal
import sys

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.host.lifeline import path_of
from sidecar.host.shared import EXIT_APP_GONE, EXIT_REFUSED, REFUSALS, cannot_start

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import NoReturn


def forwarded() -> tuple[signal.Signals, ...]:
    """The signals that ask us to end. SIGHUP is none where it is ignored already: ``nohup`` means what it says."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, *(() if ignored else (signal.SIGHUP,)))


class Watchman:
    """The guard's side of the lifeline (see ``sidecar.host.lifeline``). The loop around it is the platform's."""

    def __init__(self, supervisor: int, lifeline: int, orders: int) -> None:
        """``supervisor`` is our child; ``lifeline`` and ``orders`` are our ends of the pipes."""
        self._supervisor = supervisor
        self._lifeline = lifeline
        self._orders = orders
        self._status: int | None = None
        """The supervisor's wait status, once it is dead."""
        self._grace_s = 0.0
        self._rest = b""
        self._files: list[str] = []
        """This run's record and its draft."""
        self._run_id = ""

    def _take_over(self) -> int:
        """Begin; the descriptor that is ready when a signal has come, for ``_take_signals``."""
        os.set_blocking(self._lifeline, False)  # a stopped supervisor must not stop us with a full pipe
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._release_standard_streams()
        return self._open_signals()

    def _open_signals(self) -> int:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (*forwarded(), signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        return wake_read

    def _release_standard_streams(self) -> None:
        """Let go of the app's pipes: they are the supervisor's, and its closing of them must be seen by the app."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)

    def _tell(self, byte: int) -> None:
        try:
            os.write(self._lifeline, bytes([byte]))
        except OSError:
            pass  # EPIPE: the supervisor is dying, which SIGCHLD tells; EAGAIN: it has 64 Ki unread signals already

    def _take_signals(self, fd: int) -> None:
        for number in os.read(fd, 512):
            self._take_signal(number)

    def _take_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        else:
            self._tell(number)

    def _take_orders(self) -> bool:
        data = os.read(self._orders, 512)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            order, _, value = line.partition(b" ")
            if order == b"grace":
                self._grace_s = int(value) / 1000
            elif order == b"file":
                self._files.append(path_of(value))
            elif order == b"run":
                self._run_id = value.decode()
        return bool(data)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return  # nobody is left to wait for
            if pid == 0:
                return
            if pid == self._supervisor:
                self._status = status

    def _take_last_orders(self) -> None:
        """One may have come with the death, and been passed over for it."""
        os.set_blocking(self._orders, False)
        try:
            while self._take_orders():
                pass
        except BlockingIOError:
            pass  # somebody has the pipe still: the supervisor, or a process that could not be ended

    def _remove_files(self) -> None:
        """Nothing is left that the next start would have to sweep."""
        self._take_last_orders()
        for path in self._files:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # the supervisor removed it
            except OSError as error:
                say("warning", f"the record {path} could not be removed: {error.strerror}")

    def _leave(self, *, app_gone: bool) -> NoReturn:
        """End with the supervisor's exit code, or with the app's death where that was the reason."""
        if self._status is None or (app_gone and os.WIFSIGNALED(self._status)):
            os._exit(EXIT_APP_GONE)
        code = os.waitstatus_to_exitcode(self._status)
        os._exit(code if code >= 0 else 128 - code)


def leave_unable(error: OSError) -> NoReturn:
    """The end of a guard that has nothing to set itself up with, or anything else that is wrong with it.

    The supervisor sees it, and ends itself and what it has started.
    """
    if error.errno not in REFUSALS:
        raise error
    say("error", cannot_start(error))
    os._exit(EXIT_REFUSED)
