"""Apps as ``create-tauri-app`` makes them, changed by ``sidecar init``, then built and run in a real window.

Each page reports to this test: where it is, and what the app's own command answers. So it is shown, its scripts come
from the Vite that the sidecar started, and it may call the app.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import platformdirs
import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("apps are built and shown on Linux only, so far", allow_module_level=True)

from tests.command import BINARY
from tests.e2e.support import EXAMPLE
from tests.init.support import ROOT
from tests.liveness import await_end, marked, open_pidfd, send, until

SCAFFOLDER = "create-tauri-app@4.7.4"
NAME = "scaffold"
PROGRAMS = {"cargo": "Rust", "npx": "Node", "Xvfb": "Debian's xvfb", "rustfmt": "Rust"}

BUILD_S = 1500
"""For a build of all of Tauri where nothing is cached: minutes on two cores that have nothing else to do."""
NETWORK_S = 300
"""For npm, which may have to fetch everything."""
SHOWN_S = 120.0
"""For an app to start and to show its page: seconds on two cores that have nothing else to do."""

pytestmark = pytest.mark.timeout(2 * BUILD_S)

REPORT = """
<script type="module">
  const internals = window.__TAURI_INTERNALS__;
  const greeting = await internals.invoke("greet", { name: "page" }).catch((error) => `refused: ${error}`);
  new Image().src = `http://127.0.0.1:PORT/?${new URLSearchParams({ url: location.href, greeting })}`;
</script>
"""


def missing() -> str | None:
    """Why no app can be built and shown here; ``None`` if it can."""
    for program, source in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"there is no {program} on PATH (it comes with {source})"
    wanted = ["pkg-config", "--exists", "webkit2gtk-4.1"]
    if shutil.which("pkg-config") is None or subprocess.run(wanted, check=False).returncode != 0:
        return "WebKitGTK's headers are not installed (Debian's libwebkit2gtk-4.1-dev)"
    return None


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen binary: the one under test, or one that is made now."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    if BINARY:
        return Path(BINARY).absolute()
    folder = tmp_path_factory.mktemp("frozen")
    freeze = [sys.executable, str(ROOT / "build" / "freeze.py"), "--out", str(folder)]
    subprocess.run(freeze, stdout=subprocess.DEVNULL, check=True)
    (binary,) = folder.iterdir()
    return binary


@pytest.fixture(scope="module")
def display(sidecar: Path) -> Iterator[str]:
    """An X server that shows its windows to nobody; it chooses its own number."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1000x900x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        os.close(writer)
        with os.fdopen(reader) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


class Pages:
    """Takes what pages report."""

    def __init__(self, server: HTTPServer) -> None:
        self.port = server.server_address[1]
        self.reports: list[dict[str, str]] = []
        self.told = threading.Event()

    def tell(self, path: str) -> None:
        self.reports.append({name: values[0] for name, values in parse_qs(urlsplit(path).query).items()})
        self.told.set()


