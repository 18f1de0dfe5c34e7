"""Lines and tables: plain in a pipe, drawn at a terminal, and without another program's control sequences."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pty module", allow_module_level=True)

from sidecar.terminal.table import Report, Row

ROWS: list[Row] = [["one", ("two\nthree", "bold")], ["four", "5.5"]]


def plain(*, rows: list[Row]) -> str:
    reader, writer = os.pipe()
    try:
        out = Report(writer)
        out.table(("a", "b"), rows)
        return out.take()
    finally:
        os.close(reader)
        os.close(writer)


def drawn(monkeypatch: pytest.MonkeyPatch, **env: str) -> str:
    """Return the output at a terminal."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **env}.items():
        monkeypatch.setenv(name, value)
    master, slave = os.openpty()
    try:
        out = Report(slave)
        out.heading("Title")
        out.table(("a", "b"), ROWS)
        out.line("x\x1b[2J", ("y", "bold"))
        return out.take()
    finally:
        os.close(master)
        os.close(slave)


def test_plain_columns_are_as_wide_as_needed_and_cells_may_have_lines() -> None:
    assert plain(rows=ROWS) == "A     B\none   two\n      three\nfour  5.5\n"


def test_without_rows_there_is_no_table() -> None:
    assert plain(rows=[]) == ""


def test_what_others_print_cannot_get_at_the_terminal() -> None:
    assert plain(rows=[["a\x1b[2Jb", "c\bd"]]) == "A   B\nab  cd\n"


def test_at_a_terminal_it_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch)
    assert "\x1b[1mTitle" in text
    assert "\x1b[2J" not in text
    assert "three" in text


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_colours_that_are_not_wanted_stay_away(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    text = drawn(monkeypatch, **env)
    assert "\x1b[1;31m" not in text
    assert "\x1b[38" not in text
    assert "three" in text


def test_without_rich_it_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert drawn(monkeypatch) == "Title\nA     B\none   two\n      three\nfour  5.5\nxy\n"


def test_what_the_output_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    try:
        out = Report(writer)
        monkeypatch.setattr(out, "_encoding", "ascii")
        out.line("naïve")
        assert out.show("> ")
        assert os.read(reader, 100) == b"> na\\xefve\n"
    finally:
        os.close(reader)
        os.close(writer)
