"""Keys are read from a terminal until it is gone, despite other errors of a read."""

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

from sidecar.terminal import tty
from sidecar.terminal.tty import Terminal, read_keys
from tests.support.waiting import WAIT_S


class Reader:
    """A thread that reads keys from a terminal that no session controls, so there are no background jobs."""

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
    """Let reads fail with these errors in turn, and then return the input."""
    left = iter(errors)
    read = os.read

    def refused(fd: int, size: int) -> bytes:
        is_terminal = os.path.samestat(os.fstat(fd), os.fstat(reader.slave))
        number = next(left, None) if is_terminal else None
        if number is None:
            return read(fd, size)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "read", refused)


def test_a_read_that_is_refused_is_no_end_while_the_terminal_answers(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    """EIO: a shell has just taken the terminal. EAGAIN: another program has read the key."""
    refuse(monkeypatch, reader, [errno.EIO, errno.EAGAIN])
    reader.start()
    os.write(reader.master, b"r\n")
    assert reader.pressed.get(timeout=WAIT_S) == "r"
    assert not reader.gone.is_set()


def test_no_read_waits_for_what_the_shell_has_taken(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    """At "fg" the shell gives us the terminal. A blocked read would later steal input that is meant for the shell."""
    tried: SimpleQueue[int | None] = SimpleQueue()
    read, taken = os.read, iter([False])

    def given_by_shell(fd: int) -> bool:
        if not next(taken, True):
            read(reader.slave, 16)
        return True

    def watched(fd: int, size: int) -> bytes:
        try:
            data = read(fd, size)
        except OSError as error:
            tried.put(error.errno)
            raise
        tried.put(None)
        return data

    monkeypatch.setattr(tty, "in_foreground", given_by_shell)
    os.write(reader.master, b"fg\n")
    monkeypatch.setattr(os, "read", watched)
    reader.start()
    assert tried.get(timeout=WAIT_S) == errno.EAGAIN
    os.write(reader.master, b"r\n")
    assert reader.pressed.get(timeout=WAIT_S) == "r"


def test_a_read_that_is_refused_for_the_terminal_is_gone_is_the_end(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    refuse(monkeypatch, reader, repeat(errno.EIO))
    reader.hang_up()
    reader.start()
    assert reader.gone.wait(WAIT_S)


def test_the_end_of_input_is_the_end(reader: Reader) -> None:
    """MacOS reports it like this, and Linux does for a terminal that hung up."""
    reader.start()
    reader.hang_up()
    assert reader.gone.wait(WAIT_S)
