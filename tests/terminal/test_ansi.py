from __future__ import annotations

import json

import pytest

from sidecar.terminal.ansi import RESET, Colours, clean, printable_json


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("plain", "plain"),
        ("a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[H\x1b[?25lscreen", "screen"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\device", "device"),
        ("\x1b(Bset", "set"),
        ("\x1bcreset", "reset"),
        ("bell\x07 back\x08space \x00 \x7f", "bell backspace  "),
        ("\x9b2Jc1", "c1"),
        ("an open \x1b[", "an open "),
        ("an open title \x1b]0;never closed", "an open title "),
        ("10%\r50%\r100%", "100%"),
        ("100%\r", "100%"),
        ("kept\r\x1b[K", "kept"),
    ],
)
def test_of_what_a_program_prints_only_the_text_is_left(line: str, left: str) -> None:
    assert clean(line) == left


def test_with_colours_they_stay_and_end_with_the_line() -> None:
    assert clean("\x1b[1;31mred", Colours()) == f"\x1b[1;31mred{RESET}"


def test_a_colour_that_a_line_leaves_on_begins_the_next() -> None:
    colours = Colours()
    clean("\x1b[31mred", colours)
    assert clean("still", colours) == f"\x1b[31mstill{RESET}"
    clean("\x1b[39m", colours)
    assert clean("no more", colours) == "no more"


@pytest.mark.parametrize(
    ("sequences", "on"),
    [
        (["1", "4", "31"], "1;4;31"),
        (["31", "32"], "32"),
        (["38;5;200", "48;2;1;2;3"], "38;5;200;48;2;1;2;3"),
        (["38:2::1:2:3"], "38:2::1:2:3"),
        (["1;2", "22"], ""),
        (["31;1", ""], ""),
        (["31", "0;1"], "1"),
        (["38"], "38"),
        (["91", "39"], ""),
        (["58;5;1", "59"], ""),
        (["999"], ""),
    ],
)
def test_what_is_switched_on_is_what_the_sequences_add_up_to(sequences: list[str], on: str) -> None:
    colours = Colours()
    for sequence in sequences:
        colours.switch(sequence)
    assert colours.sequence == (f"\x1b[{on}m" if on else "")


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("evil\u202egpj.exe", r"evil\u202egpj.exe"),
        ("\u2066a\u2069b\u200ec\u200fd", r"\u2066a\u2069b\u200ec\u200fd"),
        ("pay\u200bpal\ufeff\u2060\u00ad", r"pay\u200bpal\ufeff\u2060\u00ad"),
        ("pay\u200dpal pay\u200cpal \u200d", r"pay\u200dpal pay\u200cpal \u200d"),
        ("line\u2028separator\u2029", r"line\u2028separator\u2029"),
        ("tag\U000e0041s", r"tag\udb40\udc41s"),
        ("\x1b[31mred\u202e", r"red\u202e"),
    ],
)
def test_marks_that_are_not_seen_are_shown_as_escapes(line: str, left: str) -> None:
    assert clean(line) == left


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d💻 ❤️\u200d🔥 👍🏽 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "e\u0301 n\u0303 ไทย",  # combining marks
        "\u0645\u06cc\u200c\u062e\u0648 \u0915\u094d\u200d\u0937",  # Persian parts letters, Hindi joins them
        "עברית 中文\u00a0français",
    ],
)
def test_pictures_and_other_scripts_stay_legible(text: str) -> None:
    assert clean(text) == text


def test_json_for_a_terminal_says_the_same_and_has_no_marks() -> None:
    value = {"name\u202e": "a\x9b\x7f\u200d\u2066\U000e0041 ✓ é 💻"}
    line = json.dumps(value, ensure_ascii=False)
    shown = printable_json(line)
    assert json.loads(shown) == value
    assert "✓ é 💻" in shown
    assert not set(shown) & set("\u202e\x9b\x7f\u200d\u2066\U000e0041")
    assert printable_json('{"a": 1}') == '{"a": 1}'
