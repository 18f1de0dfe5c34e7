"""The first user's project in a real window, with the sidecar in place of its start-dev-server.js.

The six scenarios of its plan: normal exit, force quit, shutdown, port conflict, rapid restart, network change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import os
import shutil
import signal
import subprocess
import time

import psutil

from tests.app import support
from tests.app.support import WINDOW_WAIT_S, App, Screen, Window
from tests.e2e.support import EXAMPLE, ROOT, foreign_server, listens
from tests.support.waiting import until

pytestmark = pytest.mark.vite

VOICETEXT = ROOT / "tests" / "projects" / "voicetextrs" / "after" / "tauri"
HEARD_S = 2.0
"""Time between two edits. A page that is told of one requests it in a fraction of this."""

PREFERRED = 1420
"""The port of its devUrl."""

ASKED = """
  plugins: [{
    name: "test",
    configureServer({ middlewares }) {
      middlewares.use((request, _response, next) => {
        appendFileSync("asked", `${request.url}\\n`);
        next();
      });
    },
  }],
"""


class VoiceText(App):
    """The app, on whichever port it got."""

    def start(self, *command: str) -> VoiceText:
        super().start(*command)
        return self

    def await_page(self) -> VoiceText:
        until(self._find_port, "an address of the app", WINDOW_WAIT_S)
        super().await_page()
        return self

    def _find_port(self) -> bool:
        for process in self.tree.named(self.binary.name):
            try:
                ports = [it.laddr.port for it in process.net_connections("tcp") if it.status == "LISTEN"]
            except psutil.NoSuchProcess:
                continue  # it has just ended
            if ports:
                [self.port] = ports
                return True
        return False


@pytest.fixture(scope="session")
def voicetext(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the project as ``tauri dev`` would. After the example's build, only its own crate is compiled."""
    shutil.copy2(EXAMPLE / "src-tauri" / "Cargo.lock", VOICETEXT / "src-tauri")
    built = support.build(VOICETEXT, "voicetext", locked=False)
    folder = tmp_path_factory.mktemp("voicetext")
    for name in (built.name, support.sidecar_of(VOICETEXT)):
        shutil.copy2(built.with_name(name), folder)
    return folder / built.name


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the files of the project that Vite and the plugin need."""
    folder = tmp_path / "tauri"
    shutil.copytree(VOICETEXT, folder, ignore=shutil.ignore_patterns("src-tauri", "node_modules", "dist"))
    (folder / "node_modules").symlink_to(EXAMPLE / "node_modules")
    (folder / "src-tauri").mkdir()
    (folder / "src-tauri" / "tauri.conf.json").symlink_to(VOICETEXT / "src-tauri" / "tauri.conf.json")
    return folder


@pytest.fixture
def app(voicetext: Path, project: Path, screen: Screen, tmp_path: Path) -> Iterator[Callable[[], VoiceText]]:
    """Make apps of the project that end with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(VoiceText(voicetext, project, screen, tmp_path))


def test_normal_exit_leaves_nothing(app: Callable[[], VoiceText]) -> None:
    one = app().start().await_page()
    one.screen.close_window(one.main().pid)
    one.assert_nothing_left()
    assert one.ended_with() == 0


def test_force_quit_leaves_nothing(app: Callable[[], VoiceText]) -> None:
    one = app().start().await_page()
    one.hit(signal.SIGKILL)
    one.assert_nothing_left()
    assert one.ended_with() == -signal.SIGKILL


def test_shutdown_of_the_machine_leaves_nothing(app: Callable[[], VoiceText]) -> None:
    """A system that shuts down signals all processes at once, in any order."""
    one = app().start().await_page()
    for process in one.tree.living():
        one.tree.hit(process, signal.SIGTERM)
    one.assert_nothing_left()


