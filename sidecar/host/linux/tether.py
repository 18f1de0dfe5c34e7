"""The supervisor's side of the guard: what it waits for, watches, and tells. See ``Tether`` for the whole of it."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Callable

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.host import bundle, make_host, posix, records
from sidecar.host.base import Host, SignalledTo
from sidecar.host.drafts import draft_of
from sidecar.host.ledger import Ledger
from sidecar.host.lifeline import BY_BOOTLOADER, ON_WATCH_WITH_GROUP, Lifeline, order_of_file
from sidecar.host.linux import cgroup
from sidecar.host.linux.guard import PR_SET_PDEATHSIG, is_dead, prctl
from sidecar.host.linux.sweep import boot_id, sweep
from sidecar.host.linux.tree import behind, pid_namespace, read_process
from sidecar.wire.messages import Guarantees, ServiceReady, ServiceState, SupervisorSwept


class Guarded:
    """A supervisor below a guard; see ``sidecar.host.base.Tether``."""

    def __init__(self, lifeline: Lifeline) -> None:
        """Hang on what ``split`` returned."""
        self._lifeline = lifeline
        self._ledger = Ledger(_identify)
        self._run_id = ""
        self._group: str | None = None

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """See ``Tether``."""
        posix.watch_signals(seen, child_died)

    def make_host(self, run_id: str) -> Host:
        """See ``Tether``."""
        self._run_id = run_id
        contained = self.await_guard()
        self._group = cgroup.own_folder() if contained else None
        return make_host(run_id, guarded=True, parent_watched=self._lifeline.app is not None, contained=contained)

    def await_guard(self) -> bool:
        """Wait until the guard is on watch; whether it has put us into a control group.

        Its end instead is not lost: ``watch`` will read it again. The app's death wakes a guard that was stopped
        (SIGSTOP) before: it would never come on watch.
        """
        poll = select.poll()
        poll.register(self._lifeline.signals, select.POLLIN)
        if self._lifeline.app is not None:
            poll.register(self._lifeline.app, select.POLLIN)
        poll.poll()
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # stopped (SIGSTOP), we could not see by the lifeline that it died
        if is_dead(self._lifeline.app):
            self._wake_guard()
        return os.read(self._lifeline.signals, 1) == bytes([ON_WATCH_WITH_GROUP])

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """See ``Tether``."""
        app, signals = self._lifeline.app, self._lifeline.signals
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        if app is not None:
            poll.register(app, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == app:
                    gone("the app has ended")
                    poll.unregister(fd)
                    continue
                numbers = os.read(signals, 512)
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
        owners = [it for it in map(read_process, (self._lifeline.guard_pid, os.getpid())) if it is not None]
        if not owners:
            raise OSError(errno.ENOENT, "/proc does not show who runs it")  # to others it would look like a dead run
        app = None if self._lifeline.app is None else behind(self._lifeline.app)
        record = records.RunRecord(
            run_id=self._run_id,
            boot_id=boot_id(),
            owners=tuple(records.Identity(it.pid, it.start) for it in owners),
            pid_namespace=pid_namespace(),
            group=self._group,
            app=None if app is None else records.Identity(app.pid, app.start),
            guarantees=msgspec.to_builtins(guarantees),
        )
        path = records.run_path(self._run_id)
        # told before it is written: the guard may have to end us in between
        for file in (path, draft_of(path)):
            self._lifeline.order(order_of_file(file))
        self._ledger.begin(path, record)

    def sweep(self) -> SupervisorSwept | None:
        """See ``Tether``."""
        return _sweep()

    def keep_record(self) -> None:
        """See ``Tether``."""
        self._ledger.keep()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """See ``Tether``."""
        self._ledger.note(told)

    def let_go(self) -> None:
        """See ``Tether``."""
        self._ledger.close()
        if self._wake_guard():
            return
        if self._group is not None:
            cgroup.leave(self._group)
        folder = bundle.unpacked_folder()
        if folder is not None and is_dead(self._lifeline.bootloader):
            bundle.remove(folder)

    def _wake_guard(self) -> bool:
        """Let a guard that is stopped (SIGSTOP) go on: it would stay for ever. Whether it is there."""
        if os.getppid() != self._lifeline.guard_pid:
            return False
        os.kill(self._lifeline.guard_pid, signal.SIGCONT)  # while it is our parent, the pid is its own
        return True


def _identify(pid: int) -> records.Identity | None:
    try:
        found = read_process(pid)
    except OSError:
        return None  # EMFILE, ENFILE, ENOMEM: ps shows one program less, which is no reason to stop the loop
    return None if found is None else records.Identity(found.pid, found.start)


def _sweep() -> SupervisorSwept | None:
    try:
        return sweep()
    except Exception as error:  # noqa: BLE001  a fault of ours in a thread: this run's services start all the same
        problem = f"what earlier runs left could not be looked for: {error!r}. Please report this."
        say("error", problem)
        return SupervisorSwept((), 0, 0, 0, (problem,))
