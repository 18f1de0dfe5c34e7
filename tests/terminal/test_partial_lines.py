"""Unfinished lines of programs: above the status line in a terminal, and in a pipe."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

assert sys.platform == "linux"  # for mypy

from sidecar.core.events import Output
from sidecar.protocol.messages import Stream
from sidecar.terminal import screen as module
from sidecar.terminal.partial_lines import STILL_S, Unfinished
from sidecar.terminal.screen import Screen
from sidecar.terminal.style import Glyphs, Style, load_style
from tests.terminal.display import Display

STATUS = "* web ready"


def lines(*texts: str, service: str = "web", run: int = 1, stream: Stream = "stdout") -> Output:
    return Output(service, run, stream, texts, sum(map(len, texts)))


BARS: dict[Stream, str] = {"stdout": "|", "stderr": ":"}


def unfinished(text: str, service: str = "web", run: int = 1, stream: Stream = "stdout") -> Output:
    return Output(service, run, stream, (), len(text), text)


class Bar:
    """A status line that never changes."""

    def rows(self, style: Style, columns: int, most: int) -> list[str]:
        del style, columns, most
        return [STATUS]

    def pace(self) -> float:
        return 1.0

    def allowed(self) -> bool:
        return True


class View:
    """A screen, and the terminal that it writes to."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.display = Display(rows, columns)
        self.screen = Screen(-1, lambda: self.look, Bar(), "utf-8")
        self.look = load_style("ascii", terminal=True, colour=False)

    def write(self, *items: Output | str) -> list[str]:
        self.display.feed(self.screen._compose(self.look, list(items)))
        assert self.display.lines[-1] == STATUS
        _, column = self.display.cursor
        assert column == 0
        return self.display.lines[:-1]


# ── at a terminal ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unfinished_line_grows_and_ends_in_place() -> None:
    view = View()
    assert view.write(lines("up")) == ["web | up"]
    assert view.write(unfinished("Contin")) == ["web | up", "web | Contin"]
    assert view.write(unfinished("Continue? ")) == ["web | up", "web | Continue?"]
    assert view.write(lines("Continue? yes")) == ["web | up", "web | Continue? yes"]


def test_a_shorter_frame_replaces_the_whole_one_before() -> None:
    view = View()
    assert view.write(unfinished("downloading 100 files")) == ["web | downloading 100 files"]
    assert view.write(unfinished("done")) == ["web | done"]


def test_other_lines_are_written_above_an_unfinished_one() -> None:
    view = View()
    view.write(unfinished("Continue? "))
    assert view.write(lines("GET /", service="api")) == ["api | GET /", "web | Continue?"]
    assert view.write(lines("oops", stream="stderr")) == ["api | GET /", "web : oops", "web | Continue?"]
    assert view.write(lines("Continue? yes"))[-1] == "web | Continue? yes"


def test_an_unfinished_line_of_an_earlier_run_becomes_a_line() -> None:
    view = View()
    view.write(unfinished("50%", run=1))
    assert view.write(unfinished("10%", run=2)) == ["web | 50%", "web | 10%"]


def test_what_never_ended_is_written_at_the_end() -> None:
    view = View()
    view.write(unfinished("Continue? "))
    view.screen._hidden = view.screen._ending = True
    view.display.feed(view.screen._compose(view.look, []))
    assert view.display.lines == ["web | Continue?", ""]


def test_a_long_unfinished_line_shows_its_end_in_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_window", lambda _fd: (30, 24))
    view = View(24, 30)
    (row,) = view.write(unfinished("日本語\t" * 40 + "Continue?"))
    assert row.startswith("web | ...")
    assert row.endswith("Continue?")
    assert len(row) < 30


def test_an_unfinished_line_of_pictures_is_one_row_on_every_terminal() -> None:
    """Also on a terminal that does not join emoji: there a family of three takes six cells."""
    look = load_style("utf-8", terminal=True, colour=False)
    family, flag, sun = "👩\u200d👩\u200d👧", "🇩🇪", "☀\ufe0f"
    for width in range(20, 40):
        row = look.unfinished(unfinished((family + flag + sun) * 20), width)
        cells = {"\u200d": 0, "\ufe0f": 1, "☀": 1}
        count = sum(cells.get(char, 1 if char < "\U0001f000" else 2) for char in row)
        assert width - 3 < count <= width
        assert row.startswith("web │ …")
    assert look.unfinished(unfinished("\0"), 3) == "web"


