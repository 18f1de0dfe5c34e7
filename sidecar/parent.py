"""A run's beginning and end: the host below, the tether above, and what both tell put into the inbox."""

from __future__ import annotations

import os
import threading
from functools import partial

from sidecar.diagnostics import say
from sidecar.events import AppGone, Swept
from sidecar.host.base import Host, SignalledTo, Tether
from sidecar.host.records import STATE_DIR
from sidecar.runtime import ChildSignal, Inbox, SignalSeen
from sidecar.threads import start_thread
from sidecar.wire.messages import ServiceReady, ServiceState, SupervisorSwept

SETTLE_BOUND_S = 15.0
"""A sweep is bounded by what it has to kill, and a disk may hang; nothing waits for them longer than this."""


class Run:
    """This supervisor's run: its host, and whether what earlier runs left has been dealt with."""

    def __init__(self, tether: Tether, inbox: Inbox) -> None:
        """Take signals, wait for the guard, and begin to sweep and to watch."""
        # SimpleQueue.put is reentrant, so a signal's handler may call it
        tether.watch_signals(partial(_seen, inbox, "us"), partial(child_died, inbox, threading.Event()))
        self._tether = tether
        self._inbox = inbox
        self._record_due = threading.Lock()
        """Taken once: by the record when it is written, or by who tells first that there is none."""
        self._settled = threading.Event()
        self.host: Host = tether.make_host(os.urandom(16).hex())
        start_thread("record", self._keep_record)
        start_thread("tether", self._watch)

    def wait_settled(self) -> None:
        """Before the first spawn: this run has its record, and dead runs' processes are gone (with their ports).

        Where that takes too long, it is told if there is no record yet: only a disk that hangs can be the reason.
        """
        if not self._settled.wait(SETTLE_BOUND_S) and self._record_due.acquire(blocking=False):
            self._tell_unrecorded(
                f"its disk has not answered for {SETTLE_BOUND_S:.0f} s. {STATE_DIR} can name a folder on another one"
            )

    def announce_grace(self, ms: int) -> None:
        """Tell the guard how long to wait for us when the app dies."""
        self._tether.announce_grace(ms)

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Keep it in the record."""
        self._tether.note(told)

    def end(self) -> None:
        """Everything below us is dead: leave nothing that the next start would have to sweep, and wake the guard."""
        self._settled.wait(SETTLE_BOUND_S)
        self._tether.let_go()

    def _watch(self) -> None:
        self._tether.watch(lambda cause: self._inbox.put(AppGone(cause)), partial(_seen, self._inbox))

    def _keep_record(self) -> None:
        try:
            # first: the sweep may take its time, and who is killed meanwhile is found by the record
            self._begin_record()
            report = self._tether.sweep()
            if report is not None:
                self._inbox.put(Swept(report))
        finally:
            self._settled.set()
        self._tether.keep_record()

    def _begin_record(self) -> None:
        try:
            self._tether.begin_record(self.host.guarantees())
        except OSError as error:
            self._tell_unrecorded(str(error))
        self._record_due.acquire(blocking=False)

    def _tell_unrecorded(self, reason: str) -> None:
        problem = f"this run has no record, so the next start may not find what it leaves if all is killed: {reason}"
        say("warning", problem)
        self._inbox.put(Swept(SupervisorSwept((), 0, 0, 0, (problem,))))


def _seen(inbox: Inbox, to: SignalledTo, number: int) -> None:
    inbox.put(SignalSeen(number, to))


def child_died(inbox: Inbox, told: threading.Event) -> None:
    """One notice is for all deaths until it is taken: what forks without end would make more than can be looked at."""
    if not told.is_set():
        told.set()
        inbox.put(ChildSignal(told.clear))


def jitter() -> float:
    """A float in [0, 1) for the backoff (``random`` costs more to import than all of this module)."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)
