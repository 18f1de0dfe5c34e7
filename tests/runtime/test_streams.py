"""The reader of a program's two pipes: order, unfinished lines, back-pressure, and pipes that never end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest

from sidecar.core.events import Output
from sidecar.host.fds import Pipes
from sidecar.protocol.framing import PARTIAL_BYTES
from sidecar.protocol.messages import Stream
from sidecar.runtime.streams import DENSE_BYTES, LINES_AT_ONCE, Backlog, OutputPump, memory_of
from tests.support.waiting import WAIT_S

Told = tuple[Stream, tuple[str, ...], str] | None
"""``None`` is the end of a stream."""


class Program:
    """The write ends of two pipes, and a pump that reads the other ends."""

    def __init__(self, *, keep_ansi: bool = False, takes: bool = True) -> None:
        stdout, self.out = os.pipe()
        stderr, self.err = os.pipe()
        self.told: SimpleQueue[Told] = SimpleQueue()
        self.pipes = Pipes((stdout, stderr))
        self.sizes: list[int] = []
        self._takes = takes
        self.pump = OutputPump(
            self.pipes,
            {stdout: "stdout", stderr: "stderr"},
            self._emit,
            lambda: self.told.put(None),
            lambda: None,
            keep_ansi=keep_ansi,
        )
        self.thread = threading.Thread(target=self.pump.run, daemon=True)

    def begin(self) -> None:
        self.pipes.start()
        self.thread.start()

    def _emit(self, stream: Stream, lines: tuple[str, ...], partial: str, size: int, pump: OutputPump) -> None:
        self.sizes.append(size)
        self.told.put((stream, lines, partial))
        if self._takes:
            pump.taken(size)

    def next(self) -> Told:
        return self.told.get(timeout=WAIT_S)

    def close(self, *fds: int) -> None:
        for fd in fds:
            os.close(fd)


@contextmanager
def program(*, keep_ansi: bool = False, takes: bool = True, begin: bool = True) -> Iterator[Program]:
    made = Program(keep_ansi=keep_ansi, takes=takes)
    if begin:
        made.begin()
    yield made
    made.thread.join(WAIT_S)
    assert not made.thread.is_alive()


def test_what_was_written_to_either_pipe_in_turn_comes_in_turn() -> None:
    """The program is slower than the reader: each piece is read before the next is written."""
    with program(begin=False) as it:
        read = it.pipes.read
        turns = iter([(it.err, b"2\n"), (it.out, b"3\n"), (it.err, b"4\n")])

        def read_then_write(timeout_s: float | None) -> tuple[int, bytes] | None:
            found = read(timeout_s)
            if found is not None and (turn := next(turns, None)) is not None:
                os.write(*turn)
            elif found is not None and it.out >= 0:
                it.close(it.out, it.err)
                it.out = -1
            return found

        it.pipes.read = read_then_write  # type: ignore[method-assign]
        os.write(it.out, b"1\n")
        it.begin()
        assert [it.next() for _ in range(4)] == [
            ("stdout", ("1",), ""),
            ("stderr", ("2",), ""),
            ("stdout", ("3",), ""),
            ("stderr", ("4",), ""),
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="each pipe has a thread there")
def test_of_two_full_pipes_the_one_read_longest_ago_comes_first() -> None:
    with program(begin=False) as it:
        os.write(it.out, b"1\n")
        assert it.pipes.read(WAIT_S) is not None
        for text in (b"2\n", b"3\n"):
            os.write(it.err, text)
            os.write(it.out, text)
        it.close(it.out, it.err)
        it.begin()
        assert it.next() == ("stderr", ("2", "3"), "")
        assert it.next() == ("stdout", ("2", "3"), "")


def test_an_unfinished_line_is_told_and_then_comes_whole() -> None:
    with program() as it:
        os.write(it.out, b"before\nContinue? ")
        assert it.next() == ("stdout", ("before",), "")
        assert it.next() == ("stdout", (), "Continue? ")
        os.write(it.out, b"yes\n")
        assert it.next() == ("stdout", ("Continue? yes",), "")
        it.close(it.out, it.err)


def test_the_last_line_is_whole_where_a_program_ends_within_it() -> None:
    with program() as it:
        os.write(it.err, b"bye")
        assert it.next() == ("stderr", (), "bye")
        it.close(it.err)
        assert it.next() == ("stderr", ("bye",), "")
        assert it.next() is None
        it.close(it.out)


def test_each_stream_has_its_own_unfinished_line() -> None:
    with program() as it:
        os.write(it.out, b"Name: ")
        os.write(it.err, b"10%\r20%\r")
        assert {it.next(), it.next()} == {("stdout", (), "Name: "), ("stderr", (), "20%")}
        it.close(it.out, it.err)


def test_frames_are_told_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    frames = [b"\r%d%%" % number for number in range(1, 101)]

    class Frames:
        """A progress bar that moves every 10 ms."""

        open = 1

        def read(self, timeout_s: float | None) -> tuple[int, bytes] | None:
            del timeout_s
            nonlocal now
            now += 0.01
            if not frames:
                self.open = 0
            return (7, frames.pop(0)) if frames else (7, b"")

    monkeypatch.setattr(time, "monotonic", lambda: now)
    told: list[Told] = []

    def emit(stream: Stream, lines: tuple[str, ...], partial: str, size: int, pump: OutputPump) -> None:
        told.append((stream, lines, partial))
        pump.taken(size)

    pipes: Any = Frames()
    pump = OutputPump(pipes, {7: "stdout"}, emit, lambda: None, lambda: None, keep_ansi=False)
    pump.run()
    assert told[-1] == ("stdout", ("100%",), "")
    partials = [each[2] for each in told[:-1] if each is not None]
    assert len(partials) in range(5, 11), "in the second that it takes"
    assert partials == sorted(partials, key=lambda frame: int(frame[:-1]))


def test_a_frame_that_looks_the_same_is_told_once() -> None:
    with program() as it:
        os.write(it.out, b"10%")
        assert it.next() == ("stdout", (), "10%")
        os.write(it.out, b"\r10%")
        os.write(it.err, b"x")
        assert it.next() == ("stderr", (), "x")
        os.write(it.out, b"\r11%")
        assert it.next() == ("stdout", (), "11%")
        it.close(it.out, it.err)


def test_nothing_visible_is_not_told() -> None:
    with program() as it:
        os.write(it.out, b" \x1b[0m")
        os.write(it.err, b"x")
        assert it.next() == ("stderr", (), "x")
        os.write(it.out, b"y")
        assert it.next() == ("stdout", (), " y")
        it.close(it.out, it.err)


@pytest.mark.parametrize("keep_ansi", [True, False])
def test_colours_are_kept_only_where_they_are_shown(*, keep_ansi: bool) -> None:
    red = "\x1b[31mred" if keep_ansi else "red"
    with program(keep_ansi=keep_ansi) as it:
        os.write(it.out, b"\x1b[31mred")
        assert it.next() == ("stdout", (), red)
        os.write(it.out, b"!\n")  # the sequence arrived before the bytes that end the line
        assert it.next() == ("stdout", (f"{red}!",), "")
        it.close(it.out, it.err)


def test_a_long_unfinished_line_is_told_by_its_end() -> None:
    with program() as it:
        os.write(it.out, b"x" * 2 * PARTIAL_BYTES + b"Continue? ")
        told = it.next()
        assert told is not None
        assert len(told[2].encode()) == PARTIAL_BYTES
        assert told[2].endswith("xContinue? ")
        it.close(it.out, it.err)


def test_a_pipe_that_somebody_holds_open_does_not_hold_up_the_other() -> None:
    with program() as it:
        os.write(it.out, b"1\n")
        assert it.next() == ("stdout", ("1",), "")
        it.close(it.out)
        assert it.next() is None
        os.write(it.err, b"still here\n")
        assert it.next() == ("stderr", ("still here",), "")
        it.close(it.err)


def test_a_program_waits_in_its_pipe_while_nobody_takes_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = memory_of(("1",), 2, ascii_only=True)
    monkeypatch.setattr("sidecar.runtime.streams.BYTES_IN_FLIGHT", 3 * piece)
    with program(takes=False) as it:
        for number in range(3):
            os.write(it.out, b"%d\n" % number)
            assert it.next() == ("stdout", (str(number),), "")
        os.write(it.out, b"later\n")
        assert it.sizes == [piece] * 3
        assert it.pump._room._taken == 3 * piece
        assert it.told.empty()
        it.pump.taken(3 * piece)
        assert it.next() == ("stdout", ("later",), "")
        it.close(it.out, it.err)


def test_a_line_that_is_larger_than_all_room_waits_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.runtime.streams.BYTES_IN_FLIGHT", 10)
    with program(takes=False) as it:
        os.write(it.out, b"larger than ten bytes\n")
        assert it.next() == ("stdout", ("larger than ten bytes",), "")
        it.close(it.out, it.err)


CJK = "中"


@pytest.mark.parametrize(
    "lines",
    [("",) * 9, ("ab",) * 999, (CJK,) * 999, ("😀" + "a" * 70,) * 99, ("x" * 9_999,), ()],
    ids=["empty", "short", "cjk", "wide", "long", "none"],
)
def test_the_memory_of_lines_is_estimated_by_what_python_takes(lines: tuple[str, ...]) -> None:
    size = sum(len(line.encode()) + 1 for line in lines)
    real = sys.getsizeof(lines) + sum(map(sys.getsizeof, lines))
    estimate = memory_of(lines, size, ascii_only=all(map(str.isascii, lines)))
    assert real <= estimate <= 2 * real + 1024


def test_very_many_short_lines_come_in_pieces() -> None:
    with program() as it:
        written = f"{CJK}\n" * (LINES_AT_ONCE + 1)

        def write() -> None:
            os.write(it.out, written.encode())
            it.close(it.out, it.err)

        writer = threading.Thread(target=write)
        writer.start()
        told: list[str] = []
        while (found := it.next()) is not None:
            assert len(found[1]) <= max(LINES_AT_ONCE, DENSE_BYTES)
            told += found[1]
        writer.join(WAIT_S)
        assert told == [CJK] * (LINES_AT_ONCE + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="each pipe has a thread there, which only its end ends")
def test_an_abandoned_pipe_is_closed_and_its_reader_ends() -> None:
    with program() as it:
        os.write(it.out, b"1\n")
        assert it.next() == ("stdout", ("1",), "")
        it.pump.abandon()
        it.thread.join(WAIT_S)
        with pytest.raises(BrokenPipeError):
            os.write(it.out, b"2\n")
        it.pump.abandon()  # a second close must not hit a reused descriptor
        it.close(it.out, it.err)


def test_pipes_that_nobody_began_to_read_are_closed() -> None:
    it = Program()
    fds = list(it.pipes._fds)
    it.pipes.close()
    for fd in fds:
        with pytest.raises(OSError, match=r"[Bb]ad file descriptor|[Hh]andle"):
            os.fstat(fd)
    it.close(it.out, it.err)


# ── a slow reader ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_frames_do_not_pile_up_before_a_slow_reader() -> None:
    backlog: Backlog[str] = Backlog(100)
    backlog.put_output(Output("web", 1, "stdout", ("kept",), 4))
    for number in range(1000):
        assert backlog.put_output(Output("web", 1, "stdout", (), 3, f"{number:03}")) == []
        assert backlog.put_output(Output("api", 1, "stderr", (), 3, f"{number:03}")) == []
    backlog.put_output(Output("web", 1, "stdout", ("999 done",), 8))
    assert backlog.output_size == 4 + 3 + 8
    assert [backlog.pop() for _ in range(3)] == [
        Output("web", 1, "stdout", ("kept",), 4),
        Output("api", 1, "stderr", (), 3, "999"),
        Output("web", 1, "stdout", ("999 done",), 8),
    ]
    assert not backlog


def test_an_unfinished_line_of_an_earlier_run_is_not_superseded() -> None:
    backlog: Backlog[str] = Backlog(100)
    backlog.put_output(Output("web", 1, "stdout", (), 3, "50%"))
    backlog.put_output(Output("web", 2, "stdout", (), 3, "10%"))
    assert backlog.output_size == 6
