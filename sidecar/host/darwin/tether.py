"""The supervisor's side of the guard on macOS: what it waits for, watches, and tells. See ``Tether`` for all of it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

import msgspec

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.host import bundle, posix, records
from sidecar.host.base import Host, SignalledTo
from sidecar.host.darwin import sweep
from sidecar.host.darwin.guard import Watched, watch
from sidecar.host.darwin.host import DarwinHost
from sidecar.host.darwin.kin import Process, System
from sidecar.host.darwin.notices import EVFILT_PROC, Notices
from sidecar.host.drafts import draft_of
from sidecar.host.ledger import Ledger
from sidecar.host.lifeline import BY_BOOTLOADER, Lifeline, order_of_file
from sidecar.wire.messages import Guarantees, ServiceReady, ServiceState, SupervisorSwept


class KqueueTether:
    """See ``sidecar.host.base.Tether``."""

    def __init__(
        self, system: System, make_notices: Callable[[], Notices], lifeline: Lifeline, watched: Watched, boot_id: str
    ) -> None:
        """Hang on what ``split`` returned. ``boot_id`` tells this boot from all others."""
        self._system = system
        self._make_notices = make_notices
        self._lifeline = lifeline
        self._watched = watched
        self._boot_id = boot_id
        self._ledger = Ledger(self._identify)
        self._run_id = ""

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """See ``Tether``."""
        posix.watch_signals(seen, child_died)

    def make_host(self, run_id: str) -> Host:
        """See ``Tether``. The guard's end instead is not lost: ``watch`` will read it again."""
        self._run_id = run_id
        self._lifeline.order(b"run " + run_id.encode())
        os.read(self._lifeline.signals, 1)
        return DarwinHost(
            run_id,
            guarded=True,
            parent_watched=self._watched.app is not None,
            system=self._system,
            notices=self._make_notices(),
        )

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """See ``Tether``."""
        notices = self._make_notices()
        notices.read(self._lifeline.signals)
        if self._watched.app is not None:
            try:
                watch(self._system, notices, self._watched.app)
            except ProcessLookupError:
                gone("the app has ended")  # before we looked
        while True:
            for event in notices.wait():
                if event.filter == EVFILT_PROC:
                    gone("the app has ended")
                    continue
                numbers = os.read(self._lifeline.signals, 512)
                if not numbers:
                    gone("the guard has ended")
                    return
                for byte in numbers:
                    number = byte & ~BY_BOOTLOADER
                    forwarded("guard" if byte == number else "bootloader", number)

    def announce_grace(self, ms: int) -> None:
        """See ``Tether``."""
        self._lifeline.order(b"grace %d" % ms)

    def begin_record(self, guarantees: Guarantees) -> None:
        """See ``Tether``."""
        owners = [it for it in map(self._identify, (self._lifeline.guard_pid, os.getpid())) if it is not None]
        if not owners:
            raise OSError(errno.ENOENT, "the system does not show who runs it")  # it would look like a dead run
        record = records.RunRecord(
            run_id=self._run_id,
            boot_id=self._boot_id,
            owners=tuple(owners),
            app=None if self._watched.app is None else _identity(self._watched.app),
            guarantees=msgspec.to_builtins(guarantees),
        )
        path = records.run_path(self._run_id)
        # told before it is written: the guard may have to end us in between
        for file in (path, draft_of(path)):
            self._lifeline.order(order_of_file(file))
        self._ledger.begin(path, record)

    def sweep(self) -> SupervisorSwept | None:
        """See ``Tether``."""
        return sweep.sweep(self._system, self._boot_id)

    def keep_record(self) -> None:
        """See ``Tether``."""
        self._ledger.keep()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """See ``Tether``."""
        self._ledger.note(told)

    def let_go(self) -> None:
        """See ``Tether``."""
        self._ledger.close()
        if os.getppid() == self._lifeline.guard_pid:
            # while it is our parent, the pid is its own; a stopped guard (SIGSTOP) would stay for ever
            os.kill(self._lifeline.guard_pid, signal.SIGCONT)
            return
        folder = bundle.unpacked_folder()
        if folder is not None and self._bootloader_is_dead():
            bundle.remove(folder)

    def _bootloader_is_dead(self) -> bool:
        before = self._watched.bootloader
        if before is None:
            return False
        now = self._system.read(before.pid)
        return now is None or now.dead or now.birth != before.birth

    def _identify(self, pid: int) -> records.Identity | None:
        found = self._system.read(pid)
        return None if found is None else _identity(found)


def _identity(process: Process) -> records.Identity:
    return records.Identity(process.pid, process.birth)
