"""A service's output: however its bytes are cut, nothing is lost, and only colour sequences reach a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.events import Endpoint
from sidecar.core.readiness import hopeless, how_it_ended, plain, port_is_taken, told_address
from sidecar.protocol.framing import PARTIAL_BYTES, OutputSplitter, shorten
from sidecar.protocol.messages import Stream
from sidecar.runtime import streams
from sidecar.runtime.streams import OutputPump, memory_of
from sidecar.terminal.ansi import Colours, clean
from tests.fuzz.pieces import PIECES, cut

ATOMS = [
    *(b"\n", b"\r", b"\r\n", b" ", b"\t", b"a", b"bc", b"\x00", b"\xff", b"\xe2\x82", b"\xc2", b"\x9b31m", b"x" * 30),
    *("ä€😀".encode(), "中".encode(), "\u202e".encode(), "\u2028".encode(), b"\x7f", b"\x1b", b"\x1b\\", b"\x07"),
    *(b"\x1b[31m", b"\x1b[0m", b"\x1b[38;2;1;2;3m", b"\x1b[38;5", b"\x1b[4:3m", b"\x1b[99999999m", b"\x1b[;;m"),
    *(
        b"\x1b[K",
        b"\x1b[G",
        b"\x1b[1G",
        b"\x1b[2J",
        b"\x1b[?25l",
        b"\x1b]0;t\x07",
        b"\x1b]8;;u\x1b\\",
        b"\x1bP1q",
        b"\x1bc",
    ),
    *(b"EADDRINUSE", b"port 5173 is already in use", b"Local: http://localhost:5173/base/ ", b"Error"),
]
OUTPUT = st.lists(st.sampled_from(ATOMS) | st.binary(max_size=3), max_size=40).map(b"".join)


def whole(data: bytes) -> list[str]:
    splitter = OutputSplitter()
    return [*splitter.receive(data), *splitter.finish()]


@given(OUTPUT, PIECES)
def test_output_has_the_same_lines_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    splitter = OutputSplitter()
    lines = [line for piece in cut(data, cuts) for line in splitter.receive(piece)]
    assert [*lines, *splitter.finish()] == whole(data)


@given(OUTPUT, PIECES)
def test_no_visible_byte_of_a_line_without_returns_is_lost(data: bytes, cuts: list[int]) -> None:
    data = re.sub(rb"\r|\x1b", b"", data)
    splitter = OutputSplitter()
    lines = [line for piece in cut(data, cuts) for line in splitter.receive(piece)]
    text = data.decode("utf-8", "replace")
    assert "\n".join([*lines, *splitter.finish()]) == text.removesuffix("\n")


@given(OUTPUT, PIECES)
def test_an_unfinished_line_is_within_its_bound_and_ends_whole(data: bytes, cuts: list[int]) -> None:
    splitter = OutputSplitter()
    for piece in cut(data, cuts):
        splitter.receive(piece)
        shown = shorten(plain(splitter.unfinished()))
        assert len(shown.encode()) <= PARTIAL_BYTES
        assert "\x1b" not in shown or "\x1b" in plain(shown)


class Pieces:
    """Plays a program's pipes: each read returns the next piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [*(it for it in pieces if it), b""]
        self.open = 1

    def read(self, _timeout_s: float | None) -> tuple[int, bytes]:
        piece = self._pieces.pop(0)
        self.open = int(bool(piece))
        return 7, piece


@pytest.fixture
def dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LINES_AT_ONCE", 2)
    monkeypatch.setattr(streams, "DENSE_BYTES", 5)
    monkeypatch.setattr(streams, "PARTIAL_S", 1e9)


def pumped(data: bytes, cuts: list[int]) -> list[str]:
    told: list[str] = []

    def emit(_stream: Stream, lines: tuple[str, ...], partial: str, size: int, pump: OutputPump) -> None:
        told.extend(lines)
        assert size >= sum(map(len, lines))
        assert not partial
        pump.taken(size)

    pipes: Any = Pieces(cut(data, cuts))
    OutputPump(pipes, {7: "stdout"}, emit, lambda: None, lambda: None, keep_ansi=True).run()
    return told


@pytest.mark.usefixtures("dense")
def test_very_many_lines_are_taken_in_pieces_without_a_loss() -> None:
    @given(OUTPUT, PIECES)
    def same(data: bytes, cuts: list[int]) -> None:
        assert pumped(data, cuts) == whole(data)

    same()


@given(OUTPUT)
def test_the_memory_of_lines_is_never_estimated_too_low(data: bytes) -> None:
    lines = tuple(whole(data))
    real = 8 * len(lines) + sum(map(str.__sizeof__, lines))
    assert memory_of(lines, len(data), ascii_only=data.isascii()) + 64 >= real


@given(st.lists(OUTPUT.map(lambda it: it.decode("utf-8", "replace")), max_size=4))
def test_a_terminal_gets_text_and_colours_and_nothing_else(lines: list[str]) -> None:
    colours = Colours()
    for line in lines:
        assert not any(unicodedata.category(each) == "Cc" and each != "\t" for each in clean(line))
        shown = clean(line, colours)
        rest = re.sub(r"\x1b\[[0-9;:]{0,64}m", "", shown)
        assert not any(unicodedata.category(each) == "Cc" and each != "\t" for each in rest)
        assert clean(shown) == clean(line)


@given(st.lists(OUTPUT.map(lambda it: it.decode("utf-8", "replace")), max_size=6), st.integers(-9, 300))
def test_a_judgement_on_any_lines_is_made_without_an_error(lines: list[str], code: int) -> None:
    address = told_address(lines, Endpoint("localhost", 5173))
    assert address is None or (address.base or "").startswith("/")
    hopeless(lines, code)
    port_is_taken(lines, 5173)
    assert how_it_ended(code, None)
