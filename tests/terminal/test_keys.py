"""Keys are read from a terminal until it is gone, despite other errors of a read."""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import count, repeat
from queue import SimpleQueue
from typing import Any

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


def test_what_the_shell_has_taken_is_not_read(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    """At "fg" the shell gives us the terminal. A read that waits could get input that is meant for the shell."""
    tried: list[tuple[bool, bytes | int | None]] = []  # whether the read would wait, and its data or error
    read, select_, taken, turns = os.read, select.select, iter([False]), count()

    def given_by_shell(fd: int) -> bool:
        if not next(taken, True):
            read(reader.slave, 16)
        return True

    def watched(fd: int, size: int) -> bytes:
        waits = os.get_blocking(fd)
        try:
            data = read(fd, size)
        except OSError as error:
            tried.append((waits, error.errno))
            raise
        tried.append((waits, data))
        return data

    def select_and_type(*words: Any) -> Any:
        waits_for_ever = len(words) == 3
        if waits_for_ever and next(turns) == 1:  # by then the first key has been dealt with
            os.write(reader.master, b"r\n")
        return select_(*words)

    monkeypatch.setattr(tty, "in_foreground", given_by_shell)
    os.write(reader.master, b"fg\n")
    monkeypatch.setattr(os, "read", watched)
    monkeypatch.setattr(select, "select", select_and_type)
    reader.start()
    assert reader.pressed.get(timeout=WAIT_S) == "r"
    assert tried == [(False, b"r\n")]


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