@contextmanager
def listening() -> Iterator[Pages]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()
            pages.tell(self.path)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its own name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        pages = Pages(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield pages
        finally:
            server.shutdown()
            thread.join()


class Tree:
    """All processes that have the mark; they are ended with the test."""

    def __init__(self) -> None:
        self.mark = f"scaffold-{os.urandom(8).hex()}"
        self._held: dict[int, int] = {}

    def hold(self) -> list[int]:
        """Take hold of all there are; their pids."""
        pids = marked(self.mark)
        for pid in pids:
            if pid not in self._held and (pidfd := open_pidfd(pid)) is not None:
                self._held[pid] = pidfd
        return pids

    def owner(self, port: int) -> str:
        """The program of the tree that listens on the port."""
        for pid in self.hold():
            try:
                process = psutil.Process(pid)
                if any(it.status == "LISTEN" and it.laddr.port == port for it in process.net_connections("tcp")):
                    return Path(process.exe()).name
            except psutil.NoSuchProcess:
                continue  # it went since the look
        return ""

    def kill(self, program: str) -> None:
        """Kill the one that runs it."""
        self.hold()
        (pid,) = [pid for pid in self._held if Path(f"/proc/{pid}/exe").resolve().name == program]
        send(self._held[pid], signal.SIGKILL)

    def await_end(self) -> None:
        """Wait until nobody of it lives."""
        for pid, pidfd in self._held.items():
            await_end(pidfd, f"process {pid}")
        until(lambda: not marked(self.mark), "the end of all that has the mark")

    def end(self) -> None:
        """End whoever is left, if the test has failed."""
        while self.hold():
            for pidfd in self._held.values():
                send(pidfd, signal.SIGKILL)
            for pidfd in self._held.values():
                await_end(pidfd)
        while self._held:
            os.close(self._held.popitem()[1])


def target_folder() -> Path:
    """Where cargo builds: outside the checkout, and kept, as it is gigabytes and minutes of work."""
    told = os.environ.get("CARGO_TARGET_DIR")
    return Path(told) if told else platformdirs.user_cache_path("tauri-sidecar") / "cargo-target"


def must(folder: Path, *words: str | Path, timeout: float, **env: str) -> str:
    """Run to its end and succeed; what it printed."""
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def scaffold(folder: Path, template: str, pages: Pages) -> Path:
    """A fresh app whose page reports, built from the crates that the example's lock names."""
    words = ["npx", "--yes", SCAFFOLDER, NAME, "--template", template, "--manager", "npm"]
    must(folder, *words, "--identifier", "dev.sidecar.scaffold", "--yes", timeout=NETWORK_S)
    project = folder / NAME
    shutil.copy2(EXAMPLE / "src-tauri" / "Cargo.lock", project / "src-tauri")
    page = next(path for path in (project / "index.html", project / "src" / "app.html") if path.exists())
    text = page.read_text()
    assert text.count("</body>") == 1
    page.write_text(text.replace("</body>", REPORT.replace("PORT", str(pages.port)) + "</body>"))
    return project


def init(sidecar: Path, project: Path, *words: str) -> str:
    plugin = ROOT / "tauri-integration" / "plugin"
    return must(project, sidecar, "init", "--plugin", plugin, "--yes", *words, timeout=NETWORK_S)


def start(project: Path, display: str, tree: Tree, target: Path, *words: str | Path) -> subprocess.Popen[bytes]:
    """Start the app on the screen, with a state folder of its own. It is to start no D-Bus, which would outlive it.

    Its binary lies elsewhere: it knows its project by cargo's word, or by where it is started.
    """
    env = {
        **os.environ,
        "CARGO_TARGET_DIR": str(target),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "DISPLAY": display,
        "GDK_BACKEND": "x11",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "NO_AT_BRIDGE": "1",
        "SCAFFOLD_MARK": tree.mark,
        "SIDECAR_STATE_DIR": str(project.parent / "state"),
        "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    }
    with (project.parent / "output").open("wb") as sink:
        return subprocess.Popen(
            words,
            cwd=project / "src-tauri",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


@pytest.mark.parametrize(
    ("template", "mode", "by"),
    [
        ("vanilla-ts", "early", "npm run tauri:dev"),
        ("react-ts", "setup", "app"),
        ("vue-ts", "early", "app"),
        ("svelte-ts", "early", "app"),
    ],
)
def test_an_app_of_this_template_is_changed_builds_runs_shows_its_page_and_leaves_nothing(
    tmp_path: Path, sidecar: Path, display: str, template: str, mode: str, by: str
) -> None:
    target = target_folder()
    with ExitStack() as stack:
        pages = stack.enter_context(listening())
        project = scaffold(tmp_path, template, pages)
        told = init(sidecar, project, "--mode", mode)
        assert told.splitlines()[-1] == "Done. Start the app with: npm run tauri:dev"
        assert init(sidecar, project, "--mode", mode).startswith("Nothing to do: ")
        inner = project / "src-tauri"
        must(inner, "rustfmt", "--check", "--edition=2021", "src/lib.rs", "build.rs", timeout=NETWORK_S)

        must(project, "npm", "install", "--no-audit", "--no-fund", timeout=NETWORK_S)
        must(inner, "cargo", "build", "--quiet", timeout=BUILD_S, CARGO_TARGET_DIR=str(target))
        tree = Tree()
        stack.callback(tree.end)
        command = by.split() if by != "app" else [target / "debug" / NAME]
        process = start(project, display, tree, target, *command)
        stack.callback(process.wait)
        stack.callback(tree.end)  # before it is waited for

        shown = pages.told.wait(BUILD_S if by != "app" else SHOWN_S)
        assert shown, (tmp_path / "output").read_text()[-4000:]
        report = pages.reports[0]
        assert report["greeting"].startswith("Hello, page!"), report
        url = urlsplit(report["url"])
        assert (url.scheme, url.hostname) == ("http", "127.0.0.1"), report
        assert url.port is not None
        assert tree.owner(url.port) == "node"

        tree.kill(NAME)
        tree.await_end()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended hold no port
            sock.bind(("127.0.0.1", url.port))
            sock.listen()
        assert json.loads((project / "package.json").read_text())["scripts"]["tauri:dev"]
