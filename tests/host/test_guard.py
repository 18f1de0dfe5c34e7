"""Which process the guard watches, and the start of the supervisor."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds", allow_module_level=True)

from sidecar import diagnostics
from sidecar.host.linux import guard
from sidecar.host.linux import session as guarded
from sidecar.host.posix.lifeline import ON_WATCH, Lifeline, order_of_file
from sidecar.runtime import run as parent
from sidecar.runtime.loop import Inbox
from tests.support.liveness import await_end
from tests.support.waiting import WAIT_S


def test_the_parent_is_watched_unless_another_one_is_named() -> None:
    with subprocess.Popen(["sleep", "100"]) as child:
        try:
            pidfd = guard.watch_app(child.pid, None)
        finally:
            child.kill()
        assert pidfd is not None
        await_end(pidfd)
        os.close(pidfd)


def test_one_that_is_dead_cannot_be_watched() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    with pytest.raises(ProcessLookupError):
        guard.watch_app(child.pid, None)


def test_a_parent_that_dies_during_the_look_up_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pid may be reused by then. A second getppid reveals that."""
    before = len(os.listdir("/proc/self/fd"))
    answers = iter([os.getpid(), 1])
    monkeypatch.setattr(os, "getppid", lambda: next(answers))
    with pytest.raises(ProcessLookupError):
        guard.watch_app(None, None)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("pid", [0])
def test_a_parent_outside_of_our_namespace_is_not_watched(pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: pid)
    assert guard.watch_app(None, None) is None


def test_a_fault_in_the_sweep_lets_the_services_start_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(guarded, "sweep", sweep)
    monkeypatch.setattr(diagnostics, "_threshold", 99)
    session = Mock(sweep=guarded.LinuxSession(Lifeline(0, -1, -1, None, None)).sweep)
    inbox = Inbox()
    run = parent.Run(session, inbox)
    run.wait_settled()
    assert "ZeroDivisionError" in str(inbox.get_nowait())


def test_a_run_without_a_record_says_so_before_it_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep may take longer than the services wait for it."""
    monkeypatch.setattr(diagnostics, "_threshold", 99)
    inbox = Inbox()
    told: list[object] = []
    session = Mock()
    session.begin_record.side_effect = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    session.sweep.side_effect = lambda: told.append(inbox.get_nowait())
    parent.Run(session, inbox).wait_settled()
    assert "no record" in str(told)
    assert os.strerror(errno.ENOSPC) in str(told)
    assert inbox.empty()


def test_services_start_though_a_hanging_disk_delays_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parent, "SETTLE_BOUND_S", 0.01)
    monkeypatch.setattr(diagnostics, "_threshold", 99)
    goes_on, kept = threading.Event(), threading.Event()
    session = Mock(sweep=lambda: None)
    session.begin_record.side_effect = lambda _: goes_on.wait(WAIT_S)
    session.keep_record.side_effect = kept.set
    inbox = Inbox()
    run = parent.Run(session, inbox)
    for _ in range(3):
        run.wait_settled()
    assert "has not answered" in str(inbox.get_nowait())
    goes_on.set()
    assert kept.wait(WAIT_S)
    assert inbox.empty()


def test_a_sweep_that_takes_long_is_no_missing_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "SETTLE_BOUND_S", 0.01)
    sweeps, goes_on, kept = threading.Event(), threading.Event(), threading.Event()

    def sweep() -> None:
        sweeps.set()
        assert goes_on.wait(WAIT_S)

    session = Mock(sweep=sweep)
    session.keep_record.side_effect = kept.set
    inbox = Inbox()
    run = parent.Run(session, inbox)
    assert sweeps.wait(WAIT_S)
    run.wait_settled()
    goes_on.set()
    assert kept.wait(WAIT_S)
    assert inbox.empty()


def test_an_order_that_comes_with_the_death_is_still_taken(tmp_path: Path) -> None:
    """The supervisor named its record and was killed at once. The guard may wake for the death first."""
    record = tmp_path / "record.json"
    record.touch()
    orders, theirs = os.pipe()
    os.write(theirs, b"grace 5\nfile " + os.fsencode(record) + b"\n")
    os.close(theirs)
    guard.Guard(supervisor=0, app=None, bootloader=None, lifeline=-1, orders=orders)._tidy_up()
    os.close(orders)
    assert not record.exists()


def test_app_death_wakes_a_guard_that_was_stopped_before_its_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals, theirs = os.pipe()
    sent: list[tuple[int, int]] = []

    def send(pid: int, number: int) -> None:
        sent.append((pid, number))
        os.write(theirs, bytes([ON_WATCH]))

    with subprocess.Popen(["true"], stdout=subprocess.DEVNULL) as app:
        pidfd = os.pidfd_open(app.pid)
        await_end(pidfd)
    monkeypatch.setattr(os, "kill", send)
    assert not guarded.LinuxSession(Lifeline(os.getppid(), signals, -1, pidfd, None)).await_guard()
    assert sent == [(os.getppid(), signal.SIGCONT)]
    for fd in (signals, theirs, pidfd):
        os.close(fd)


def test_line_feed_in_the_state_folders_name_makes_no_second_order(tmp_path: Path) -> None:
    """Otherwise the guard would remove the file that the first half names."""
    stranger = tmp_path / "folder"
    stranger.touch()
    record = tmp_path / "folder\nfile x" / "record.json"
    record.parent.mkdir()
    record.touch()
    orders, theirs = os.pipe()
    os.write(theirs, order_of_file(str(record)) + b"\n")
    os.close(theirs)
    guard.Guard(supervisor=0, app=None, bootloader=None, lifeline=-1, orders=orders)._tidy_up()
    os.close(orders)
    assert stranger.exists()
    assert not record.exists()
