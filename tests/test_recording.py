"""The recording of a terminal: its screens, their times, and the picture."""

from __future__ import annotations

import re
from xml.dom import minidom

from build.recording import TARGET, Screen, drawn, frames

PIECES = [
    (0.0, b"\x1b[?25l"),
    (0.5, b"\x1b[36mstarting\x1b[0m app\r\n\x1b["),
    (0.55, b"1mweb\x1b[22m starting"),
    (1.5, b"\r\x1b[J\x1b[32mready <here>\x1b[0m\r\n"),
]


def text(screen: object) -> list[str]:
    assert isinstance(screen, tuple)
    return ["".join(character for character, _ in row) for row in screen]


def test_a_screen_overwrites_erases_and_goes_up() -> None:
    screen = Screen()
    screen.feed("one\r\ntwo\x1b[1A\rON\x1b]8;;http://x\x07E\r\n\x1b[Kthree")
    assert text(screen.shown()) == ["ONE", "three"]


def test_a_style_lasts_until_it_is_taken_back() -> None:
    screen = Screen()
    screen.feed("\x1b[1;31ma\x1b[94mb\x1b[22mc\x1b[0md")
    assert [style for _, style in screen.shown()[0]] == [{"bold", "red"}, {"bold", "blue"}, {"blue"}, set()]


def test_frames_are_what_stood_for_a_while_and_a_split_sequence_is_one() -> None:
    found = frames(PIECES)
    assert [(at, text(screen)) for at, screen in found] == [
        (0.5, ["starting app", "web starting"]),
        (1.5, ["starting app", "ready <here>", ""]),
    ]


def test_the_picture_is_well_formed_and_shows_the_last_frame_without_motion() -> None:
    groups = minidom.parseString(drawn(frames(PIECES))).getElementsByTagName("g")  # noqa: S318  our own
    assert [group.getAttribute("visibility") for group in groups] == ["hidden", ""]
    assert "ready &lt;here&gt;" in groups[-1].toxml()


def test_the_picture_that_is_there_names_no_folder_of_a_machine() -> None:
    picture = TARGET.read_text(encoding="utf-8")
    assert "src-tauri/tauri.conf.json" in picture
    assert not {"/tmp/", "/home/", "/Users/", "/root/"} & set(re.findall(r"/\w+/", picture))
