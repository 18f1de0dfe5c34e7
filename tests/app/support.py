"""A real app in a real window: build it, show it on an X server, drive it by WebDriver, and prove that nothing is left.

Other tests use it through the fixtures in ``conftest.py``, or directly: ``missing()`` says why it cannot be used here,
``build`` makes the app, ``Screen`` shows windows, ``App`` is one app of a project, and ``Window`` drives it.
"""

from __future__ import annotations

import filecmp
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import platformdirs
import psutil
from PIL import Image, ImageGrab
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.options import ArgOptions
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.support.wait import WebDriverWait

if sys.platform != "linux":
    raise ImportError("WebKitWebDriver and Xvfb are Linux's")

from Xlib import X
from Xlib.display import Display
from Xlib.protocol.event import ClientMessage

from tests.e2e.support import EXAMPLE, ROOT, copy_example, listens
from tests.support.command import BINARY
from tests.support.liveness import await_end, lives, marked, open_pidfd, send
from tests.support.ports import free_port
from tests.support.waiting import until

MARK = "SIDECAR_APP_TEST"
"""The variable by which the processes of an app are found. Each app has its own value."""
SIZE = "1000x900x24"
"""Size of the screen, which the example's window fills."""
WINDOW_WAIT_S = 60.0
"""Longest wait for something in a window. An app starts in 2 s on two idle cores."""
BUILD_S = 1500.0
"""Timeout of a build. Without caches, all of Tauri takes 2.5 minutes on two idle cores."""

LOOK_S = 0.05
"""Poll interval for a window."""

T = TypeVar("T")

HINT = "python3 build/dev.py app installs what it can and runs these tests"
PROGRAMS = {
    "cargo": "Rust from https://rustup.rs",
    "node": "Node",
    "npm": "Node with npm",
    "Xvfb": "Debian's xvfb",
    "WebKitWebDriver": "Debian's webkit2gtk-driver",
    "tauri-driver": "cargo install tauri-driver",
}


def missing(example: Path = EXAMPLE) -> str | None:
    """Return why no app can be built and driven here, and what to do; ``None`` if it can."""
    for program, source in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"there is no {program} on PATH (it comes with {source}): {HINT}"
    if subprocess.run(["pkg-config", "--exists", "webkit2gtk-4.1"], check=False).returncode != 0:
        return f"WebKitGTK's headers are not installed (Debian's libwebkit2gtk-4.1-dev): {HINT}"
    if not (example / "node_modules" / "@tauri-apps").is_dir():
        return f"the npm packages of {example.name} are not installed: {HINT}"
    return None


# ── the app ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def target_folder() -> Path:
    """Return cargo's build folder. It is kept outside the checkout, as it has 2.4 GB and takes minutes to build."""
    told = os.environ.get("CARGO_TARGET_DIR")
    return Path(told) if told else platformdirs.user_cache_path("tauri-sidecar") / "cargo-target"


def build(project: Path = EXAMPLE, name: str = "sidecar-example", *, locked: bool = True) -> Path:
    """Build the example, or another project, as for ``tauri dev``; return the app's binary, beside the frozen sidecar.

    Build in place: for cargo a copy would be another app, which it would build anew.
    """
    put_sidecar(project)
    target = target_folder()
    manifest = project / "src-tauri" / "Cargo.toml"
    subprocess.run(
        ["cargo", "build", "--quiet", *(["--locked"] if locked else []), "--manifest-path", str(manifest)],
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        timeout=BUILD_S,
        check=True,
    )
    return target / "debug" / name


def copy_app(folder: Path) -> Path:
    """Copy the files of the example that Vite and the plugin need."""
    copy_example(folder)
    (folder / "src-tauri").mkdir()
    (folder / "src-tauri" / "tauri.conf.json").symlink_to(EXAMPLE / "src-tauri" / "tauri.conf.json")
    return folder


def add_vite_plugin(project: Path, body: str) -> None:
    """Add a plugin with these members to the project's Vite. They can use node's ``fs``."""
    config = project / "vite.config.ts"
    text = config.read_text()
    assert "plugins: [sidecarInfo()]" in text
    text = text.replace("plugins: [sidecarInfo()]", f'plugins: [{{ name: "test", {body} }}, sidecarInfo()]')
    config.write_text(f'import * as fs from "node:fs";\n{text}')


def sidecar_of(project: Path) -> str:
    """Return the sidecar's name in the project's ``externalBin``, which is also its name beside the app."""
    config = json.loads((project / "src-tauri" / "tauri.conf.json").read_text(encoding="utf-8"))
    [path] = config["bundle"]["externalBin"]
    return Path(path).name


