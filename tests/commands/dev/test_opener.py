from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

assert sys.platform == "linux"  # for mypy

from sidecar.commands.dev.opener import Opener
from tests.commands.dev.support import PYTHON, SERVER, SERVICE, Terminal
from tests.commands.dev.test_terminal import ready
from tests.e2e.support import descendants
from tests.support.liveness import await_end, lives, open_pidfd, send
from tests.support.waiting import until

Dev = Callable[..., Terminal]

BROWSER = """#!/bin/sh
echo "$1" >> opened
echo "this must not be seen"
echo $$ > browser.new
mv browser.new browser
exec sleep 100
"""
"""A fake browser: it records the URL and its own pid, and ends only when its window is closed."""


@pytest.fixture
def browser(folder: Path) -> Path:
    script = folder / "browser.sh"
    script.write_text(BROWSER)
    script.chmod(0o755)
    return script


class Window:
    """The browser, watched by a pidfd, and closed at the end."""

    def __init__(self, folder: Path) -> None:
        until((folder / "browser").exists, "the browser's start")
        pidfd = open_pidfd(int((folder / "browser").read_text()))
        assert pidfd is not None
        self.pidfd = pidfd

    def __enter__(self) -> int:
        return self.pidfd

    def __exit__(self, *_: object) -> None:
        send(self.pidfd, 9)
        await_end(self.pidfd, "the browser")
        os.close(self.pidfd)


def test_o_opens_the_page_in_a_browser_that_outlives_us(dev: Dev, folder: Path, browser: Path) -> None:
    terminal = dev("--", *SERVICE, BROWSER=str(browser))
    url = ready(terminal)
    terminal.press("o")
    terminal.wait(f"opening {url}")
    with Window(folder) as window:
        tree = terminal.watch()
        assert not {process.pid for process in descendants(terminal.process.pid)} & {
            int((folder / "browser").read_text())
        }
        terminal.press("q")
        assert terminal.exit_code() == 0
        tree.await_gone()
        assert lives(window)
    assert (folder / "opened").read_text() == f"{url}\n"
    assert "must not be seen" not in terminal.text()


def test_a_browser_that_does_not_return_does_not_keep_the_next_page(dev: Dev, folder: Path, browser: Path) -> None:
    terminal = dev("--", *SERVICE, BROWSER=str(browser))
    url = ready(terminal)
    terminal.press("o")
    with Window(folder):
        (folder / "browser").unlink()
        terminal.press("o")
        with Window(folder):
            until(lambda: (folder / "opened").read_text() == f"{url}\n{url}\n", "the second page")


def test_open_opens_the_page_once(dev: Dev, folder: Path, browser: Path) -> None:
    terminal = dev("--open", "--", *SERVICE, BROWSER=str(browser))
    url = ready(terminal)
    with Window(folder):
        mark = terminal.mark()
        terminal.press("r")
        ready(terminal, mark)
        terminal.press("q")
        assert terminal.exit_code() == 0
    assert (folder / "opened").read_text() == f"{url}\n"


def test_nothing_is_opened_unasked(dev: Dev, folder: Path, browser: Path) -> None:
    terminal = dev("--", *SERVICE, BROWSER=str(browser))
    ready(terminal)
    terminal.press("q")
    assert terminal.exit_code() == 0
    assert not (folder / "opened").exists()


def test_an_opener_that_was_ended_breaks_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Opener(writer).open("http://127.0.0.1:1/")
    os.close(writer)


def test_an_opener_that_hangs_breaks_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for _ in range(10_000):
        Opener(writer).open("http://127.0.0.1:1/")  # far more than the pipe holds
    os.close(reader)
    os.close(writer)


def test_without_a_page_o_says_so(dev: Dev, folder: Path, browser: Path) -> None:
    terminal = dev("--", *PYTHON, str(SERVER), "0", BROWSER=str(browser))
    terminal.wait("is running")
    terminal.press("o")
    terminal.wait("there is no page to open")
    assert not (folder / "opened").exists()
