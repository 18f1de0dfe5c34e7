"""``npm run tauri:dev``: the Tauri CLI builds, runs and watches the app."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import os
import signal

import psutil

from tests.app.support import BUILD_S, App, Screen, target_folder
from tests.e2e.support import EXAMPLE
from tests.support.waiting import until

pytestmark = pytest.mark.vite


@pytest.fixture
def dev(binary: Path, screen: Screen, tmp_path: Path) -> Iterator[App]:
    """Run the original example by the CLI, and wait for its page. For a copy, cargo would build everything anew."""
    with App(binary, EXAMPLE, screen, tmp_path, CARGO_TARGET_DIR=str(target_folder())) as app:
        app.start("npm", "run", "tauri:dev")
        until(lambda: app.tree.named(binary.name), "the app", BUILD_S)
        yield app.await_page()


def cli(app: App) -> psutil.Process:
    """Return the process of ``tauri dev`` itself."""
    return next(it for it in app.main().parents() if "tauri" in " ".join(it.cmdline()[1:2]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "terminal closed"])
def test_a_signal_of_the_terminal_leaves_nothing(dev: App, number: signal.Signals) -> None:
    dev.tree.hold()
    assert dev.process
    os.killpg(dev.process.pid, number)  # to the whole group, as a terminal does
    dev.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_app_outlives_its_killed_cli_and_nothing_outlives_the_app(dev: App, number: signal.Signals) -> None:
    tauri = cli(dev)
    dev.tree.hit(tauri, number)
    dev.await_end_of(tauri)
    assert dev.main().is_running()
    dev.await_page()  # between two requests the page may have no connection
    dev.hit(signal.SIGKILL)
    dev.assert_nothing_left()


def test_a_rebuild_gets_the_same_port_again(dev: App) -> None:
    before = [dev.main(), dev.vite()]
    (EXAMPLE / "src-tauri" / "src" / "lib.rs").touch()
    for process in before:
        dev.await_end_of(process, BUILD_S)
    until(lambda: dev.tree.named(dev.binary.name), "the app again", BUILD_S)
    dev.await_page()
    assert dev.process
    os.killpg(dev.process.pid, signal.SIGINT)
    dev.assert_nothing_left()
