"""A run's beginning and end, and the supervisor's side of the guard and the app: what it watches, what it tells."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from functools import partial

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.events import AppGone, Swept
from sidecar.host import bundle, cgroup, make_host, records
from sidecar.host.base import Host
from sidecar.host.guard import is_dead
from sidecar.host.ledger import Ledger
from sidecar.host.lifeline import ON_WATCH_WITH_GROUP, Lifeline
from sidecar.host.sweep import boot_id, sweep
from sidecar.host.tree import behind, pid_namespace, read_process
from sidecar.pumps import start_thread
from sidecar.runtime import Inbox, SignalSeen, watch_signals
from sidecar.wire.messages import ServiceState, SupervisorSwept

SETTLE_BOUND_S = 15.0
"""A sweep is bounded by what it has to kill; nothing waits for it longer than this."""


class Run:
    """This supervisor's run: its host, and whether what earlier runs left has been dealt with."""

    def __init__(self, lifeline: Lifeline, inbox: Inbox) -> None:
        """Take signals, wait for the guard, and begin to sweep and to watch."""
        watch_signals(inbox)
        self._lifeline = lifeline
        self._inbox = inbox
        self._ledger = Ledger()
        self._settled = threading.Event()
        contained = await_guard(lifeline)
        self._group = cgroup.own_folder() if contained else None
        self._run_id = os.urandom(16).hex()
        self.host: Host = make_host(
            self._run_id, guarded=True, parent_watched=lifeline.app is not None, contained=contained
        )
        start_thread("record", self._keep_record)
        start_thread("lifeline", partial(watch_lifeline, lifeline, inbox))

    def wait_settled(self) -> None:
        """Before the first spawn: dead runs' processes are gone (with their ports), and this run has its record."""
        self._settled.wait(SETTLE_BOUND_S)

    def announce_grace(self, ms: int) -> None:
        """Tell the guard how long to wait for us when the app dies."""
        _order(self._lifeline, b"grace %d" % ms)

    def note(self, state: ServiceState) -> None:
        """Keep it in the record."""
        self._ledger.note(state)

    def end(self) -> None:
        """Everything below us is dead: leave nothing that the next start would have to sweep, and wake the guard."""
        self.wait_settled()
        self._ledger.close()
        if _wake_guard(self._lifeline):
            return
        if self._group is not None:
            cgroup.leave(self._group)
        folder = bundle.unpacked_folder()
        if folder is not None and is_dead(self._lifeline.bootloader):
            bundle.remove(folder)

    def _keep_record(self) -> None:
        self._settle()
        self._ledger.keep()

    def _settle(self) -> None:
        try:
            report = _sweep()
            try:
                self._write_record()
            except OSError as error:
                problem = (
                    f"this run has no record, so the next start may not find what it leaves if all is killed: {error}"
                )
                say("warning", problem)
                report = report or SupervisorSwept((), 0, 0, 0, ())
                report = msgspec.structs.replace(report, problems=(*report.problems, problem))
            if report is not None:
                self._inbox.put(Swept(report))
        finally:
            self._settled.set()

    def _write_record(self) -> None:
        owners = [read_process(self._lifeline.guard_pid), read_process(os.getpid())]
        app = None if self._lifeline.app is None else behind(self._lifeline.app)
        record = records.RunRecord(
            run_id=self._run_id,
            boot_id=boot_id(),
            owners=tuple(records.Identity(it.pid, it.start) for it in owners if it is not None),
            pid_namespace=pid_namespace(),
            group=self._group,
            app=None if app is None else records.Identity(app.pid, app.start),
            guarantees=msgspec.to_builtins(self.host.guarantees()),
        )
        path = records.run_path(self._run_id)
        # told before it is written: the guard may have to end us in between
        for file in (path, records.draft_of(path)):
            _order(self._lifeline, b"file " + os.fsencode(file))
        self._ledger.begin(path, record)


def _sweep() -> SupervisorSwept | None:
    try:
        return sweep()
    except Exception as error:  # noqa: BLE001  a fault of ours in a thread: this run still wants its record
        problem = f"what earlier runs left could not be looked for: {error!r}. Please report this."
        say("error", problem)
        return SupervisorSwept((), 0, 0, 0, (problem,))


def await_guard(lifeline: Lifeline) -> bool:
    """Wait until the guard is on watch; whether it has put us into a control group.

    No child may start before, or it could outlive us both. The guard's end instead is not lost: ``watch_lifeline`` will
    read it again. The app's death wakes a guard that was stopped (SIGSTOP) before: it would never come on watch.
    """
    poll = select.poll()
    poll.register(lifeline.signals, select.POLLIN)
    if lifeline.app is not None:
        poll.register(lifeline.app, select.POLLIN)
    poll.poll()
    if is_dead(lifeline.app):
        _wake_guard(lifeline)
    return os.read(lifeline.signals, 1) == bytes([ON_WATCH_WITH_GROUP])


def watch_lifeline(lifeline: Lifeline, inbox: Inbox) -> None:
    """A thread's body: signals that the guard passes on, its death, and the app's."""
    poll = select.poll()
    poll.register(lifeline.signals, select.POLLIN)
    if lifeline.app is not None:
        poll.register(lifeline.app, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == lifeline.app:
                inbox.put(AppGone("the app has ended"))
                poll.unregister(fd)
                continue
            numbers = os.read(lifeline.signals, 512)
            if not numbers:
                inbox.put(AppGone("the guard has ended"))
                return
            for number in numbers:
                inbox.put(SignalSeen(number, forwarded=True))


def _wake_guard(lifeline: Lifeline) -> bool:
    """Let a guard that is stopped (SIGSTOP) go on: it would stay for ever. Whether it is there."""
    if os.getppid() != lifeline.guard_pid:
        return False
    os.kill(lifeline.guard_pid, signal.SIGCONT)  # while it is our parent, the pid is its own
    return True


def _order(lifeline: Lifeline, order: bytes) -> None:
    try:
        os.write(lifeline.orders, order + b"\n")
    except BrokenPipeError:
        pass  # the guard is dead, which the lifeline's end tells


def jitter() -> float:
    """A float in [0, 1) for the backoff (``random`` costs more to import than all of this module)."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)
