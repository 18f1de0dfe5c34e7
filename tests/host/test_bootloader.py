"""macOS's guard and the bootloader above it. A fork of the test plays the bootloader."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("tests.host.bsd runs on Linux", allow_module_level=True)

from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin.kernel_events import KernelEvents
from tests.host.bsd import Kernel, Kevent, skip_without_forks
from tests.support.waiting import WAIT_S


@pytest.fixture(autouse=True)
def kernel_tells_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_forks()
    monkeypatch.setattr(darwin_guard, "BOOTLOADER_BOUND_S", WAIT_S)


def guarded(work: Callable[[Any], str], *, killed_before: bool = False) -> tuple[int, str]:
    """Fork a bootloader, and below it a guard that does ``work``; return the former's end and the latter's output."""
    told, tell = os.pipe()
    ready, go_on = os.pipe()
    bootloader = os.fork()
    if bootloader == 0:
        os.close(go_on)
        if os.fork() == 0:
            _be_guard(work, tell, ready)
        os.close(tell)
        while True:
            signal.pause()
    os.close(tell)
    os.close(ready)
    assert os.read(told, 1) == b"!", "it is watched"
    if killed_before:
        os.kill(bootloader, signal.SIGKILL)
        os.waitid(os.P_PID, bootloader, os.WEXITED | os.WNOWAIT)
    os.close(go_on)
    with os.fdopen(told, "rb") as file:
        said = file.read().decode()
    if said != "gone":
        os.kill(bootloader, signal.SIGKILL)  # our own child, not reaped yet: its pid is not reused
    return os.waitpid(bootloader, 0)[1], said


def _be_guard(work: Callable[[Any], str], tell: int, ready: int) -> None:
    try:
        kernel = Kernel()
        above = kernel.read(os.getppid())
        assert above is not None
        watched = darwin_guard.Watched(None, above)
        guard = darwin_guard.KqueueGuard(
            kernel, KernelEvents(kernel.kqueue(), Kevent), watched, supervisor=0, lifeline=-1, orders=-1
        )
        guard._await(above)
        os.write(tell, b"!")
        os.read(ready, 1)
        os.write(tell, work(guard).encode())
    finally:
        os._exit(0)


def end_bootloader(guard: Any) -> str:
    guard._end_bootloader()
    return "gone" if guard._is_gone(guard._watched.bootloader) else "lives"


def test_the_bootloader_of_a_dead_app_is_ended_and_known_to_be_gone() -> None:
    assert guarded(end_bootloader) == (signal.SIGKILL, "gone")


def test_dead_bootloader_is_known_to_be_gone_and_nothing_is_signalled() -> None:
    def end(guard: Any) -> str:
        vars(os)["kill"] = None  # a call now raises
        return end_bootloader(guard)

    assert guarded(end, killed_before=True) == (signal.SIGKILL, "gone")


def test_only_an_app_that_launched_us_takes_the_bootloader_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --parent-pid the app is another process, and the bootloader's parent waits for its exit code."""
    kernel = Kernel()
    monkeypatch.setattr(os, "getppid", os.getpid)
    for named, by_app in ((None, True), (os.getpid(), False)):
        assert darwin_guard.identify(kernel, named, None).launched_by_app == by_app
    kernel.close()
