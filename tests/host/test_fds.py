"""Waits on single descriptors."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

if sys.platform == "win32":
    pytest.skip("a pipe's read and write always block there", allow_module_level=True)

import tty

from sidecar.host import fds
from tests.support.waiting import WAIT_S


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Open a pty; yield both ends. The second is raw and non-blocking."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    yield master, slave
    os.close(master)
    os.close(slave)


def in_a_thread(work: Callable[[], object]) -> threading.Event:
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done


def test_a_terminal_is_waited_for_until_somebody_types(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    read: list[bytes] = []

    def work() -> None:
        fds.wait_readable(slave)
        read.append(os.read(slave, 10))

    done = in_a_thread(work)
    os.write(master, b"r")
    assert done.wait(WAIT_S)
    assert read == [b"r"]


def test_a_terminal_that_takes_nothing_more_is_waited_for_until_it_does(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    with suppress(BlockingIOError):
        while True:
            os.write(slave, bytes(4096))

    def work() -> None:
        fds.wait_writable(slave)
        os.write(slave, b"x")

    done = in_a_thread(work)
    seen = b""
    while b"x" not in seen:
        assert select.select([master], [], [], WAIT_S)[0], "nothing more is written"
        seen = os.read(master, 65536)
    assert done.wait(WAIT_S)


def test_pipe_has_hung_up_when_its_writer_is_gone_not_when_it_is_silent() -> None:
    reader, writer = os.pipe()
    assert not fds.hung_up(reader)
    os.write(writer, b"unread")
    assert not fds.hung_up(reader)
    os.close(writer)
    assert fds.hung_up(reader)
    os.close(reader)