def put_sidecar(project: Path) -> None:
    """Put the frozen sidecar where ``externalBin`` names it: the one under test, or a new one.

    An identical file is not touched, so that cargo sees no change.
    """
    folder = project / "src-tauri" / "binaries"
    asked = subprocess.run(["rustc", "--print", "host-tuple"], capture_output=True, text=True, check=True)
    made_as, name = f"sidecar-{asked.stdout.strip()}", f"{sidecar_of(project)}-{asked.stdout.strip()}"
    with tempfile.TemporaryDirectory(prefix="sidecar-app-") as made:
        if not BINARY:
            freeze = [sys.executable, str(ROOT / "build" / "freeze.py"), "--out", made]
            subprocess.run(freeze, stdout=subprocess.DEVNULL, check=True)
        fresh = Path(BINARY or Path(made, made_as))
        if not (folder / name).exists() or not filecmp.cmp(fresh, folder / name, shallow=False):
            folder.mkdir(exist_ok=True)
            shutil.copy2(fresh, folder / name)


# ── the screen ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Screen:
    """An X server without a monitor."""

    def __init__(self) -> None:
        """Start it. It chooses its own display number, and prints it once it accepts clients."""
        reader, writer = os.pipe()
        command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", SIZE, "-nolisten", "tcp", "-noreset"]
        self._server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(writer)
        with os.fdopen(reader) as told:
            self.display = f":{told.readline().strip()}"
        assert self.display != ":", f"Xvfb ended with {self._server.wait()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait()

    @property
    def env(self) -> dict[str, str]:
        """The environment for a GTK program on this screen. It must start no D-Bus daemon, which would outlive it."""
        return {
            "DISPLAY": self.display,
            "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
            "NO_AT_BRIDGE": "1",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }

    def shot(self) -> Image.Image:
        """Take a screenshot. WebDriver's own screenshots do not work for pages of the app's own scheme."""
        return ImageGrab.grab(xdisplay=self.display)

    def close_window(self, pid: int) -> None:
        """Ask the process's window to close, as a click on the title bar's close button does."""
        display = Display(self.display)
        try:
            protocols, delete = (display.intern_atom(name) for name in ("WM_PROTOCOLS", "WM_DELETE_WINDOW"))
            for window in self._windows(display, pid):
                data = (32, [delete, 0, 0, 0, 0])
                window.send_event(ClientMessage(window=window, client_type=protocols, data=data))
                display.sync()
                return
            raise AssertionError(f"process {pid} shows no window")
        finally:
            display.close()

    def windows(self, pid: int) -> int:
        """Return how many windows of the process are visible."""
        display = Display(self.display)
        try:
            return len(self._windows(display, pid))
        finally:
            display.close()

    def _windows(self, display: Any, pid: int) -> list[Any]:
        """Return the process's windows, without GTK's own, which is never shown."""
        owner, found = display.intern_atom("_NET_WM_PID"), []
        for window in display.screen().root.query_tree().children:
            told = window.get_full_property(owner, 0)
            if told is not None and told.value[0] == pid and window.get_attributes().map_state == X.IsViewable:
                found.append(window)
        return found


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tree:
    """All processes with one mark in their environment. ``hold`` opens a pidfd of each."""

    def __init__(self) -> None:
        self.mark = f"tree-{os.urandom(8).hex()}"
        self._held: dict[int, int] = {}

    def hold(self) -> dict[int, int]:
        """Search for more; return pid and pidfd of all that were ever found."""
        fresh = {pid: open_pidfd(pid) for pid in marked(self.mark) if pid not in self._held}
        ours = set(marked(self.mark))  # to check again after opening a pidfd: a pid may be reused
        for pid, pidfd in fresh.items():
            if pidfd is not None and pid in ours:
                self._held[pid] = pidfd
            elif pidfd is not None:
                os.close(pidfd)
        return self._held

    def living(self) -> list[psutil.Process]:
        """Return the processes that live."""
        found = []
        for pid, pidfd in self.hold().items():
            with suppress(psutil.NoSuchProcess):  # it has ended since the listing
                process = psutil.Process(pid)
                if lives(pidfd):
                    found.append(process)
        return found

    def named(self, *names: str) -> list[psutil.Process]:
        """Return the processes whose program has one of these names, the oldest first."""
        found = []
        for process in self.living():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it is exiting
                if Path(process.exe()).name in names:
                    found.append(process)
        return sorted(found, key=psutil.Process.create_time)

    def hit(self, process: psutil.Process, number: int) -> None:
        """Signal one of them through its pidfd."""
        send(self.hold()[process.pid], number)

    def await_end(self) -> None:
        """Wait for the end of all processes that were found, and of those that they have started since."""
        for pid, pidfd in self.hold().items():
            await_end(pidfd, f"process {pid}")
        until(lambda: not marked(self.mark), "the end of all processes with the mark")

    def kill(self) -> None:
        """Kill the processes that are left, after a failure."""
        while any(lives(pidfd) for pidfd in self.hold().values()):
            for pidfd in self._held.values():
                send(pidfd, signal.SIGKILL)
            for pidfd in self._held.values():
                await_end(pidfd)
        for pidfd in self._held.values():
            os.close(pidfd)
        self._held.clear()


