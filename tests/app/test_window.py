"""What a user of the app sees in its window."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import signal
from pathlib import Path

from tests.app.support import WINDOW_WAIT_S, App, Window, add_vite_plugin
from tests.e2e.support import EXAMPLE, foreign_server, listens, open_gate
from tests.support.waiting import until

pytestmark = pytest.mark.vite

SLOW = """configureServer({ middlewares }) {
  middlewares.use(async (request, _response, next) => {
    if (request.headers.accept?.includes("text/html") && fs.existsSync("slow")) {
      fs.appendFileSync("asked-for", request.url + "\\n");
      while (!fs.existsSync("go")) await new Promise((done) => setTimeout(done, 20));
    }
    next();
  });
}"""
"""It polls, as ``GATED`` of tests/e2e/support.py does."""


def test_the_page_renders_and_the_apps_own_command_answers(window: Callable[..., Window]) -> None:
    seen = window().await_app()
    seen.click("greet-name")
    seen.script("document.querySelector('#greet button').click()")
    greeting = seen.until(lambda: seen.text("greeting"), "the greeting")
    assert greeting == f"Hello, Ada! Rust says so, process {seen.app.main().pid}."
    assert seen.script("return performance.getEntriesByName('first-contentful-paint').length") == 1
    assert seen.text("link-parent") == "Sidecar"
    assert seen.text("fact-pid") == str(seen.app.vite().pid)
    seen.until(lambda: "VITE" in (seen.text("app-log") or ""), "Vite's output")


def test_an_edit_arrives_in_the_page_without_a_reload(window: Callable[..., Window], project: Path) -> None:
    seen = window().await_app()
    seen.script("window.notReloaded = true")
    source = project / "src" / "message.ts"
    before = "Change this sentence, save, and watch it arrive."
    assert seen.text("message") == before
    source.write_text(source.read_text().replace(before, "It has arrived."))
    seen.until(lambda: seen.text("message") == "It has arrived.", "the new sentence")
    assert seen.script("return window.notReloaded") is True


def test_taken_port_moves_the_app_and_leaves_the_holder_alone(
    app: Callable[..., App], window: Callable[..., Window]
) -> None:
    wanted = app().port
    with foreign_server("127.0.0.1", wanted) as (holder, _):
        seen = window(SIDECAR_EXAMPLE_PORT=str(wanted))
        seen.until(lambda: seen.url.startswith("http://127.0.0.1:"), "a page")
        seen.app.port = int(seen.url.split(":")[2].split("/")[0])
        assert seen.app.port != wanted
        seen.await_app()
        seen.script("document.querySelector('#greet button').click()")
        seen.until(lambda: (seen.text("greeting") or "").startswith("Hello, Ada!"), "the greeting")
        seen.app.hit(signal.SIGKILL)
        seen.app.assert_nothing_left()
        assert holder.is_running()
        assert listens(wanted)


def test_window_says_that_vite_is_missing_and_retry_works_once_it_is_there(
    window: Callable[..., Window], project: Path
) -> None:
    (project / "node_modules").unlink()
    seen = window()
    told = seen.await_failure("npm install")
    assert told.startswith("web did not start")
    assert ".." not in told
    assert seen.url == f"http://127.0.0.1:{seen.app.port}/"

    config = project / "vite.config.ts"
    good = config.read_text()
    config.write_text("nonsense(")
    (project / "node_modules").symlink_to(EXAMPLE / "node_modules")
    seen.retry()
    seen.await_failure("could not load its configuration")  # another failure is shown, and can be retried, too

    config.write_text(good)
    seen.retry()
    seen.await_app()
    seen.script("document.querySelector('#greet button').click()")
    seen.until(lambda: (seen.text("greeting") or "").startswith("Hello, Ada!"), "the greeting")


def test_the_failures_details_can_be_copied(window: Callable[..., Window], project: Path) -> None:
    (project / "node_modules").unlink()
    seen = window()
    seen.await_failure("npm install")
    seen.script(
        "document.addEventListener('copy', () => {"
        " window.copied = document.activeElement.value ?? String(getSelection()) })"
    )
    seen.click("copy")
    seen.until(lambda: seen.text("copy") == "Copied", "the button's answer")


def test_a_dev_server_that_crashes_is_back_by_itself_in_the_same_place(window: Callable[..., Window]) -> None:
    seen = window().await_app()
    before = seen.text("fact-pid")
    seen.script("history.replaceState(null, '', '/?tab=2#here')")
    seen.click("app-crash")
    seen.until(lambda: seen.text("fact-pid") not in {before, "–", None}, "another Vite")
    seen.await_app()
    assert seen.text("fact-pid") == str(seen.app.vite().pid)
    assert seen.url.endswith("/?tab=2#here")


def test_page_below_a_base_has_commands_and_comes_back_to_its_place(
    window: Callable[..., Window], project: Path
) -> None:
    config = project / "vite.config.ts"
    good = config.read_text().replace("clearScreen: false,", 'base: "/app/", clearScreen: false,')
    config.write_text(good)
    seen = window().await_app()
    assert seen.url == f"http://127.0.0.1:{seen.app.port}/app/"
    seen.script("document.querySelector('#greet button').click()")
    seen.until(lambda: (seen.text("greeting") or "").startswith("Hello, Ada!"), "the greeting")
    seen.script("history.replaceState(null, '', '/app/list?tab=2#here')")
    config.write_text("nonsense(")
    seen.click("app-restart")
    seen.await_failure("could not load its configuration")
    config.write_text(good)
    seen.retry()
    seen.await_app()
    assert seen.url == f"http://127.0.0.1:{seen.app.port}/app/list?tab=2#here"


def test_later_failure_is_told_and_retry_brings_back_the_page(window: Callable[..., Window], project: Path) -> None:
    seen = window().await_app()
    seen.script("history.replaceState(null, '', '/?tab=2#here')")
    inner = seen.app.vite_port()
    config = project / "vite.config.ts"
    good = config.read_text()
    config.write_text("nonsense(")
    seen.click("app-restart")
    told = seen.await_failure("could not load its configuration")
    assert "vite.config.ts" in told
    assert seen.url == f"http://127.0.0.1:{seen.app.port}/?tab=2#here"

    with ExitStack() as stack:  # Vite has to go to another port, and the page notices nothing
        if not listens(inner):  # else another program has it, with the same effect
            stack.enter_context(foreign_server("127.0.0.1", inner))
        config.write_text(good)
        seen.retry()
        seen.await_app()
        assert seen.app.vite_port() != inner
        assert seen.url == f"http://127.0.0.1:{seen.app.port}/?tab=2#here"
        seen.script("document.querySelector('#greet button').click()")
        seen.until(lambda: (seen.text("greeting") or "").startswith("Hello, Ada!"), "the greeting")


def test_a_page_that_comes_slowly_comes_back_to_its_place(window: Callable[..., Window], project: Path) -> None:
    add_vite_plugin(project, SLOW)
    seen = window().await_app()
    seen.script("history.replaceState(null, '', '/?tab=2#here')")
    config = project / "vite.config.ts"
    good = config.read_text()
    config.write_text("nonsense(")
    seen.click("app-restart")
    seen.await_failure("could not load its configuration")
    (project / "slow").touch()
    config.write_text(good)
    seen.retry()
    asked = project / "asked-for"
    until(asked.exists, "the page's request", WINDOW_WAIT_S)
    open_gate(project)
    seen.await_app()
    assert seen.url.endswith("/?tab=2#here")
    assert set(asked.read_text().split()) == {"/?tab=2"}


@pytest.mark.parametrize("victim", ["bootloader", "guard", "supervisor", "all"])
def test_a_sidecar_that_is_killed_is_started_again_and_the_window_recovers(
    window: Callable[..., Window], victim: str
) -> None:
    seen = window().await_app()
    before = seen.text("fact-pid")
    sidecar = seen.app.tree.named("sidecar")
    parts = dict(zip(("bootloader", "guard", "supervisor", "keeper"), sidecar, strict=True))
    old = [*sidecar, seen.app.vite()]
    for process in sidecar if victim == "all" else [parts[victim]]:
        seen.app.tree.hit(process, signal.SIGKILL)
    seen.until(lambda: seen.text("fact-pid") not in {before, "–", None}, "another Vite")
    seen.await_app()
    assert seen.text("fact-pid") == str(seen.app.vite().pid)
    assert not {process.pid for process in old} & {process.pid for process in seen.app.tree.named("sidecar", "node")}


def test_three_apps_of_one_project_live_side_by_side_and_each_ends_alone(
    app: Callable[..., App], window: Callable[..., Window]
) -> None:
    wanted = app().port
    seen = [window(SIDECAR_EXAMPLE_PORT=str(wanted)) for _ in range(3)]
    for each in seen:
        each.until(lambda: each.url.startswith("http://127.0.0.1:"), "a page")  # noqa: B023  at once
        each.app.port = int(each.url.split(":")[2].split("/")[0])
        each.await_app()
    assert len({each.app.port for each in seen}) == 3
    assert wanted in {each.app.port for each in seen}
    while seen:
        last = seen.pop()
        last.app.hit(signal.SIGKILL)
        last.app.assert_nothing_left()
        for each in seen:
            assert each.text("state") == "Ready"
            assert each.app.vite().is_running()