def test_taken_port_moves_the_page_and_leaves_the_holder_alone(
    app: Callable[[], VoiceText],
) -> None:
    with ExitStack() as stack:
        if not listens(PREFERRED):  # else another program has it, with the same effect
            stack.enter_context(foreign_server("127.0.0.1", PREFERRED))
        seen = stack.enter_context(Window(app()))
        seen.until(lambda: seen.url.startswith("http://127.0.0.1:"), "a page")
        seen.app.port = int(seen.url.split(":")[2].split("/")[0])
        assert seen.app.port != PREFERRED
        seen.until(lambda: seen.text("address"), "where Rust says that the page is from")
        assert seen.text("address") == f"http://127.0.0.1:{seen.app.port}/"
        seen.click("clean")
        seen.until(lambda: seen.text("text") == "hello world", "the answer of the app's own command")
        seen.app.hit(signal.SIGKILL)
        seen.app.assert_nothing_left()
        assert listens(PREFERRED)


def test_rapid_restart_comes_up_each_time_on_the_same_port(app: Callable[[], VoiceText]) -> None:
    """The next app starts as soon as the last one is killed, so it meets processes that are still ending."""
    ports, old = [], None
    for _time in range(4):
        one = app().start()
        one.await_page()
        ports.append(one.port)
        one.hit(signal.SIGKILL)
        if old is not None:
            old.tree.await_end()
        old = one
    assert old is not None
    old.assert_nothing_left()
    assert len(set(ports)) == 1


@pytest.mark.netns
def test_network_change_costs_no_restart_and_no_hot_update(app: Callable[[], VoiceText], project: Path) -> None:
    config = project / "vite.config.js"
    text = config.read_text().replace("  clearScreen: false,\n", f"  clearScreen: false,{ASKED}")
    config.write_text(f'import {{ appendFileSync }} from "node:fs";\n{text}')
    asked = project / "asked"

    def page_asked(times: int) -> bool:
        return asked.exists() and asked.read_text().count("/src/version.js") >= times

    def edit(number: int) -> None:
        (project / "src" / "version.js").write_text(f'export const version = "{number}";\n')

    with network() as (namespace, ip):
        one = app()
        run = f'cd src-tauri && exec "{one.binary}"'
        one.start("ip", "netns", "exec", namespace, "sh", "-c", run)
        until(lambda: page_asked(1), "the page", WINDOW_WAIT_S)
        before = {it.pid for it in one.tree.named("node", "voicetext-sidecar")}
        ip("link", "del", "wlan0")
        add_interface(ip, "192.168.77.5/24")
        deadline = time.monotonic() + WINDOW_WAIT_S
        for number in count(2):  # the page is not told of an edit before its websocket is up
            edit(number)
            try:
                until(lambda: page_asked(2), "the page's request for what has changed", HEARD_S)
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
        assert {it.pid for it in one.tree.named("node", "voicetext-sidecar")} == before
        one.hit(signal.SIGKILL)
        one.tree.await_end()


class network:  # noqa: N801  used like a function
    """A network namespace like a laptop's network: a loopback, and an interface with an address and a route."""

    def __init__(self) -> None:
        self._name = f"sidecar-app-{os.getpid()}"

    def __enter__(self) -> tuple[str, Callable[..., None]]:
        program = shutil.which("ip")
        if program is None:
            pytest.skip("no ip command (Debian package iproute2)")
        made = subprocess.run([program, "netns", "add", self._name], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
        self._ip("link", "set", "lo", "up")
        add_interface(self._ip, "10.1.2.3/24")
        return self._name, self._ip

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self._name], check=True)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self._name, *words], check=True)


def add_interface(ip: Callable[..., None], address: str) -> None:
    """Join another network."""
    ip("link", "add", "wlan0", "type", "veth", "peer", "name", "air0")
    ip("addr", "add", address, "dev", "wlan0")
    for name in ("wlan0", "air0"):
        ip("link", "set", name, "up")
    ip("route", "add", "default", "dev", "wlan0")