def assert_free(port: int) -> None:
    """Assert that the port is free."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections in TIME_WAIT
        sock.bind(("127.0.0.1", port))
        sock.listen()


class App:
    """One app of a project. At the end of the test no process of it may be left."""

    def __init__(self, binary: Path, project: Path, screen: Screen, folder: Path, **env: str) -> None:
        """Start nothing yet. ``env`` has more variables for it, such as ``SIDECAR_EXAMPLE_PANIC``.

        ``folder`` is the test's folder for output.
        """
        self.binary = binary
        self.project = project
        self.screen = screen
        self.tree = Tree()
        self.port = free_port()
        """The port that its page should have, unless another program takes it."""
        self.errors = folder / f"{self.tree.mark}.stderr"
        self.cache = folder / "cache"
        """The app's cache folder."""
        self.prefix: tuple[str, ...] = ()
        """A shell command that starts its binary, in place of a plain exec; see ``script``."""
        self.env = {
            **screen.env,
            MARK: self.tree.mark,
            "SIDECAR_EXAMPLE_PORT": str(self.port),
            "SIDECAR_STATE_DIR": str(folder / "state"),
            "XDG_CACHE_HOME": str(self.cache),
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tree.kill()
        if self.process is not None:
            self.process.wait()

    def start(self, *command: str) -> Self:
        """Start it without WebDriver, or start it by ``command`` in the project's folder.

        Without a ``command`` it starts in the Tauri folder. By that it finds its project, as its binary is elsewhere.
        """
        with self.errors.open("wb") as sink:
            self.process = subprocess.Popen(
                command or [self.binary],
                cwd=self.project if command else self.project / "src-tauri",
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        return self

    def script(self) -> Path:
        """Write a script that sets the environment and execs the app: a driver cannot pass an environment."""
        path = self.errors.with_suffix(".sh")
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.env.items())
        place, errors = (shlex.quote(str(it)) for it in (self.project / "src-tauri", self.errors))
        command = shlex.join([*self.prefix, str(self.binary)])
        path.write_text(f'#!/bin/sh\n{exports}cd {place}\nexec {command} "$@" 2>{errors}\n')
        path.chmod(0o755)
        return path

    def unpacked(self) -> list[Path]:
        """Return the unpacked folders of one-file sidecars in the app's cache."""
        return list(self.cache.glob("*/sidecar/_MEI*"))

    def main(self) -> psutil.Process:
        """Return the app's own process."""
        found = self.tree.named(self.binary.name)
        assert len(found) == 1, found
        return found[0]

    def vite(self) -> psutil.Process:
        """Return the dev server: the node process that listens."""
        return self._vite()[0]

    def vite_port(self) -> int:
        """Return the dev server's own port, behind the app's address."""
        return self._vite()[1]

    def await_vite_port(self) -> int:
        """Wait for the dev server; return its port."""
        found: list[int] = []

        def look() -> bool:
            with suppress(AssertionError):  # not yet, or just restarting
                found.append(self.vite_port())
            return bool(found)

        until(look, "a dev server that listens", WINDOW_WAIT_S)
        return found[0]

    def _vite(self) -> tuple[psutil.Process, int]:
        for process in self.tree.named("node"):
            with suppress(psutil.NoSuchProcess):  # it has ended since the listing
                for it in process.net_connections("tcp"):
                    if it.status == "LISTEN":
                        return process, it.laddr.port
        raise AssertionError(f"no node of the app listens: {self.tree.living()}")

    def shows_page(self) -> bool:
        """Return whether a window has the page open. Then the app relays its hot update connection to Vite."""
        with suppress(AssertionError, psutil.NoSuchProcess):  # there is no Vite, or it has just ended
            inner = self.vite_port()
            passed_on = self.main().net_connections("tcp")
            return any(it.raddr[1:] == (inner,) and it.status == "ESTABLISHED" for it in passed_on)
        return False

    def await_page(self) -> Self:
        """Wait until a window has the page open."""
        try:
            until(self.shows_page, f"a page on port {self.port}", WINDOW_WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; the app said:\n{self.said()}") from error
        return self

    def said(self) -> str:
        """What it wrote."""
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def hit(self, number: int) -> None:
        """Open pidfds of the app's tree, then signal the app."""
        self.tree.hit(self.main(), number)

    def ended_with(self) -> int:
        """Wait for the end of the started process; return its exit code, or minus the signal's number."""
        assert self.process is not None
        return self.process.wait(WINDOW_WAIT_S)

    def await_end_of(self, process: psutil.Process, seconds: float = WINDOW_WAIT_S) -> None:
        """Wait until one process of the app has ended."""
        pidfd = self.tree.hold()[process.pid]
        assert select.select([pidfd], [], [], seconds)[0], f"timed out waiting for the end of {process}"

    def assert_nothing_left(self, port: int | None = None) -> None:
        """Assert that every process of the app ends by itself, and that its port is free."""
        self.tree.await_end()
        assert_free(port or self.port)


# ── the window ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Options(ArgOptions):
    """Options without the capabilities of browsers, which WebKitWebDriver does not know."""

    @property
    def default_capabilities(self) -> dict[str, Any]:
        return {}


class Window:
    """An app that is driven through its window."""

    def __init__(self, app: App) -> None:
        """Start the app by its own driver, as WebKit's driver has only one session at a time."""
        self.app = app
        self._stack = ExitStack()
        with self._stack:
            self._driver = Tree()
            self._stack.callback(self._driver.kill)
            port, native = free_port(), free_port()
            process = subprocess.Popen(
                ["tauri-driver", "--port", str(port), "--native-port", str(native)],
                env={**os.environ, **app.screen.env, MARK: self._driver.mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._stack.callback(process.wait)
            self._stack.callback(process.terminate)
            for its in (port, native):
                until(lambda: listens(its), "a driver")  # noqa: B023  at once
            options = _Options()
            options.set_capability("tauri:options", {"application": str(app.script())})
            config = ClientConfig(f"http://127.0.0.1:{port}", timeout=int(WINDOW_WAIT_S))
            self.web = webdriver.Remote(RemoteConnection(client_config=config), options=options)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The window's URL."""
        return self.web.current_url

    def script(self, body: str, *arguments: object) -> Any:
        """Run JavaScript in the page; return its result."""
        return self.web.execute_script(body, *arguments)

    def text(self, name: str) -> str | None:
        """Return the text of the element with this id."""
        text: str | None = self.script("return document.getElementById(arguments[0])?.textContent", name)
        return text

    def click(self, name: str) -> None:
        """Click on the element with this id."""
        self.web.find_element("id", name).click()

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait until ``look`` finds something; return that.

        While the window changes from one page to the next, ``look`` may fail: there is no document, or no such element
        yet. Then try again. The WebDriver session itself stays as long as the app lives.
        """
        wait = WebDriverWait(self.web, WINDOW_WAIT_S, LOOK_S, ignored_exceptions=[WebDriverException])
        try:
            return wait.until(lambda _: condition())
        except TimeoutException as error:
            seen = (
                self.script("return document.body?.innerText")
                if self.app.tree.named(self.app.binary.name)
                else "the app has ended"
            )
            raise AssertionError(f"never seen: {what}. Seen last: {seen}\nThe app said:\n{self.app.said()}") from error

    def await_app(self, port: int | None = None) -> Self:
        """Wait until the example's page is shown, its dev server answers, and its buttons work."""
        address = f"http://127.0.0.1:{port or self.app.port}/"
        self.until(lambda: self.url.startswith(address), f"the page at {address}")
        self.until(lambda: self.text("state") in {"Ready", "Restarted"}, "a dev server that answers")
        self.until(lambda: (self.text("app-told") or "").startswith("The sidecar says"), "the app's part of the page")
        return self

    def retry(self) -> None:
        """Press Retry on the failure page, until it shows something else.

        A press is lost if the page is just being replaced. Vite's client reloads its page when it loses Vite, and the
        plugin does so when the service has failed: the second page may come after the first has shown the failure.
        """
        before = self.text("message")

        def pressed() -> bool:
            if self.script("return document.documentElement.dataset.phase") != "failed":
                return True
            if self.text("message") != before:
                return True
            self.click("retry")
            return False

        self.until(pressed, "something else than the failure")

    def await_failure(self, words: str) -> str:
        """Wait until the plugin's failure page contains these words; return its text."""
        self.until(lambda: self.script("return document.documentElement.dataset.phase") == "failed", "the failure page")
        self.until(lambda: words in (self.text("message") or ""), words)
        return "\n".join(self.text(name) or "" for name in ("title", "message", "note", "lines"))
