"""Split bytes into lines: a client's lines, which are bounded, and a child's, of which no byte may be lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.framing import (
    MAX_LINE_BYTES,
    MAX_OUTPUT_LINE_BYTES,
    PARTIAL_BYTES,
    Line,
    LineReader,
    OutputSplitter,
    Overlong,
    shorten,
)

_NOISY = st.lists(
    st.sampled_from(
        [
            b"\n",
            b"\r",
            b"\r\n",
            b"\x1b[K",
            b"\x1b",
            b"a",
            b"bc",
            "ä€😀".encode(),
            b"\xff",
            b"\xe2\x82",
            b"x" * 9,
            b"\x00",
            b" ",
        ]
    ),
    max_size=40,
).map(b"".join)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _read(reader: LineReader, pieces: list[bytes]) -> list[Line | Overlong]:
    lines = [line for piece in pieces for line in reader.receive(piece)]
    return lines + reader.finish()


# ── the client's lines ────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_line_comes_without_its_end_and_the_last_one_needs_none() -> None:
    assert _read(LineReader(), [b"a\nb", b"c\n", b"d"]) == [Line(b"a"), Line(b"bc"), Line(b"d")]


def test_blank_lines_mean_nothing() -> None:
    assert _read(LineReader(), [b"\n\r\n \t\n\na\n\n"]) == [Line(b"a")]


def test_a_line_at_the_bound_is_whole_and_one_over_it_is_skipped_and_counted() -> None:
    reader = LineReader(limit=4)
    assert _read(reader, [b"1234\n12345\nab\n"]) == [Line(b"1234"), Overlong(5), Line(b"ab")]


def test_an_overlong_line_in_pieces_is_reported_once_with_its_whole_size() -> None:
    reader = LineReader(limit=4)
    assert _read(reader, [b"123", b"456", b"789", b"0\nok", b"\n"]) == [Overlong(10), Line(b"ok")]


def test_an_overlong_line_at_the_end_of_the_stream_is_reported_too() -> None:
    assert _read(LineReader(limit=4), [b"12345"]) == [Overlong(5)]


def test_no_more_than_a_line_is_ever_held() -> None:
    reader = LineReader()
    for _ in range(40):
        reader.receive(b"x" * (1 << 18))
        assert len(reader._buffer) <= MAX_LINE_BYTES
    assert reader.receive(b"\n") == [Overlong(40 << 18)]


@given(_NOISY, st.lists(st.integers(0, 60)))
def test_however_the_clients_bytes_are_cut_the_lines_are_the_same(data: bytes, cuts: list[int]) -> None:
    assert _read(LineReader(limit=12), _pieces(data, cuts)) == _read(LineReader(limit=12), [data])


# ── a child's output ──────────────────────────────────────────────────────────────────────────────────────────────────


def _split(splitter: OutputSplitter, pieces: list[bytes]) -> list[str]:
    lines = [line for piece in pieces for line in splitter.receive(piece)]
    return lines + list(splitter.finish())


def test_output_is_split_at_line_ends_of_both_kinds() -> None:
    assert _split(OutputSplitter(), [b"a\r\nb\n\r\nc\r", b"\nd"]) == ["a", "b", "", "c", "d"]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"10%\r20%\r100%", "100%"),
        (b"100%\r", "100%"),
        (b"kept\r\x1b[K", "kept"),
        (b"kept\r    \r", "kept"),
        (b"\x1b[2K\r\x1b[32mdone\x1b[0m", "\x1b[32mdone\x1b[0m"),
        (b" \r\x1b[K", ""),
        (b"a text mode's end\r\r", "a text mode's end"),
        (b"\x1b[1G\x1b[0K10%\x1b[1G\x1b[0K20%", "\x1b[0K20%"),
        (b"10%\x1b[G20%\x1b[0G", "20%"),
        (b"10%\x1b[10G20%", "10%\x1b[10G20%"),
        (b"kept\r\x1b]0;a title\x07", "kept"),
        (b"kept\r\x1b]9;4;0\x1b\\", "kept"),
    ],
)
def test_a_carriage_return_starts_the_line_anew(written: bytes, line: str) -> None:
    for end in (b"\n", b"\r\n", b""):
        whole = written + end
        assert _split(OutputSplitter(), [whole]) == [line]
        assert _split(OutputSplitter(), [whole[at : at + 1] for at in range(len(whole))]) == [line]


def test_a_progress_bar_that_never_ends_is_held_as_one_frame() -> None:
    splitter = OutputSplitter()
    for number in range(10_000):
        assert splitter.receive(b"%05d\r" % number) == ()
        assert splitter.receive(b"\x1b[K\r" * 20) == ()
        assert len(splitter.rest) < 20
    assert splitter.unfinished() == "09999"
    assert splitter.finish() == ("09999",)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"Continue? ", "Continue? "),
        (b"over\nContinue? ", "Continue? "),
        (b"10%\r20%\r", "20%"),
        (b"10%\x1b[1G20%\x1b[1G", "20%"),
        (b"10%\x1b[1G20%\x1b[1", "20%"),
        (b"price: \xe2\x82", "price: "),
        (b"bad: \xff", "bad: \ufffd"),
        (b"red: \x1b[3", "red: "),
        (b"red: \x1b", "red: "),
        (b"link: \x1b]8;;http://x\x1b", "link: "),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"", ""),
        (b"whole\n", ""),
    ],
)
def test_an_unfinished_line_is_shown_without_half_a_character_or_escape(written: bytes, shown: str) -> None:
    splitter = OutputSplitter()
    splitter.receive(written)
    assert splitter.unfinished() == shown


def test_a_long_unfinished_line_is_shortened_to_its_end() -> None:
    assert shorten("Continue? ") == "Continue? "
    assert shorten("x" * PARTIAL_BYTES + "?") == "x" * (PARTIAL_BYTES - 1) + "?"
    assert shorten("€" * PARTIAL_BYTES) == "€" * (PARTIAL_BYTES // 3)


def test_the_last_line_needs_no_end() -> None:
    splitter = OutputSplitter()
    assert splitter.receive(b"bye\r") == ()
    assert splitter.finish() == ("bye",)
    assert splitter.finish() == ()


def test_a_character_in_two_pieces_is_one_character() -> None:
    euro = "€".encode()
    assert _split(OutputSplitter(), [euro[:1], euro[1:2], euro[2:] + b"\n"]) == ["€"]


def test_broken_utf8_is_replaced_and_does_not_swallow_the_line_end() -> None:
    assert _split(OutputSplitter(), [b"a\xe2\x82\nb\xff\n"]) == ["a�", "b�"]


def test_a_line_without_an_end_comes_in_pieces_and_is_not_held() -> None:
    splitter = OutputSplitter()
    lines = splitter.receive(b"x" * (3 * MAX_OUTPUT_LINE_BYTES + 1))
    assert [len(line) for line in lines] == [MAX_OUTPUT_LINE_BYTES] * 3
    assert splitter.finish() == ("x",)


def test_a_long_line_that_ends_in_the_same_read_is_cut_too() -> None:
    lines = OutputSplitter(limit=4).receive(b"123456789\n\nab\n")
    assert lines == ("1234", "5678", "9", "", "ab")


def test_a_cut_does_not_split_a_character() -> None:
    for before in range(4):
        data = b"x" * before + "😀".encode() * 3
        lines = _split(OutputSplitter(limit=6), [data])
        assert "".join(lines) == data.decode()


def test_a_cut_in_what_is_no_utf8_at_all_still_cuts() -> None:
    lines = _split(OutputSplitter(limit=4), [b"\x80" * 9])
    assert "".join(lines) == "�" * 9
    assert [len(line) for line in lines] == [4, 4, 1]


@given(_NOISY, st.lists(st.integers(0, 60)))
def test_however_a_childs_output_is_cut_the_lines_are_the_same(data: bytes, cuts: list[int]) -> None:
    assert _split(OutputSplitter(), _pieces(data, cuts)) == _split(OutputSplitter(), [data])


@given(st.text(alphabet="ab\nä€😀"), st.lists(st.integers(0, 60)), st.integers(4, 9))
def test_however_it_is_cut_and_however_long_its_lines_nothing_is_lost(text: str, cuts: list[int], limit: int) -> None:
    lines = _split(OutputSplitter(limit), _pieces(text.encode(), cuts))
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line) <= limit for line in lines)
