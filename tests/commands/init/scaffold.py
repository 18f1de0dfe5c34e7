"""A workshop for apps that ``create-tauri-app`` makes: packages to install, a screen to show them on, their deaths.

Each app gets the sidecar as a user's app does: from a registry on loopback, with the crates of the same build. Its page
reports its URL and the answer of an app's command to the test. That proves that the page is shown, that its scripts
come from the sidecar's Vite, and that it may call the app.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import platformdirs
import psutil

if sys.platform != "linux":
    raise ImportError("apps are built and shown on Linux only, so far")

from tests.dist.registry import serving, unpack_crates
from tests.dist.support import must
from tests.e2e.support import EXAMPLE
from tests.support.liveness import await_end, marked, open_pidfd, send
from tests.support.waiting import until

SCAFFOLDER = "create-tauri-app@4.7.4"
NAME = f"scaffold-{os.urandom(4).hex()}"
"""A name that is unique to this run: other runs may build theirs in the same folder."""
PROGRAMS = {"cargo": "Rust", "npx": "Node", "Xvfb": "Debian's xvfb", "rustfmt": "Rust"}

BUILD_S = 1500
"""Timeout of a build. Without caches, all of Tauri takes minutes on two idle cores."""
NETWORK_S = 300
"""Timeout of npm and pip, which may have to download everything."""
SHOWN_S = 120.0
"""Longest wait for an app's page, which takes seconds on two idle cores."""

REPORT = """
<script type="module">
  const internals = window.__TAURI_INTERNALS__;
  const greeting = await internals.invoke("greet", { name: "page" }).catch((error) => `refused: ${error}`);
  new Image().src = `http://127.0.0.1:PORT/?${new URLSearchParams({ url: location.href, greeting })}`;
</script>
"""


def missing() -> str | None:
    """Return why no app can be built and shown here; ``None`` if it can."""
    for program, source in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"there is no {program} on PATH (it comes with {source})"
    wanted = ["pkg-config", "--exists", "webkit2gtk-4.1"]
    if shutil.which("pkg-config") is None or subprocess.run(wanted, check=False).returncode != 0:
        return "WebKitGTK's headers are not installed (Debian's libwebkit2gtk-4.1-dev)"
    return None


@contextmanager
def screen() -> Iterator[str]:
    """Start an X server without a monitor, which chooses its own display number."""
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
    """Receives the pages' reports."""

    def __init__(self, server: HTTPServer) -> None:
        self.port = server.server_address[1]
        self._first: dict[str, str] = {}
        self._told = threading.Event()

    def tell(self, path: str) -> None:
        if not self._told.is_set():
            self._first = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
            self._told.set()

    def forget(self) -> None:
        """Forget all reports, so that the next one is the first."""
        self._told.clear()

    def first(self, seconds: float) -> dict[str, str] | None:
        """Wait for the first report; return it, or ``None`` if none comes in this time."""
        return self._first if self._told.wait(seconds) else None


@contextmanager
def listening() -> Iterator[Pages]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()
            pages.tell(self.path)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
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
    """All processes that have the mark. They are killed at the end of the test."""

    def __init__(self) -> None:
        self.mark = f"scaffold-{os.urandom(8).hex()}"
        self._held: dict[int, int] = {}

    def hold(self) -> list[int]:
        """Open pidfds of all that exist; return their pids."""
        pids = marked(self.mark)
        for pid in pids:
            if pid not in self._held and (pidfd := open_pidfd(pid)) is not None:
                self._held[pid] = pidfd
        return pids

    def owner(self, port: int) -> str:
        """Return the name of the tree's program that listens on the port."""
        for pid in self.hold():
            try:
                process = psutil.Process(pid)
                if any(it.status == "LISTEN" and it.laddr.port == port for it in process.net_connections("tcp")):
                    return Path(process.exe()).name
            except psutil.NoSuchProcess:
                continue  # it has ended since the listing
        return ""

    def kill(self, program: str) -> None:
        """Kill the one that runs it."""
        self.hold()
        (pid,) = [pid for pid in self._held if Path(f"/proc/{pid}/exe").resolve().name == program]
        send(self._held[pid], signal.SIGKILL)

    def await_end(self) -> None:
        """Wait until none of the processes lives."""
        for pid, pidfd in self._held.items():
            await_end(pidfd, f"process {pid}")
        until(lambda: not marked(self.mark), "the end of all processes with the mark")

    def end(self) -> None:
        """Kill the processes that are left after a failed test."""
        while self.hold():
            for pidfd in self._held.values():
                send(pidfd, signal.SIGKILL)
            for pidfd in self._held.values():
                await_end(pidfd)
        while self._held:
            os.close(self._held.popitem()[1])


