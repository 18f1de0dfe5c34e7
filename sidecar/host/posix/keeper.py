"""The keeper: a second child of the guard. It ends the tree if the guard is dead and the supervisor hangs.

Theory of operation
===================

**Why it exists.** A supervisor that hangs cannot see its guard die: its loop is stuck, C code keeps the interpreter's
lock, or it is stopped. A signal from the kernel at the guard's death (PDEATHSIG) cannot help. SIGKILL would also
kill a healthy supervisor, which needs time to end its tree in order. A signal that spares a healthy supervisor does not
end a stuck one either.

**Which process runs this.** The guard forks it (``Keeper``) before any service starts. It calls ``Keeping.keep`` on its
only thread and never returns. It blocks all signals: those to the whole process group are not meant for it.

**What it waits for.** The end of the pipe from the guard. The guard forwards each order through it
(``Kept._take_order``), so the keeper knows the grace and the files.

**What it does when each one dies.**

- The guard dies: the pipe ends. The keeper gives the supervisor the grace of its services and ``WEDGED_S``. If the
  supervisor is still alive then, the keeper stops it, kills everything below it, and kills it (``_end_all``).
- The supervisor dies: the keeper does nothing. The guard ends the tree, and the keeper with it. If the guard is dead as
  well, the keeper exits, and the next start ends the rest.
- The keeper dies: the guard forks another one and repeats the orders (``Kept._start_keeper``). If the keeper failed by
  itself instead of by a signal, the guard goes on without one.
- The app dies: the keeper does nothing. That is the guard's and the supervisor's part.

**Bounds.** The grace and ``WEDGED_S`` before it acts, ``KILL_BOUND_S`` of the platform's kill loop after that.

This module has what all platforms share. ``sidecar.host.linux.keeper`` and ``sidecar.host.darwin.keeper`` end the tree.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.host import frozen
from sidecar.host.posix.guard import PosixGuard

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import NoReturn

WEDGED_S = 0.5
"""Added to the grace: a supervisor needs milliseconds to end its tree. If it needs longer, nothing is lost: supervisor
and keeper kill the same tree."""


class Keeping(PosixGuard, ABC):
    """A keeper's whole life."""

    def __init__(self, orders: int, at_end: Callable[[bool], None] | None = None) -> None:
        """``orders`` is our end of the pipe; ``at_end`` is the guard's, see ``split``."""
        super().__init__(-1, -1, orders)
        self._at_end = at_end

    def keep(self) -> NoReturn:
        """Wait for the guard's death, then end what the supervisor does not end in its time."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # a signal to the group is not for us
            self._begin()
            while self._take_orders():
                pass
            self._await_end(time.monotonic() + self._grace_s + WEDGED_S)
            if not self._supervisor_is_gone():
                self._end()
        except Exception as error:  # noqa: BLE001  no fault may return into the guard's code, from which we were forked
            say("error", f"the keeper has failed: {error!r}. Please report this.")
        finally:
            os._exit(0)

    def _end(self) -> None:
        self._end_all()
        folder = frozen.unpacked_folder()
        if folder is not None and self._bootloader_is_gone() and not frozen.remove(folder):
            say("warning", f"the unpacked folder {folder} could not be removed; the next start tries again")
        self._remove_files()
        if self._at_end is not None:
            self._at_end(self._app_is_gone())
        if self._unpacked:
            self._let_go_of_everything()  # a reader of our stderr must not wait for a disk
            self._remove_unpacked()

    # ── the platform's ───────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _begin(self) -> None:
        """Set up the process: its name, and a wake-up at the guard's death, where the platform has them."""

    @abstractmethod
    def _await_end(self, deadline: float) -> None:
        """Wait until the supervisor is dead, at most until ``deadline`` (of ``time.monotonic``)."""

    @abstractmethod
    def _supervisor_is_gone(self) -> bool:
        """Tell whether the supervisor is dead. If it is, the keeper has nothing to do."""

    @abstractmethod
    def _bootloader_is_gone(self) -> bool:
        """Tell whether a bootloader was watched and is dead. Only then do we remove its unpacked folder."""

    @abstractmethod
    def _app_is_gone(self) -> bool:
        """Tell whether the app was watched and is dead."""

    @abstractmethod
    def _end_all(self) -> None:
        """End everything below the supervisor, then the supervisor."""


class Keeper:
    """The guard's handle for a keeper."""

    __slots__ = ("_orders", "pid")

    def __init__(self, begin: Callable[[int], Keeping], closed: Iterable[int]) -> None:
        """Fork one. It closes the guard's descriptors ``closed``, makes a ``Keeping`` by ``begin(pipe)`` and runs it.

        Raises ``OSError``.
        """
        reader, self._orders = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(self._orders)
            raise
        if self.pid == 0:
            for fd in (self._orders, *closed):
                os.close(fd)
            begin(reader).keep()
        os.close(reader)
        os.set_blocking(self._orders, False)  # a stopped keeper must not block the guard with a full pipe

    def tell(self, line: bytes) -> None:
        """Forward an order."""
        try:
            os.write(self._orders, line + b"\n")
        except OSError:
            pass  # EPIPE: the keeper is dead, and SIGCHLD says so; EAGAIN: it is stopped

    def close(self) -> None:
        """Release the pipe of a dead keeper."""
        os.close(self._orders)


class Kept(PosixGuard):
    """A guard with a keeper. If the keeper is killed, the guard forks another one; the services go on."""

    def __init__(self, supervisor: int, lifeline: int, orders: int) -> None:
        """See ``PosixGuard``."""
        super().__init__(supervisor, lifeline, orders)
        self._keeper: Keeper | None = None
        self._keeps = True
        """Whether to fork a keeper if none lives."""
        self._passed_on: list[bytes] = []
        """Orders so far. Each new keeper gets all of them."""

    def _start_keeper(self, begin: Callable[[int], Keeping], closed: Iterable[int]) -> None:
        """Fork a keeper, unless one lives, keepers fail by themselves, or the supervisor is dead; see ``Keeper``."""
        if self._keeper is not None or not self._keeps or self._status is not None:
            return
        try:
            self._keeper = Keeper(begin, closed)
        except OSError:
            return  # EAGAIN, ENOMEM, EMFILE: not now; the next signal to us tries again
        for line in self._passed_on:
            self._keeper.tell(line)

    def _enders(self) -> list[int]:
        """Pids of our children that finish our work if we are killed: supervisor and keeper, if they live."""
        return [
            *([self._supervisor] if self._status is None else []),
            *([self._keeper.pid] if self._keeper is not None else []),
        ]

    def _bury(self, pid: int, status: int) -> None:
        super()._bury(pid, status)
        if self._keeper is not None and pid == self._keeper.pid:
            self._keeper.close()
            self._keeper = None
            self._keeps = os.WIFSIGNALED(status)  # a keeper that failed by itself would fail again

    def _take_order(self, line: bytes) -> None:
        super()._take_order(line)
        order, _, value = line.partition(b" ")
        if order == b"removed":
            self._passed_on = [it for it in self._passed_on if it != b"unpacked " + value]
        else:
            self._passed_on.append(line)
        if self._keeper is not None:
            self._keeper.tell(line)
