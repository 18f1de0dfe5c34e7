"""The half of the guard that Linux and macOS share: signals, orders, reaping and the exit code.

Theory of operation
===================

**Which process runs this.** The guard and the keeper, each on its only thread. Both derive from ``PosixGuard`` and
bring their own wait: ``poll`` (``sidecar.host.linux.guard``), ``kevent`` (``sidecar.host.darwin.guard``) or a blocking
read of the orders (``sidecar.host.posix.keeper``).

**What it takes.** Two inputs. ``_take_signals`` forwards each signal to the supervisor as one byte, and reaps on
SIGCHLD. ``_take_orders`` reads the supervisor's orders: the grace, the files to remove, the run's id
(``sidecar.host.posix.lifeline`` has the format). The pipe to the supervisor never blocks the guard: if it is full or
closed, ``_tell`` drops the byte.

**What it does when each one dies.** When the supervisor dies, ``_bury`` keeps its wait status; the loops stop at that.
When the supervisor closes the pipe of orders, ``_take_orders`` returns ``False``. If the guard cannot set itself up,
``leave_unable`` exits; the supervisor then reads the lifeline's end and ends itself.

**The end.** ``_remove_files`` takes the orders that are still in the pipe, then removes the run's record and its draft.
``_leave`` exits with the supervisor's code, or with ``EXIT_APP_GONE``. If services have unpacked folders
(``sidecar.host.one_file``), it first forks a process that removes them, so that neither the kill nor the exit waits for
the user's disk.

**Bounds.** None here: the loop around this has them.

The guard loads this before it forks, so it imports nothing heavy.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.exit_codes import EXIT_APP_GONE, EXIT_CANNOT_START, EXIT_SIGNALLED
from sidecar.host import unpacked
from sidecar.host.posix.lifeline import path_of
from sidecar.host.shared import REFUSALS, cannot_start

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import NoReturn

DESCRIPTORS_MOST = 1024
"""The guard has a dozen."""


def forwarded() -> tuple[signal.Signals, ...]:
    """Return the signals that ask us to end. An ignored SIGHUP stays ignored: ``nohup`` set it so."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, *(() if ignored else (signal.SIGHUP,)))


class PosixGuard:
    """The guard's side of the lifeline (see ``sidecar.host.posix.lifeline``). The loop around it is the platform's."""

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
        self._unpacked: dict[bytes, tuple[str, str]] = {}
        """Folders that services have unpacked: the path and the identity, by the value of the order."""
        self._run_id = ""

    def _take_over(self) -> int:
        """Begin. Return the descriptor that becomes readable with a signal, for ``_take_signals``."""
        os.set_blocking(self._lifeline, False)  # a stopped supervisor must not block us with a full pipe
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        gc.freeze()  # a search for garbage would write to pages that we share with the supervisor
        gc.enable()
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
        """Release the app's pipes: when the supervisor closes them, the app must see their end."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)

    def _tell(self, byte: int) -> None:
        try:
            os.write(self._lifeline, bytes([byte]))
        except OSError:
            pass  # EPIPE: the supervisor is dying, SIGCHLD follows; EAGAIN: it has 64 Ki unread signals already

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
            self._take_order(line)
        return bool(data)

    def _take_order(self, line: bytes) -> None:
        order, _, value = line.partition(b" ")
        if order == b"grace":
            self._grace_s = int(value) / 1000
        elif order == b"file":
            self._files.append(path_of(value))
        elif order == b"unpacked":
            identity, _, path = value.partition(b" ")
            self._unpacked[value] = path_of(path), identity.decode()
        elif order == b"removed":
            self._unpacked.pop(value, None)
        elif order == b"run":
            self._run_id = value.decode()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return  # there is no child left
            if pid == 0:
                return
            self._bury(pid, status)

    def _bury(self, pid: int, status: int) -> None:
        if pid == self._supervisor:
            self._status = status

    def _take_last_orders(self) -> None:
        """Take orders that came together with the death: the loop stopped before it read them."""
        os.set_blocking(self._orders, False)
        try:
            while self._take_orders():
                pass
        except BlockingIOError:
            pass  # a process still holds the pipe: the supervisor, or one that survived the kill

    def _remove_files(self) -> None:
        """Remove this run's record, so that the next start has nothing to sweep."""
        self._take_last_orders()
        for path in self._files:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # the supervisor removed it
            except OSError as error:
                say("warning", f"the record {path} could not be removed: {error.strerror}")

    def _remove_unpacked(self) -> None:
        """Remove what services have unpacked."""
        for folder, identity in self._unpacked.values():
            unpacked.remove(folder, identity)

    def _remove_unpacked_apart(self) -> None:
        """Call ``_remove_unpacked`` in another process. If the disk hangs, only that process waits."""
        if not self._unpacked:
            return
        try:
            if os.fork() != 0:
                return
        except OSError:
            return  # EAGAIN, ENOMEM: the next start does it, by the record
        try:
            os.setsid()
            self._take_name(b"sidecar-remover")
            self._let_go_of_everything()
            for number in (*forwarded(), signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._remove_unpacked()
        finally:
            os._exit(0)

    def _let_go_of_everything(self) -> None:
        """Release the app's streams, all other descriptors and the working folder."""
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.closerange(3, DESCRIPTORS_MOST)
        os.chdir("/")

    def _take_name(self, name: bytes) -> None:
        """Take a name of its own for this process, in the platforms that have one."""

    def _leave(self, *, app_gone: bool) -> NoReturn:
        """Exit with the supervisor's code; with ``EXIT_APP_GONE`` if a signal killed it after the app's death."""
        self._remove_unpacked_apart()
        if self._status is None or (app_gone and os.WIFSIGNALED(self._status)):
            os._exit(EXIT_APP_GONE)
        code = os.waitstatus_to_exitcode(self._status)
        os._exit(code if code >= 0 else EXIT_SIGNALLED - code)


def wake_parent(pid: int) -> bool:
    """Continue our parent: one that is stopped (SIGSTOP) would stay stopped. Return ``False`` if it is not ``pid``."""
    if os.getppid() != pid:
        return False  # it is dead, and another process has adopted us
    try:
        os.kill(pid, signal.SIGCONT)
    except OSError:
        pass  # ESRCH: it has died since the check; EPERM: it died, and another user's process has the pid
    return True


def leave_unable(error: OSError) -> NoReturn:
    """Exit because the system refuses the guard what it needs; raise any other error again.

    The supervisor reads the lifeline's end, then ends its tree and itself.
    """
    if error.errno not in REFUSALS:
        raise error
    say("error", cannot_start(error))
    os._exit(EXIT_CANNOT_START)