def target_folder() -> Path:
    """Return cargo's build folder. It is kept outside the checkout, as it has gigabytes and takes minutes to build."""
    told = os.environ.get("CARGO_TARGET_DIR")
    return Path(told) if told else platformdirs.user_cache_path("tauri-sidecar") / "cargo-target"


@dataclass
class Workshop:
    """The parts that all apps of a session share."""

    folder: Path
    """The folder for all apps. A file in it tells cargo where our crates are."""
    dist: Path
    """The packages that build/dist.py made."""
    registry: str
    """npm's option for our registry."""
    display: str
    pages: Pages

    @property
    def cargo(self) -> dict[str, str]:
        """Return variables for cargo. An app is built only once, so incremental builds are off."""
        return {"CARGO_TARGET_DIR": str(target_folder()), "CARGO_INCREMENTAL": "0"}

    def scaffold(self, name: str, template: str) -> Path:
        """Make a new app in a folder of this name. Its page reports, and its lock has the example's crates."""
        folder = self.folder / name
        folder.mkdir()
        words = ["npx", "--yes", SCAFFOLDER, NAME, "--template", template, "--manager", "npm"]
        must(folder, *words, "--identifier", "dev.sidecar.scaffold", "--yes", timeout=NETWORK_S)
        project = folder / NAME
        shutil.copy2(EXAMPLE / "src-tauri" / "Cargo.lock", project / "src-tauri")
        page = next(path for path in (project / "index.html", project / "src" / "app.html") if path.exists())
        text = page.read_text()
        assert text.count("</body>") == 1
        page.write_text(text.replace("</body>", REPORT.replace("PORT", str(self.pages.port)) + "</body>"))
        return project

    def npm_install(self, project: Path, *words: str) -> None:
        must(project, "npm", "install", "--no-audit", "--no-fund", self.registry, *words, timeout=NETWORK_S)

    def npx(self, project: Path, *words: str) -> str:
        """Run ``npx tauri-sidecar`` with these words where it is not installed; return the output.

        npx caches packages by name. So use this session's own cache, or npx could run an older build.
        """
        cache = f"--cache={self.folder / 'npx'}"
        return must(project, "npx", "--yes", cache, self.registry, "tauri-sidecar", *words, timeout=NETWORK_S)

    def show_and_kill(self, project: Path, *words: str) -> None:
        """Build the app, start it, wait for its page, kill it, and assert that nothing is left."""
        must(project / "src-tauri", "cargo", "build", "--quiet", timeout=BUILD_S, **self.cargo)
        self.pages.forget()
        with ExitStack() as stack:
            tree = Tree()
            stack.callback(tree.end)
            process = self._start(project, tree, *(words or (target_folder() / "debug" / NAME,)))
            stack.callback(process.wait)
            stack.callback(tree.end)  # pidfds first, before the wait

            report = self.pages.first(BUILD_S if words else SHOWN_S)
            assert report is not None, (project.parent / "output").read_text()[-4000:]
            assert report["greeting"].startswith("Hello, page!"), report
            url = urlsplit(report["url"])
            assert (url.scheme, url.hostname) == ("http", "127.0.0.1"), report
            assert url.port is not None
            assert tree.owner(url.port) == NAME  # the app itself, which has a dev server behind it

            tree.kill(NAME)
            tree.await_end()
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections in TIME_WAIT
                sock.bind(("127.0.0.1", url.port))
                sock.listen()

    def _start(self, project: Path, tree: Tree, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start it on the screen, with its own state folder. It must start no D-Bus daemon, which would outlive it.

        The app's binary is elsewhere. It finds its project by cargo's variable, or by its working folder.
        """
        env = {
            **os.environ,
            **self.cargo,
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "DISPLAY": self.display,
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


@contextmanager
def opened(dist: Path, folder: Path) -> Iterator[Workshop]:
    """Open a workshop with the packages of ``dist``. At the end, remove what cargo built of its apps."""
    unpack_crates(dist, folder)
    with screen() as display, listening() as pages, serving(dist / "npm", others=True) as npm:
        try:
            yield Workshop(folder, dist, f"--registry={npm.url}", display, pages)
        finally:
            _remove_builds()


def _remove_builds() -> None:
    """Remove what cargo built of this run's apps. ``cargo clean`` would wait for all other builds in that folder."""
    debug = target_folder() / "debug"
    for name in (NAME, NAME.replace("-", "_")):
        for path in (*debug.glob(f"*{name}*"), *debug.glob(f"*/*{name}*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
