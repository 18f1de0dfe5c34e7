"""Parts of the end-to-end tests: the app's side of a real sidecar, Vite projects, and servers of other programs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from tests.support import waiting
from tests.support.command import SIDECAR, Message, Refused
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
SERVER = Path(__file__).parent / "children" / "server.py"
WAIT_S = 40.0
"""Longest wait for an expected event. A cold Vite takes longer than other programs."""
until = partial(waiting.until, seconds=WAIT_S)


class Sidecar:
    """A sidecar that runs for one test, and all its messages."""

    def __init__(
        self, folder: Path, services: Message, *, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> None:
        """Launch it over pipes, as Tauri does, and initialize it. ``prefix`` precedes its command line."""
        folder.mkdir(exist_ok=True)
        self._seen: list[Message] = []
        self._changed = threading.Condition()
        self._ended = False
        self._calls = 0
        self._errors = folder / f"stderr-{time.monotonic_ns()}"
        with self._errors.open("wb") as sink:
            self.process = subprocess.Popen(
                [*prefix, *SIDECAR, "stdio"],
                cwd=ROOT,
                env={**os.environ, "SIDECAR_STATE_DIR": str(folder / "state"), **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                bufsize=0,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            hello = {"protocolVersion": 1, "client": {"name": "e2e"}, "services": services}
            self.pid = int(self.call("initialize", **hello)["pid"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close stdin, as an app's death does. Then fail if a process is left, and kill it."""
        tree = descendants(self.process.pid)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(WAIT_S)
        finally:
            left = alive(tree)
            for process in left:
                with suppress(psutil.NoSuchProcess):  # it has ended since the listing
                    process.kill()  # psutil compares the start time first
            self.process.kill()
            self.process.wait()
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, WAIT_S)
        self.process.stdout.close()
        assert not left
        assert "Traceback" not in self._errors.read_text()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            with self._changed:
                self._seen.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, method: str, **params: object) -> int:
        """Send a request; return its id."""
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        return self._calls

    def answer(self, call: int) -> Message:
        """Await the answer to a request. Raises ``Refused``."""
        message = self._await(lambda it: it.get("id") == call, 0)
        if "error" in message:
            raise Refused(message["error"])
        result: Message = message["result"]
        return result

    def answered(self) -> Counter[int]:
        """Return the ids of the requests that have been answered so far, each with the number of its answers."""
        with self._changed:
            return Counter(it["id"] for it in self._seen if "id" in it)

    def call(self, method: str, **params: object) -> Message:
        """Send a request and await its answer. Raises ``Refused``."""
        return self.answer(self.send(method, **params))

    def start(self, service: str = "web") -> Message:
        """Start the service; return the params of ``service/ready``."""
        mark = self.mark()
        self.call("start", service=service)
        return self.note("service/ready", since=mark, service=service)

    def status(self, service: str = "web") -> Message:
        """Ask for the service's status."""
        status: Message = self.call("status", service=service)["services"][service]
        return status

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    def mark(self) -> int:
        """Return the number of messages so far, for ``since``."""
        with self._changed:
            return len(self._seen)

    def note(self, method: str, *, since: int = 0, **wanted: object) -> Message:
        """Await a notification with the ``wanted`` fields; return its params."""

        def fits(message: Message) -> bool:
            params = message.get("params", {})
            return message.get("method") == method and all(params.get(name) == it for name, it in wanted.items())

        params: Message = self._await(fits, since)["params"]
        return params

    def notes(self, method: str, *, since: int = 0) -> list[Message]:
        """Return the params of all such notifications so far."""
        with self._changed:
            return [it["params"] for it in self._seen[since:] if it.get("method") == method]

    def states(self, service: str = "web", *, since: int = 0) -> list[str]:
        """Return the states that were reported, in order."""
        return [note["state"] for note in self.notes("service/state", since=since) if note["service"] == service]

    def chosen_port(self, *, since: int = 0) -> Message:
        """Await the first ``service/state`` with a pid, which means that the program runs; return its params."""
        found: Message = self._await(
            lambda it: it.get("method") == "service/state" and bool(it["params"].get("pid")), since
        )["params"]
        return found

    def printed(self, text: str, *, since: int = 0) -> None:
        """Wait for a line of a service's output with ``text`` in it."""
        self._await(
            lambda it: it.get("method") == "service/log" and any(text in line for line in it["params"]["lines"]), since
        )

    def _await(self, wanted: Callable[[Message], bool], since: int) -> Message:
        deadline = time.monotonic() + WAIT_S
        at = since
        with self._changed:
            while True:
                for message in self._seen[at:]:
                    if wanted(message):
                        return message
                at = max(at, len(self._seen))
                left = deadline - time.monotonic()
                if left <= 0 or (self._ended and at == len(self._seen)):
                    said = "\n".join(json.dumps(it)[:300] for it in self._seen[-30:])
                    errors = self._errors.read_text(errors="replace")
                    raise AssertionError(f"timed out waiting for a message. The last ones:\n{said}\nstderr:\n{errors}")
                self._changed.wait(left)


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def descendants(pid: int) -> list[psutil.Process]:
    """Return the process and its descendants."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []  # it has ended by itself


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that live: same pid, same start time, no zombie."""
    left = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it has ended since the listing
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


