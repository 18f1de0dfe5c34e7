"""However the app ends, no process of it is left. If it ends in an orderly way, the dev server gets SIGTERM first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import signal

from selenium.common.exceptions import WebDriverException

from tests.app.support import WINDOW_WAIT_S, App, Window, add_vite_plugin
from tests.support.waiting import until

pytestmark = pytest.mark.vite

TELL = """configureServer() {
  process.on("SIGTERM", () => fs.writeFileSync("asked", ""));
  fs.writeFileSync("ran", "");
}"""


@pytest.fixture
def project(project: Path) -> Path:
    """Make a project whose Vite writes ``ran`` when it runs, and ``asked`` when it gets SIGTERM."""
    add_vite_plugin(project, TELL)
    return project


def asked(app: App) -> bool:
    return (app.project / "asked").exists()


def test_closing_the_window_ends_all_of_it_in_an_orderly_way(app: Callable[..., App]) -> None:
    one = app().start().await_page()
    one.tree.hold()
    one.screen.close_window(one.main().pid)
    one.assert_nothing_left()
    assert one.ended_with() == 0
    assert asked(one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda it: it.name)
def test_a_signal_that_asks_ends_all_of_it_in_an_orderly_way(app: Callable[..., App], number: signal.Signals) -> None:
    one = app().start().await_page()
    one.hit(number)
    one.assert_nothing_left()
    assert one.ended_with() == -number
    assert asked(one)


def test_SIGKILL_ends_all_of_it_at_once(app: Callable[..., App]) -> None:
    one = app().start().await_page()
    one.hit(signal.SIGKILL)
    one.assert_nothing_left()
    assert one.ended_with() == -signal.SIGKILL
    assert not asked(one)


def test_a_signal_that_the_apps_parent_had_it_ignore_stays_ignored(app: Callable[..., App]) -> None:
    one = app()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the app inherits that
    try:
        one.start()
    finally:
        signal.signal(signal.SIGINT, before)
    one.await_page().hit(signal.SIGINT)
    one.hit(signal.SIGTERM)
    one.assert_nothing_left()
    assert one.ended_with() == -signal.SIGTERM


def test_a_panic_in_setup_ends_all_of_it_in_an_orderly_way(app: Callable[..., App]) -> None:
    one = app(SIDECAR_EXAMPLE_PANIC="1").start()
    assert one.ended_with() != 0
    assert "a panic was asked for" in one.said()
    one.assert_nothing_left()
    # the panic comes during Vite's start, or even before
    assert asked(one) or not (one.project / "ran").exists()


def test_an_app_that_restarts_itself_gets_its_port_again(window: Callable[..., Window]) -> None:
    seen = window().await_app()
    one = seen.app
    old = [one.main(), one.vite(), *one.tree.named("sidecar")]
    with suppress(WebDriverException):  # the app may end before it answers
        seen.click("app-relaunch")
    for process in old:
        one.await_end_of(process)
    assert asked(one)
    until(lambda: one.tree.named(one.binary.name), "the app again", WINDOW_WAIT_S)
    one.await_page()
    assert not {it.pid for it in old} & {it.pid for it in one.tree.living()}
    one.hit(signal.SIGTERM)
    one.assert_nothing_left()
