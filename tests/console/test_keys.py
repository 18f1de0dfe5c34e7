"""Keys are read from a terminal until it is gone, whatever else a read is refused for."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import repeat
from queue import SimpleQueue

import pytest

assert sys.platform == "linux"  # for mypy; conftest.py leaves these tests out elsewhere

from sidecar.console.terminal import Terminal, read_keys
from tests.liveness import WAIT_S


class Reader:
    """A thread that reads keys from a terminal that controls nobody, and so has no background."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self._terminal = Terminal(self.slave)
        self.pressed: SimpleQueue[str] = SimpleQueue()
        self.gone = threading.Event()

    def start(self) -> None:
        threading.Thread(target=read_keys, args=(self._terminal, self.pressed.put, self.gone.set), daemon=True).start()

    def hang_up(self) -> None:
        master, self.master = self.master, -1
        if master >= 0:
            os.close(master)


@pytest.fixture
def reader() -> Iterator[Reader]:
    it = Reader()
    yield it
    it.hang_up()
    assert it.gone.wait(WAIT_S), "the thread's end"
    os.close(it.slave)


def refuse(monkeypatch: pytest.MonkeyPatch, reader: Reader, errors: Iterable[int]) -> None:
    """What the kernel answers, one after the other, before it gives what there is to read."""
    left = iter(errors)
    read = os.read

    def refused(fd: int, size: int) -> bytes:
        number = next(left, None) if fd == reader.slave else None
        if number is None:
            return read(fd, size)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "read", refused)


def test_a_read_that_is_refused_is_no_end_while_the_terminal_answers(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    """EIO: a shell took the terminal in that instant. EAGAIN: another program has read the key."""
    refuse(monkeypatch, reader, [errno.EIO, errno.EAGAIN])
    reader.start()
    os.write(reader.master, b"r\n")
    assert reader.pressed.get(timeout=WAIT_S) == "r"
    assert not reader.gone.is_set()


def test_a_read_that_is_refused_for_the_terminal_is_gone_is_the_end(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    refuse(monkeypatch, reader, repeat(errno.EIO))
    reader.hang_up()
    reader.start()
    assert reader.gone.wait(WAIT_S)


def test_the_end_of_input_is_the_end(reader: Reader) -> None:
    """So it is told by macOS, and by Linux of a terminal that hung up."""
    reader.start()
    reader.hang_up()
    assert reader.gone.wait(WAIT_S)
