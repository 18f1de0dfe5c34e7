"""The half of the supervisor's session that Linux and macOS share: a guard is our parent, and the lifeline leads to it.

``sidecar.host.base.Session`` says what each method owes. ``sidecar.host.linux.session`` has the theory of operation.

The platform's class adds how it waits (``_sources``), how it identifies a process, and how it leaves the control group
that its guard has made.
"""

from __future__ import annotations

import errno
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

assert sys.platform != "win32"  # for mypy: there is no guard on Windows

from sidecar.diagnostics import say
from sidecar.host import frozen
from sidecar.host.base import Host, SignalledTo
from sidecar.host.one_file import OneFilePrograms
from sidecar.host.posix import host
from sidecar.host.posix.guard import wake_parent
from sidecar.host.posix.lifeline import BY_BOOTLOADER, Lifeline, order_of_file, order_of_unpacked
from sidecar.protocol.messages import Guarantees, ServiceReady, ServiceState, SupervisorSwept
from sidecar.state import run_record
from sidecar.state.atomic import draft_of
from sidecar.state.record_writer import RecordWriter


class GuardedSession(ABC):
    """A supervisor below a guard; see ``sidecar.host.base.Session``."""

    def __init__(self, lifeline: Lifeline) -> None:
        """Keep what the guard's ``split`` returned."""
        self._lifeline = lifeline
        one_file = OneFilePrograms(
            self._below,
            self._variable,
            self._identify_quietly,
            lambda it: lifeline.order(order_of_unpacked(it.path, it.identity)),
            lambda it: lifeline.order(order_of_unpacked(it.path, it.identity, there=False)),
        )
        self._record_writer = RecordWriter(self._identify_quietly, one_file.tend)
        self._run_id = ""

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """See ``Session``."""
        host.watch_signals(seen, child_died)

    def make_host(self, run_id: str) -> Host:
        """See ``Session``. If the guard is dead, ``watch`` reads the lifeline's end once more."""
        self._run_id = run_id
        return self._make_host()

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """See ``Session``."""
        for source in self._sources():
            if source == "app":
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
        """See ``Session``."""
        self._lifeline.order(b"grace %d" % ms)

    def begin_record(self, guarantees: Guarantees) -> None:
        """See ``Session``."""
        owners = [it for it in map(self._identify, (self._lifeline.guard_pid, os.getpid())) if it is not None]
        if not owners:
            # without owners the run would count as dead
            raise OSError(errno.ENOENT, "the system shows neither the guard nor the supervisor")
        record = run_record.RunRecord(
            run_id=self._run_id,
            boot_id=self._boot_id(),
            owners=tuple(owners),
            app=self._identify_app(),
            guarantees=msgspec.to_builtins(guarantees),
        )
        record = self._completed(record)
        path = run_record.run_path(self._run_id)
        # the order goes before the write: the guard may have to end us between the two
        for file in (path, draft_of(path)):
            self._lifeline.order(order_of_file(file))
        self._record_writer.begin(path, record)

    def sweep(self) -> SupervisorSwept | None:
        """See ``Session``."""
        try:
            return self._sweep()
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must not stop this run's services
            problem = f"what earlier runs left could not be looked for: {error!r}. Please report this."
            say("error", problem)
            return SupervisorSwept((), 0, 0, 0, (problem,))

    def keep_record(self) -> None:
        """See ``Session``."""
        self._record_writer.keep()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """See ``Session``."""
        self._record_writer.note(told)

    def let_go(self) -> None:
        """See ``Session``. A dead guard's work is ours."""
        self._record_writer.close(guarded=os.getppid() == self._lifeline.guard_pid)
        if wake_parent(self._lifeline.guard_pid):
            return
        self._leave_group()
        folder = frozen.unpacked_folder()
        if folder is not None and self._bootloader_is_dead():
            frozen.remove(folder)

    def _identify_quietly(self, pid: int) -> run_record.Identity | None:
        try:
            return self._identify(pid)
        except OSError:
            return None  # EMFILE, ENFILE, ENOMEM: ps shows one program less, and the loop goes on

    # ── the platform's ───────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _make_host(self) -> Host:
        """Wait until the guard is on watch, then make the host."""

    @abstractmethod
    def _sources(self) -> Iterator[Literal["app", "lifeline"]]:
        """Wait, without end. Yield the app once, when it has ended, and the lifeline each time that it can be read."""

    @abstractmethod
    def _identify(self, pid: int) -> run_record.Identity | None:
        """Return the identity of the process that has the pid now; ``None`` if there is none. Raises ``OSError``."""

    @abstractmethod
    def _identify_app(self) -> run_record.Identity | None:
        """Return the app's identity; ``None`` if the app is not watched."""

    @abstractmethod
    def _below(self, pids: Sequence[int]) -> Mapping[int, Sequence[int]]:
        """Return the descendants of each of these processes. Raises ``OSError``."""

    @abstractmethod
    def _variable(self, pid: int, name: str) -> str | None:
        """Return a variable that the process was started with. Raises ``OSError``."""

    @abstractmethod
    def _boot_id(self) -> str:
        """Return an id that no other boot has."""

    def _completed(self, record: run_record.RunRecord) -> run_record.RunRecord:
        """Add to the record what only this platform has."""
        return record

    @abstractmethod
    def _sweep(self) -> SupervisorSwept | None:
        """End what dead runs left."""

    @abstractmethod
    def _leave_group(self) -> None:
        """Leave and remove the control group, where the guard has made one."""

    @abstractmethod
    def _bootloader_is_dead(self) -> bool:
        """Whether there was a bootloader, and it is dead."""
