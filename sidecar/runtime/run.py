"""The beginning and end of a run. It connects host and session to the loop: their reports go into the inbox."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from functools import partial

from sidecar.core.events import AppGone, Swept
from sidecar.diagnostics import say
from sidecar.host import frozen, load_late_modules
from sidecar.host.base import Host, Session, SignalledTo
from sidecar.protocol.messages import ServiceReady, ServiceState, SupervisorSwept
from sidecar.runtime.loop import ChildSignal, Inbox, SignalSeen
from sidecar.state.run_record import STATE_DIR
from sidecar.threads import start_thread

SETTLE_BOUND_S = 15.0
"""How long we wait for the sweep and the record. A sweep takes as long as its kills, and a disk may hang."""


SEAL_AFTER_S = 1.0
"""Seconds until we load the modules that we may need later: when a start is usually over, but long before a cleaner of
temporary files could remove them."""


class Run:
    """This supervisor's run: its host, and whether the sweep of earlier runs is done."""

    def __init__(self, session: Session, inbox: Inbox) -> None:
        """Take signals, wait for the guard, and begin to sweep and to watch."""
        # SimpleQueue.put is reentrant, so a signal handler may call it
        session.watch_signals(partial(_seen, inbox, "us"), partial(child_died, inbox, threading.Event()))
        self._session = session
        self._inbox = inbox
        self._record_due = threading.Lock()
        """Acquired once: when the record is written, or by the first report that there is none."""
        self._settled = threading.Event()
        self.host: Host = session.make_host(os.urandom(16).hex())
        start_thread("record", self._keep_record)
        start_thread("session", self._watch)
        if frozen.unpacked_folder() is not None:
            start_thread("modules", _seal)

    def wait_settled(self) -> None:
        """Wait before the first spawn until this run has its record, and the processes of dead runs are gone.

        Then their ports are free, too. If this takes too long and there is no record yet, report it: only a disk that
        hangs can be the reason.
        """
        if not self._settled.wait(SETTLE_BOUND_S) and self._record_due.acquire(blocking=False):
            self._tell_unrecorded(
                f"its disk has not answered for {SETTLE_BOUND_S:.0f} s. {STATE_DIR} can name a folder on another disk"
            )

    def read_stdin(self, read: Callable[[], None]) -> None:
        """A thread's body: run ``read``, which returns at the end of stdin. That ends the run."""
        self._session.read_stdin(read)

    def announce_grace(self, ms: int) -> None:
        """Tell the guard how long to wait for us when the app dies."""
        self._session.announce_grace(ms)

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Write this message into the record."""
        self._session.note(told)

    def end(self) -> None:
        """Remove what the next start would have to sweep, and wake the guard. Call this when all below us is dead."""
        self._settled.wait(SETTLE_BOUND_S)
        self._session.let_go()

    def _watch(self) -> None:
        self._session.watch(lambda cause: self._inbox.put(AppGone(cause)), partial(_seen, self._inbox))

    def _keep_record(self) -> None:
        try:
            # first: the sweep may take long, and if we are killed meanwhile, the next start needs the record
            self._begin_record()
            report = self._session.sweep()
            if report is not None:
                self._inbox.put(Swept(report))
        finally:
            self._settled.set()
        self._session.keep_record()

    def _begin_record(self) -> None:
        try:
            self._session.begin_record(self.host.guarantees())
        except OSError as error:
            self._tell_unrecorded(str(error))
        self._record_due.acquire(blocking=False)

    def _tell_unrecorded(self, reason: str) -> None:
        problem = f"this run has no record, so if it is killed, the next start may not find what it leaves: {reason}"
        say("warning", problem)
        self._inbox.put(Swept(SupervisorSwept((), 0, 0, 0, (problem,))))


def all_is_loaded() -> None:
    """Turn on the garbage collector, but keep it from scanning what is loaded so far: that lives as long as we do."""
    gc.freeze()
    gc.enable()


def _seal() -> None:
    time.sleep(SEAL_AFTER_S)
    try:
        load_late_modules()
    except (ImportError, OSError):
        pass  # a cleaner has already removed them; a later import will fail, and name the module
    frozen.seal()
    say("debug", "from here on no module is loaded from the unpacked folder")


def _seen(inbox: Inbox, to: SignalledTo, number: int) -> None:
    inbox.put(SignalSeen(number, to))


def child_died(inbox: Inbox, told: threading.Event) -> None:
    """Coalesce SIGCHLDs, so that a fork storm cannot flood the inbox."""
    if not told.is_set():
        told.set()
        inbox.put(ChildSignal(told.clear))


def new_token() -> str:
    """Make a secret of 256 bits."""
    return os.urandom(32).hex()


def jitter() -> float:
    """Return a float in [0, 1) for the backoff. ``random`` costs more to import than all of this module."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)
