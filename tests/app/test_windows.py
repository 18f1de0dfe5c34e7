"""Apps with several windows, a hidden one, or none: all show the same address, and none appears unasked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import json
import signal

from tests.app.support import WINDOW_WAIT_S, App, Window, add_vite_plugin
from tests.e2e.support import listens
from tests.support.waiting import until

pytestmark = pytest.mark.vite

COUNT = """configureServer({ middlewares, ws }) {
  ws.on("connection", () => fs.appendFileSync("sockets", process.pid + "\\n"));
  middlewares.use((request, _response, next) => {
    if (request.headers["sec-fetch-dest"] === "document") fs.appendFileSync("documents", process.pid + "\\n");
    next();
  });
}"""
HIDDEN = [{"label": "main", "visible": False}]


def env(windows: list[dict[str, object]]) -> dict[str, str]:
    return {"SIDECAR_EXAMPLE_WINDOWS": json.dumps(windows)}


def asked(project: Path, what: str) -> list[str]:
    """Return the pid of the Vite that got each request for a document or socket."""
    file = project / what
    return file.read_text().split() if file.exists() else []


def set_aside(pids: list[str], gone: int) -> list[str]:
    return [pid for pid in pids if pid != str(gone)]


def test_each_of_three_windows_shows_the_page_and_comes_back_after_a_crash(
    app: Callable[..., App], project: Path
) -> None:
    add_vite_plugin(project, COUNT)
    labels = ("main", "second", "third")
    one = app(**env([{"label": label, "width": 300, "height": 300} for label in labels])).start().await_page()
    # the page notices the crash by its socket
    until(lambda: len(asked(project, "sockets")) == 3, "three pages", WINDOW_WAIT_S)
    first = one.vite()
    assert asked(project, "documents") == [str(first.pid)] * 3
    assert one.screen.windows(one.main().pid) == 3
    one.tree.hit(first, signal.SIGKILL)
    for what in ("documents", "sockets"):
        until(lambda: len(set_aside(asked(project, what), first.pid)) >= 3, f"three {what} again", WINDOW_WAIT_S)  # noqa: B023
    one.hit(signal.SIGTERM)
    one.assert_nothing_left()


def test_a_hidden_window_stays_hidden_while_its_page_is_there(app: Callable[..., App], project: Path) -> None:
    add_vite_plugin(project, COUNT)
    one = app(**env(HIDDEN)).start().await_page()
    until(lambda: asked(project, "sockets"), "the page", WINDOW_WAIT_S)
    assert one.screen.windows(one.main().pid) == 0
    one.hit(signal.SIGTERM)
    one.assert_nothing_left()


def test_a_hidden_window_is_shown_with_a_failure(window: Callable[..., Window], project: Path) -> None:
    (project / "node_modules").unlink()
    seen = window(**env(HIDDEN))
    seen.await_failure("npm install")
    until(lambda: seen.app.screen.windows(seen.app.main().pid) == 1, "the window", WINDOW_WAIT_S)


def test_an_app_without_windows_gets_none(app: Callable[..., App], project: Path) -> None:
    one = app(**env([])).start()
    one.await_vite_port()
    assert one.screen.windows(one.main().pid) == 0
    assert listens(one.port)
    one.hit(signal.SIGTERM)
    one.assert_nothing_left()