def test_a_low_terminal_shows_as_many_unfinished_lines_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_window", lambda _fd: (80, 3))
    view = View(3)
    assert view.write(unfinished("a"), unfinished("b", service="api")) == ["api | b"]
    monkeypatch.setattr(module, "_window", lambda _fd: (80, 1))
    low = View(1)
    assert low.write(unfinished("a")) == []


def test_an_unfinished_line_has_its_own_colours_and_leaves_none_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    view = View()
    view.look = load_style("ascii", terminal=True, colour=True)
    drawn = view.screen._compose(view.look, [unfinished("\x1b[35mContinue?\x1b[2J")])
    assert "\x1b[35mContinue?\x1b[0m" in drawn
    assert "\x1b[2J" not in drawn
    assert "\x1b[35m" not in view.screen._compose(view.look, [lines("plain")])


_OUTPUTS = st.lists(
    st.tuples(
        st.sampled_from(["web", "api"]),
        st.sampled_from(["stdout", "stderr"]),
        st.lists(st.sampled_from(["a", "bc", ""]), max_size=3),
        st.sampled_from(["", "q", "qu"]),
    ),
    max_size=20,
)


@given(_OUTPUTS, st.lists(st.integers(1, 4)))
def test_nothing_is_lost_or_written_twice_on_a_terminal(
    written: list[tuple[str, Stream, list[str], str]], sizes: list[int]
) -> None:
    view = View()
    batch: list[Output] = []
    expected: list[str] = []
    waiting: dict[tuple[str, Stream], str] = {}
    for service, stream, texts, partial in written:
        if texts:
            batch.append(lines(*texts, service=service, stream=stream))
            expected += [f"{service} {BARS[stream]} {text}".rstrip() for text in texts]
            waiting.pop((service, stream), None)
        if partial:
            batch.append(unfinished(partial, service, 1, stream))
            waiting[service, stream] = f"{service} {BARS[stream]} {partial}"
    shown = view.write()
    while batch:
        size = sizes.pop() if sizes else 1
        shown = view.write(*batch[:size])
        del batch[:size]
    assert shown == [*expected, *waiting.values()]


# ── elsewhere ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def plain(screen: Screen, *items: Output) -> str:
    return screen._compose(Style(Glyphs("ascii"), None), list(items))


def test_a_still_line_is_written_once_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen = Screen(-1, lambda: Style(Glyphs("ascii"), None), None, "utf-8")
    assert plain(screen, unfinished("Continue? ")) == ""
    assert screen._pace() == STILL_S
    now += STILL_S
    assert plain(screen) == "web | Continue? \n"
    assert screen._pace() is None
    assert plain(screen) == ""
    assert plain(screen, lines("Continue? ", "next")) == "web | next\n"
    assert plain(screen, lines("Continue? ")) == "web | Continue? \n"


def test_a_line_that_goes_on_after_it_was_still_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen = Screen(-1, lambda: Style(Glyphs("ascii"), None), None, "utf-8")
    plain(screen, unfinished("Continue? "))
    now += STILL_S
    assert plain(screen) == "web | Continue? \n"
    assert plain(screen, lines("Continue? yes")) == "web | Continue? yes\n"


def test_frames_that_move_are_not_written_in_a_pipe() -> None:
    kept = Unfinished()
    for number in range(100):
        now = number * 0.1
        assert kept.take(unfinished(f"{number}%"), now) == ([], False)
        assert kept.still(now + 0.05) == []
    assert kept.take(lines("100%"), 10.0) == ([lines("100%")], False)
    assert kept.still(20.0) == []


def test_what_stands_unwritten_at_the_end_is_written_in_a_pipe() -> None:
    screen = Screen(-1, lambda: Style(Glyphs("ascii"), None), None, "utf-8")
    assert plain(screen, unfinished("Continue? ")) == ""
    screen._ending = True
    assert plain(screen) == "web | Continue? \n"
