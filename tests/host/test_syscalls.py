"""System calls: signalfd with each signal's sender, and errors of refused calls."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("signalfd", allow_module_level=True)

from sidecar.host.linux import syscalls
from tests.support.waiting import WAIT_S, until

WANTED = (signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def fd() -> Iterator[int]:
    # the kernel would deliver a signal that this thread blocks to a thread left by an earlier test, and kill us
    until(lambda: len(os.listdir("/proc/self/task")) == 1, "being the only thread")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    fd = syscalls.open_signals(WANTED)
    try:
        yield fd
    finally:
        while select.select([fd], [], [], 0)[0]:  # a pending signal would kill us when it is unblocked
            list(syscalls.read_signals(fd))
        os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_each_is_told_once_with_its_sender(fd: int) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    with subprocess.Popen(["sh", "-c", f"kill -USR2 {os.getpid()}"]) as other:
        other.wait(WAIT_S)
    assert select.select([fd], [], [], WAIT_S)[0]
    assert sorted(syscalls.read_signals(fd)) == [(signal.SIGUSR1, os.getpid()), (signal.SIGUSR2, other.pid)]
    assert not select.select([fd], [], [], 0)[0]


def test_an_ignored_signal_is_read_as_well(fd: int) -> None:
    """A shell makes programs in the background ignore SIGINT."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert list(syscalls.read_signals(fd)) == [(signal.SIGUSR1, os.getpid())]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_call_that_the_system_refuses_is_an_error_with_its_reason() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.call("close", -1)
