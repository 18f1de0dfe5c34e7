"""Signals that macOS's guard forwards to its supervisor: a Ctrl-C, which reaches the whole group, counts once."""

from __future__ import annotations

import os
import signal
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("tests.host.bsd runs on Linux", allow_module_level=True)

from sidecar.host.base import SignalledTo
from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin import session
from sidecar.host.darwin.kernel_events import KernelEvents
from sidecar.host.darwin.lineage import Process
from sidecar.host.posix.lifeline import Lifeline
from tests.host.bsd import Kernel, Kevent

Heard = list[tuple[SignalledTo, int]]


def passed_on(kernel: Kernel, bootloader: Process | None, *numbers: int) -> Heard:
    """Let a guard receive these signals and end; return what its supervisor hears."""
    signals, lifeline = os.pipe()
    watched = darwin_guard.Watched(None, bootloader)
    with kernel.kqueue() as queue, kernel.kqueue() as other:
        kernel_events = KernelEvents(queue, Kevent)
        guard = darwin_guard.KqueueGuard(kernel, kernel_events, watched, supervisor=0, lifeline=lifeline, orders=-1)
        for number in numbers:
            guard._take_signal(number)
        os.close(lifeline)
        ends = Lifeline(os.getpid(), signals, orders=-1, app=None, bootloader=None)
        heard: Heard = []
        gone: list[str] = []
        session.DarwinSession(kernel, lambda: KernelEvents(other, Kevent), ends, watched, "").watch(
            gone.append, lambda to, number: heard.append((to, number))
        )
    os.close(signals)
    assert gone == ["the guard has ended"]
    return heard


def test_without_a_bootloader_each_is_one_to_the_guard(kernel: Kernel) -> None:
    assert passed_on(kernel, None, signal.SIGINT, signal.SIGINT) == [("guard", signal.SIGINT)] * 2


def test_with_one_every_second_of_a_kind_is_taken_for_the_bootloaders(kernel: Kernel) -> None:
    bootloader = kernel.read(os.getppid())
    got = (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGINT)
    assert passed_on(kernel, bootloader, *got) == [
        ("guard", signal.SIGINT),
        ("guard", signal.SIGTERM),
        ("bootloader", signal.SIGINT),
        ("guard", signal.SIGINT),
    ]
