from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

assert sys.platform == "linux"  # for mypy

from sidecar.commands.dev.status_line import Shown, status_parts
from sidecar.core.events import Output
from sidecar.protocol.messages import State
from sidecar.terminal.screen import LOG_BYTES_WAITING, Screen
from sidecar.terminal.style import Glyphs, Style, load_style
from tests.e2e.support import WAIT_S


def plain_look() -> Style:
    return Style(Glyphs("utf-8"), None)


def log(*lines: str) -> Output:
    return Output("web", 1, "stdout", lines, sum(map(len, lines)))


@contextmanager
def screen_on_a_pipe() -> Iterator[tuple[Screen, int]]:
    """Return a screen that writes to a pipe of one page, and the pipe's read end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    screen = Screen(writer, plain_look, None, "utf-8")
    thread = threading.Thread(target=screen.run)
    thread.start()
    try:
        yield screen, reader
    finally:
        os.close(reader)
        screen.put("to find out\n")
        thread.join(WAIT_S)
        os.close(writer)
        assert not thread.is_alive()


def read_until(fd: int, end: str) -> str:
    data = b""
    while end.encode() not in data:
        data += os.read(fd, 65536)
    return data.decode()


def test_lines_and_output_are_written_in_the_order_they_came() -> None:
    with screen_on_a_pipe() as (screen, fd):
        screen.put((("one", "bold"),))
        screen.put_output(log("two", "three"))
        screen.put("four\n")
        assert read_until(fd, "four\n") == "» one\nweb │ two\nweb │ three\nfour\n"


def test_slow_reader_loses_counted_old_output_and_none_of_our_lines() -> None:
    with screen_on_a_pipe() as (screen, fd):
        screen.put((("begin", ""),))
        assert read_until(fd, "begin\n")
        piece, count = "x" * 1023, 4 * LOG_BYTES_WAITING // 1024
        for number in range(count):
            screen.put_output(log(f"{number:05}{piece[5:]}"))
        screen.put((("end", ""),))
        text = read_until(fd, "» end\n")
        lost = sum(int(line.split()[1]) for line in text.splitlines() if "were dropped" in line)
        shown = [line for line in text.splitlines() if line.startswith("web")]
        assert lost + len(shown) == count
        assert lost > 0
        assert shown[-1].startswith(f"web │ {count - 1:05}")
        assert not screen._backlog


def test_hide_waits_until_all_is_written_but_not_for_ever() -> None:
    with screen_on_a_pipe() as (screen, fd):
        screen.put("x" * 3000 + "\n")
        screen.hide(WAIT_S)
        assert len(os.read(fd, 65536)) == 3001
        screen.put("y" * 100_000 + "\n")
        screen.hide(0.01)  # returns even though no process reads
        assert read_until(fd, "y\n")


def test_what_comes_when_nobody_reads_any_more_is_not_kept() -> None:
    with screen_on_a_pipe() as (screen, fd):
        os.close(fd)
        screen.put("lost\n")
        screen.hide(WAIT_S)
        screen.put("lost\n")
        screen.put_output(log("lost"))
        assert not screen._backlog
        os.dup2(os.open(os.devnull, os.O_RDONLY), fd)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_glyphs_can_be_written_in_the_output_s_encoding(encoding: str) -> None:
    glyphs = Glyphs(encoding)
    assert (glyphs.ours + "".join(glyphs.bars.values()) + glyphs.chosen + glyphs.dot + glyphs.more).encode(encoding)
    look = load_style(encoding, terminal=True, colour=True)
    assert look.ours((("x", "bold"),)).encode(encoding)
    assert look.frames.encode(encoding)


def test_a_look_without_colour_has_no_escape_sequences() -> None:
    look = load_style("utf-8", terminal=True, colour=False)
    assert look.rich
    assert "\x1b" not in look.ours((("bad", "bold red"),)) + look.log(log("\x1b[31mred\x1b[0m"))


def test_quoted_text_cannot_get_at_the_terminal() -> None:
    for colour in (True, False):
        look = load_style("utf-8", terminal=True, colour=colour)
        assert "\x1b[2J" not in look.ours((("taken by \x1b[2Jevil\x07", ""),))


def test_the_program_s_colours_end_before_a_line_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    look = load_style("utf-8", terminal=True, colour=True)
    assert "\x1b[31mred" in look.log(log("\x1b[31mred"))
    assert "\x1b[31mstill" in look.log(log("still"))
    look.ours((("restarting", ""),))
    assert "\x1b[31m" not in look.log(log("after"))


@pytest.mark.parametrize("width", [0, 1, 5, 20, 60, 200])
def test_a_status_line_is_never_wider_than_the_terminal(width: int) -> None:
    from rich.cells import cell_len

    look = load_style("utf-8", terminal=True, colour=False)
    shown = Shown("日本語のサービス", "ready", "http://127.0.0.1:5173/", 5173, 0.0, 3, 85_000_000)
    assert cell_len(look.fit(status_parts(shown, "●", 65.0), width)) <= width


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Shown("web"), "* web starting  restarts 0"),
        (Shown("web", "starting", None, 5173), "* web starting  port 5173  restarts 0"),
        (
            Shown("web", "ready", "http://[::1]:1/", 1, 0.0, 2, 85_000_000),
            "* web ready  http://[::1]:1/  up 1 min  restarts 2  85 MB",
        ),
        (Shown("web", "backingOff", "http://[::1]:1/", 1, None, 2), "* web restarting  port 1  restarts 2"),
    ],
)
def test_the_status_line_says_state_port_uptime_restarts_and_memory(shown: Shown, text: str) -> None:
    assert "".join(part for part, _ in status_parts(shown, "*", 65.0)) == text


def test_a_state_has_a_style_only_if_there_is_such_a_state() -> None:
    from typing import get_args

    from sidecar.commands.dev.status_line import STYLES

    assert set(STYLES) <= set(get_args(State))