def hit(pid: int, number: int, of: Sidecar) -> None:
    """Signal a process, after checking that it is below the sidecar."""
    process = psutil.Process(pid)
    assert of.pid in {parent.pid for parent in process.parents()}
    process.send_signal(number)


@contextmanager
def foreign_server(host: str, port: int | None = None, status: int = 200) -> Iterator[tuple[psutil.Process, int]]:
    """Run another program's HTTP server on the port, or on a free one; yield its process and port."""
    command = [sys.executable, str(SERVER), host, str(port or free_port()), str(status)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        yield psutil.Process(process.pid), int(process.stdout.readline().split()[-1])
        assert process.poll() is None  # the sidecar has not harmed it
    finally:
        process.kill()
        process.communicate()


class Thief:
    """A listener of the test itself that takes a port behind the sidecar's back, and answers 204 as Vite does."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(64)
        self.answered = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with socket.create_connection(
            self._socket.getsockname()
        ):  # on macOS and Windows a close alone does not wake accept
            self._thread.join(WAIT_S)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            peer, _ = self._socket.accept()
            if self._over.is_set():
                peer.close()
                return
            with peer, suppress(OSError):  # the prober hung up first
                peer.settimeout(WAIT_S)
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                self.answered += 1


def listens(port: int) -> bool:
    """Return whether the port accepts connections."""
    with socket.socket() as sock:
        sock.settimeout(WAIT_S)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def connects(pid: int) -> int:
    """Return how many TCP connections were begun in the process's network namespace."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Tcp:")
    return int(values[names.index("ActiveOpens")])


def fd_count(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def children_of(pid: int) -> list[psutil.Process]:
    """Return the living descendants of ``pid``."""
    return alive(psutil.Process(pid).children(recursive=True))


# ── projects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def missing() -> str | None:
    """Return why Vite cannot be run here; ``None`` if it can."""
    if sys.platform != "linux":
        return "these tests read /proc; tests/windows has Windows' own"
    if shutil.which("node") is None:
        return "no node on PATH"
    if not (EXAMPLE / "node_modules" / "vite").is_dir():
        return "the example's npm packages are not installed (npm ci)"
    return None


def copy_example(folder: Path, config: str | None = None) -> Path:
    """Copy the example into a new folder, with its packages linked. ``config`` replaces its vite.config."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "src-tauri", ".*"))
    (folder / "node_modules").symlink_to(EXAMPLE / "node_modules")
    if config is not None:
        (folder / "vite.config.ts").unlink()
        (folder / "vite.config.mjs").write_text(config)
    return folder


def plugin(body: str, head: str = "") -> str:
    """Return a Vite config with one plugin that runs ``body`` in ``configureServer(server)``, before the bind."""
    return f"""
import {{ existsSync, writeFileSync }} from "node:fs";
{head}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
export default {{
  clearScreen: false,
  plugins: [{{ name: "test", async configureServer(server) {{ {body} }} }}],
}};
"""


GATED = plugin('writeFileSync("reached", ""); while (!existsSync("go")) await wait(5);')
"""Vite writes ``reached`` before its bind, and waits for ``go``.

It polls, because node cannot exit by ``process.exit`` while it reads a FIFO.
"""


def open_gate(project: Path) -> None:
    """Let Vite listen."""
    (project / "go").touch()


def await_gate(project: Path) -> None:
    """Wait until Vite is about to bind."""
    until((project / "reached").exists, "Vite reaching its bind")


def vite(root: Path, **more: object) -> Message:
    """Return a Vite service that prefers a free port (never the 5173 of other tests)."""
    return {"type": "vite", "root": str(root), "port": {"preferred": free_port()}, **more}


QUICK_RESTART: Message = {"backoff": {"initialMs": 10, "maxMs": 50, "jitter": 0.0}}
KILL, STOP, CONT = (int(getattr(signal, name, 0)) for name in ("SIGKILL", "SIGSTOP", "SIGCONT"))
