"""The last lines of a service."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import log_buffer
from sidecar.core.events import Output
from sidecar.core.log_buffer import BYTES_KEPT, LINES_KEPT, LogBuffer
from sidecar.protocol.messages import LogLine, Stream


def write(buffer: LogBuffer, stream: Stream, lines: tuple[str, ...]) -> None:
    buffer.append(Output("web", 1, stream, lines, sum(map(len, lines))))


def _texts(buffer: LogBuffer, count: int = LINES_KEPT) -> list[str]:
    return [line.text for line in buffer.tail(count)]


def test_the_tail_is_oldest_first_and_knows_each_lines_stream() -> None:
    buffer = LogBuffer()
    write(buffer, "stdout", ("a", "b"))
    write(buffer, "stderr", ("c",))
    assert buffer.tail(2) == (LogLine("stdout", "b", 2), LogLine("stderr", "c", 3))


def test_a_tail_of_nothing_is_empty_and_one_longer_than_all_is_all() -> None:
    buffer = LogBuffer()
    assert buffer.tail(5) == ()
    write(buffer, "stdout", ("a", "b"))
    assert buffer.tail(0) == ()
    assert _texts(buffer, 10_000) == ["a", "b"]


def test_no_more_than_the_kept_lines_are_given() -> None:
    buffer = LogBuffer()
    write(buffer, "stdout", tuple(map(str, range(LINES_KEPT + 7))))
    assert _texts(buffer, 10_000) == [str(number) for number in range(7, LINES_KEPT + 7)]


def test_one_huge_chunk_keeps_no_more_lines_than_can_be_asked_for() -> None:
    buffer = LogBuffer()
    write(buffer, "stdout", tuple(map(str, range(50 * LINES_KEPT))))
    [chunk] = buffer._chunks
    assert len(chunk.lines) == LINES_KEPT
    assert buffer._size == chunk.size


def test_long_lines_push_old_ones_out_but_never_the_newest_chunk() -> None:
    buffer = LogBuffer()
    write(buffer, "stdout", ("old",))
    write(buffer, "stdout", ("x" * (BYTES_KEPT + 1),))
    assert [len(text) for text in _texts(buffer)] == [BYTES_KEPT + 1]


@given(st.lists(st.lists(st.text(max_size=3), max_size=9).map(tuple), max_size=60), st.integers(0, 40))
def test_whatever_is_written_the_tail_is_the_end_of_it(chunks: list[tuple[str, ...]], count: int) -> None:
    limits = log_buffer.LINES_KEPT, log_buffer.BYTES_KEPT
    log_buffer.LINES_KEPT, log_buffer.BYTES_KEPT = 10, 1_000_000
    try:
        buffer = LogBuffer()
        for chunk in chunks:
            write(buffer, "stdout", chunk)
        every = [line for chunk in chunks for line in chunk]
        wanted = min(count, 10)
        assert _texts(buffer, count) == (every[-wanted:] if wanted else [])
    finally:
        log_buffer.LINES_KEPT, log_buffer.BYTES_KEPT = limits


def unfinished(text: str, stream: Stream = "stdout", run: int = 1) -> Output:
    return Output("web", run, stream, (), len(text), text)


def test_an_unfinished_line_is_the_last_until_its_stream_says_more() -> None:
    buffer = LogBuffer()
    buffer.append(unfinished("Contin"))
    buffer.append(unfinished("Continue? "))
    write(buffer, "stderr", ("meanwhile",))
    assert _texts(buffer) == ["meanwhile", "Continue? "]
    assert _texts(buffer, 1) == ["Continue? "]
    assert _texts(buffer, 0) == []
    write(buffer, "stdout", ("Continue? yes",))
    assert _texts(buffer) == ["meanwhile", "Continue? yes"]


def test_unfinished_lines_are_counted_for_their_run() -> None:
    buffer = LogBuffer()
    buffer.append(unfinished("a"))
    buffer.append(unfinished("b", "stderr", run=2))
    assert [buffer.unfinished(run) for run in (1, 2, 3)] == [1, 1, 0]
