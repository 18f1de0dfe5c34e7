"""The main job, shown by doing it: python3 build/dev.py demo.

A stranger holds the preferred port; a stand-in for the Tauri app launches the sidecar over pipes; Vite becomes ready on
another port; a source file is edited and the page's websocket hears of it; the app is killed; nothing is left.
Each step is a line with its own time. Exit code 0 only if all of it held; whatever happens, the edited file is put
back and every process that was started here is ended, by identity.

The sidecar runs from source, or is the frozen binary that SIDECAR_BINARY names.
"""

from __future__ import annotations

import argparse
import errno
import http.client
import http.server
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "tauri-integration" / "examples" / "vite-app"
EDITED = "src/message.ts"
SENTENCE = re.compile(r'(export const message = )"([^"\n]*)"')
PORT = 5173
SERVICE = "web"

STEP_S = 60.0
"""No step takes longer than this; the readiness of a cold Vite on a slow machine is the longest (13 s under Wine)."""
DEATH_S = 10.0
"""A tree that is not gone by then is counted as survivors."""
PAGE_BYTES = 8 << 20
"""Far more than any page or module of the example."""

REPLACE_TRIES = 50
REPLACE_AGAIN_S = 0.1
"""On Windows nobody replaces a file that is being read: by Vite for milliseconds, by a virus scanner for seconds."""

STOPPING = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    KILLED = "ended by TerminateProcess"
    CLAIM = socket.SO_EXCLUSIVEADDRUSE  # SO_REUSEADDR would let us in beside a listener
    TAKEN = {errno.EADDRINUSE, errno.EACCES}  # EACCES: by one that shares it with nobody, or kept by the system
    APART = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    STOPPING.append(signal.SIGHUP)
    KILLED = "SIGKILLed"
    CLAIM = socket.SO_REUSEADDR  # passes over connections that are still in TIME_WAIT
    TAKEN = {errno.EADDRINUSE}
    APART = 0  # a session of its own does it

MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
"""The sidecar from source, also for a Python that looks for modules in its own folder only, as the one under Wine."""

RUN_ID = "SIDECAR_RUN_ID"
HOLDERS_HIDDEN = "SIDECAR_WINE_RUN" in os.environ
"""Wine (see build/wine.py) tells nobody who has a port."""
INITIALIZE, START = 1, 2
"""The ids of the two requests that the stand-in app sends."""
AS_APP = "--as-the-app"
AS_STRANGER = "--as-a-stranger"
Message = dict[str, Any]
"""One decoded JSON object."""


class DemoError(Exception):
    """Something did not hold; the text is the reason to print."""


class StoppedError(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main(argv: Sequence[str]) -> int:
    """Be the demo, or one of the two processes that it starts."""
    if argv[:1] == [AS_APP]:
        return be_the_app(argv[1])
    if argv[:1] == [AS_STRANGER]:
        return be_a_stranger(int(argv[1]))
    parser = argparse.ArgumentParser(prog="build/dev.py demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, default=PROJECT, help="the Vite project (default: the example)")
    parser.add_argument("--port", type=int, default=PORT, help=f"the preferred port (default: {PORT})")
    options = parser.parse_args(argv)
    show = Show(sys.stdout)
    for number in STOPPING:
        signal.signal(number, stop)
    try:
        with ExitStack() as stack:
            demonstrate(show, stack, options.project.resolve(), options.port)
    except (DemoError, OSError) as problem:
        show.failed(str(problem))
        return 1
    except StoppedError as stopped:
        show.failed(f"stopped by {stopped}; the edited file is as it was, and nothing is left running")
        return 128 + stopped.number
    return 0


def stop(number: int, _frame: object) -> None:
    """Leave by way of every clean-up; these are bounded, so a second signal can wait for them."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise StoppedError(number)


# --------------------------------------------------------------------------------------------------------- the main job


def demonstrate(show: Show, stack: ExitStack, project: Path, port: int) -> None:
    """Do all of it; ``stack`` ends what is started. Raises ``DemoError`` at the first thing that does not hold."""
    began = time.monotonic()
    where = project.relative_to(ROOT) if project.is_relative_to(ROOT) else project
    show.title(f"The main job, shown by doing it, on {where}")

    watch = Watch()
    if held(port):
        stranger, foreign = None, ""
        show.done(watch.ms(), f"port {port} is held already: whoever has it is the foreign server")
    else:
        stranger = stack.enter_context(started([AS_STRANGER, str(port)]))
        foreign = first_line(stranger)
        if not foreign:
            raise DemoError(f"the foreign server could not take port {port}")
        show.done(watch.ms(), f"a foreign server (pid {foreign}) is put on port {port}")

    watch = Watch()
    state = stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-demo-"))
    app = App(stack, project, port, state)
    hello = app.hear(lambda message: message.get("id") == INITIALIZE)["result"]
    layers = {name: value for name, value in hello["guarantees"].items() if name != "platform"}
    active = ", ".join(name for name, value in layers.items() if value not in (False, "none"))
    show.done(watch.ms(), f"a stand-in app (pid {app.pid}) launches the sidecar (pid {app.sidecar}): {active}")

    chosen = app.hear(lambda message: message.get("method") in ("service/portChanged", "service/ready"))
    if chosen["method"] != "service/portChanged":
        raise DemoError(f"port {port} was not seen as held: {json.dumps(chosen['params'])}")
    change = chosen["params"]
    holder = change.get("holder") or {}
    if foreign and str(holder.get("pid")) != foreign and (holder or not HOLDERS_HIDDEN):
        raise DemoError(f"the holder of port {port} is pid {foreign}, but was named as {json.dumps(holder)}")
    pid, user, command = (holder.get(it, "unknown") for it in ("pid", "user", "command"))
    named = f"pid {pid}, {user}: {command}" if holder else "somebody whom the system does not name"
    show.done(app.ms(), f"port {change['to']} is negotiated, as {port} is held by {named}")

    ready = app.hear(lambda message: message.get("method") == "service/ready")["params"]
    url = ready["url"]
    show.done(app.ms(), f"Vite (pid {ready['pid']}) is ready at {url}, counted from the launch of the sidecar")
    app.hear(lambda message: message.get("id") == START)

    watch = Watch()
    status, page = fetch(url)
    title = re.search(r"<title>(.*?)</title>", page)
    if status != http.HTTPStatus.OK or "/@vite/client" not in page:
        raise DemoError(f"{url} answered {status}, and not with the page that Vite serves")
    show.done(watch.ms(), f"the page is fetched: {len(page)} characters, “{title[1] if title else 'no title'}”")

    with HotUpdates(url) as updates:
        fetch(f"{url}{EDITED}")  # a browser would have asked for it: Vite tells only of modules that somebody has
        sentence = f"Edited by the demo in process {os.getpid()}."
        with edited(project / EDITED, sentence) as watch:
            updates.hear("update", f"/{EDITED}")
            ms = watch.ms()
            if sentence not in fetch(f"{url}{EDITED}?t={time.time_ns()}")[1]:
                raise DemoError(f"{EDITED} was edited and announced, but is served as it was")
    show.done(ms, f"{EDITED} is edited: the hot update arrives over Vite's websocket (and the file is put back)")

    cookie = json.loads(fetch(f"{url}__sidecar")[1])["runId"]
    tree = stack.enter_context(Tree(app.pid, cookie))
    watch = Watch()
    kill(tree.app)
    last = tree.last_death()
    survivors = tree.survivors()
    if survivors:
        raise DemoError(f"{len(survivors)} of {tree.size} processes survived their app by {DEATH_S:g} s: {survivors}")
    show.done(
        watch.ms(last),
        f"the app is {KILLED}: 0 survivors of {tree.size} processes; this is the time of the last death",
    )

    if held(change["to"]):
        raise DemoError(f"port {change['to']} is not free again")
    if stranger is not None and (stranger.poll() is not None or not held(port)):
        raise DemoError(f"the foreign server on port {port} did not live through it")
    show.done(watch.ms(), f"port {change['to']} is free again, and the foreign server on {port} was left alone")
    show.title(f"All of it held ({time.monotonic() - began:.1f} s)")


class App:
    """Our end of the stand-in app: what it hears from the sidecar, and when."""

    def __init__(self, stack: ExitStack, project: Path, port: int, state: str) -> None:
        """Start it; it launches the sidecar and asks for the service at once."""
        order = json.dumps({"project": str(project), "port": port})
        process = stack.enter_context(started([AS_APP, order], SIDECAR_STATE_DIR=state))
        self._heard = lines_of(process)
        first = self._next(time.monotonic() + STEP_S)
        self.pid: int = first["app"]
        self._launched: float = first["launched"]
        self.sidecar: int = first["pid"]
        self._at: float = self._launched
        self._log: list[str] = []

    def _next(self, deadline: float) -> Message:
        try:
            heard = self._heard.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DemoError(f"the sidecar said nothing of it within {STEP_S:g} s") from None
        if not heard:
            raise DemoError("the sidecar ended (or the stand-in app did)")
        message: Message = json.loads(heard)
        return message

    def hear(self, wanted: Callable[[Message], bool]) -> Message:
        """The next message that is ``wanted``.

        Raises ``DemoError`` when it does not come in time, or when the sidecar answers with an error.
        """
        deadline = time.monotonic() + STEP_S
        while True:
            heard = self._next(deadline)
            message: Message = heard["message"]
            self._at = heard["at"]
            if "error" in message:
                lines = message["error"].get("data", {}).get("lines", [])
                raise DemoError("\n      ".join([message["error"]["message"], *lines]))
            if wanted(message):
                return message

    def ms(self) -> float:
        """From the launch of the sidecar to the message that was heard last."""
        return 1000 * (self._at - self._launched)


class Tree:
    """The app and all below it. Each has a thread that waits for its death: by a pidfd, a kqueue or a handle."""

    def __init__(self, app: int, cookie: str) -> None:
        """Take all descendants of ``app``, and whoever carries ``cookie``, its run's id, in its environment."""
        self.app = psutil.Process(app)
        self._cookie = cookie
        self._members = {self.app, *self.app.children(recursive=True), *self._carriers()}
        self.size = len(self._members)
        self._waiters = ThreadPoolExecutor(self.size)
        self._deaths = {member: self._waiters.submit(death, member) for member in self._members}

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whoever is left, so that a failed demo leaves nothing either."""
        for member in self._members:
            kill(member)
        self._waiters.shutdown()

    def last_death(self) -> float:
        """When the last of them died (``time.perf_counter``); waits for it, at most ``DEATH_S``."""
        return max(it.result() or 0.0 for it in self._deaths.values())

    def survivors(self) -> list[int]:
        """The pids of those who live, once ``last_death`` has waited: of the tree, or with the run's id by now."""
        alive = {member.pid for member, it in self._deaths.items() if it.result() is None}
        return sorted(alive | {process.pid for process in self._carriers()})

    def _carriers(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(RUN_ID) == self._cookie:
                    yield process
            except psutil.Error:
                continue  # it went meanwhile, is a zombie, or is another user's and so none of ours


def death(process: psutil.Process) -> float | None:
    """When the process died (``time.perf_counter``), or ``None`` if it did not by ``DEATH_S``."""
    return time.perf_counter() if await_death(process, DEATH_S) else None


def await_death(process: psutil.Process, seconds: float) -> bool:
    """Wait for the system's own notice of a death, at most so long; whether it came.

    psutil's ``wait`` would wait on, until the new parent of an orphan takes note of it. Windows has no such state.
    """
    if sys.platform == "linux":
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return True  # it died since it was seen
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return not process.is_running() or bool(poll.poll(1000 * seconds))  # else the pid is another's by now
        finally:
            os.close(pidfd)
    elif sys.platform == "darwin":
        exits = select.kevent(process.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        with closing(select.kqueue()) as notices:
            try:
                return bool(notices.control([exits], 1, seconds))
            except ProcessLookupError:
                return True  # as above
    else:
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            return False
        return True


def kill(process: psutil.Process) -> None:
    """End it at once, without asking, if it still is that process: psutil compares the time of its start."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass  # it is dead, which is what was wanted


# ------------------------------------------------------------------------------------------------------ the page's part


def fetch(url: str) -> tuple[int, str]:
    """GET as a browser would; status and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=STEP_S)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read(PAGE_BYTES).decode("utf-8", "replace")
    except OSError as problem:
        raise DemoError(f"{url} could not be fetched: {problem}") from None
    finally:
        connection.close()


class HotUpdates:
    """The websocket over which Vite tells a page what has changed: just enough of RFC 6455 to listen."""

    def __init__(self, url: str) -> None:
        """Connect as the page does, with the token that its client script carries."""
        parts = urlsplit(url)
        token = re.search(r'wsToken = "([^"]+)"', fetch(f"{url}@vite/client")[1])
        if token is None:
            raise DemoError(f"{url}@vite/client has no websocket token: it is not a Vite that we know")
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=STEP_S)
        self._bytes = b""
        self._deadline = time.monotonic() + STEP_S
        self._socket.sendall(
            f"GET /?token={token[1]} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: http://{parts.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: c2lkZWNhciBkZW1vIGtleQ==\r\nSec-WebSocket-Protocol: vite-hmr\r\n\r\n".encode()
        )
        head = self._until(lambda data: data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else None)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise DemoError(f"Vite refused the websocket: {head[:200]!r}")

    def __enter__(self) -> Self:
        """Connected; wait for Vite's greeting, after which no update is missed."""
        self.hear("connected")
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._socket.close()

    def hear(self, kind: str, path: str | None = None) -> Message:
        """The next message of this type (that updates ``path``). Raises ``DemoError`` when it does not come in time."""
        self._deadline = time.monotonic() + STEP_S
        while True:
            message: Message = json.loads(self._text())
            paths = [update["path"] for update in message.get("updates", [])]
            if message["type"] == kind and (path is None or path in paths):
                return message

    def _text(self) -> bytes:
        """The payload of the next text frame; a server sends them unmasked, and Vite sends them whole."""
        while True:
            frame = self._until(frame_end)
            if frame[0] & 0x0F == 1:
                return frame[frame_head(frame) :]

    def _until(self, end: Callable[[bytes], int | None]) -> bytes:
        """Read until ``end`` finds where the first piece ends; that piece."""
        while (at := end(self._bytes)) is None:
            try:
                self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise DemoError(f"Vite's websocket said nothing of it within {STEP_S:g} s") from None
            if not data:
                raise DemoError("Vite closed the websocket")
            self._bytes += data
        piece, self._bytes = self._bytes[:at], self._bytes[at:]
        return piece


def frame_head(data: bytes) -> int:
    """How long an unmasked frame's head is."""
    return {126: 4, 127: 10}.get(data[1] & 0x7F, 2)


def frame_end(data: bytes) -> int | None:
    """Where the first frame ends, or ``None`` while it is not all there."""
    if len(data) < 2 or len(data) < (head := frame_head(data)):  # noqa: PLR2004  the two bytes that say more
        return None
    length = int.from_bytes(data[2:head], "big") if head > 2 else data[1] & 0x7F  # noqa: PLR2004  as above
    return head + length if len(data) >= head + length else None


@contextmanager
def edited(path: Path, sentence: str) -> Iterator[Watch]:
    """Have another sentence in the source file for a while; a watch that runs since it was there."""
    before = path.read_bytes()
    after, count = SENTENCE.subn(rf'\1"{sentence}"', before.decode("utf-8"))
    if count != 1:
        raise DemoError(f"{path} has no line like: export const message = …")
    try:
        replace(path, after.encode("utf-8"))
        yield Watch()
    finally:
        if path.read_bytes() == after.encode("utf-8"):  # else somebody works on it: theirs is the newer one
            replace(path, before)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old one or the new one, never a half."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fresh.write_bytes(data)
        fresh.chmod(path.stat().st_mode)
        for tries_left in reversed(range(REPLACE_TRIES)):
            try:
                fresh.replace(path)
                break
            except PermissionError:  # of Windows: somebody has it open at this moment
                if not tries_left or sys.platform != "win32":
                    raise
                time.sleep(REPLACE_AGAIN_S)
    finally:
        fresh.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------- processes that we start


@contextmanager
def started(words: list[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this file in another role. It ends when we do (its stdin ends), and at the latest when the block does."""
    # apart from us: Ctrl-C at the terminal is ours, and we end it
    process = subprocess.Popen(
        [sys.executable, __file__, *words],
        cwd=ROOT,
        env={**os.environ, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        creationflags=APART,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines_of(process: subprocess.Popen[bytes]) -> queue.SimpleQueue[bytes]:
    """What it prints, line by line, then nothing: read by a thread, as only sockets can be waited for on Windows."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        for line in process.stdout or ():
            heard.put(line)
        heard.put(b"")

    threading.Thread(target=listen, daemon=True).start()
    return heard


def first_line(process: subprocess.Popen[bytes]) -> str:
    """Its first line of output; empty when there is none in time."""
    try:
        return lines_of(process).get(timeout=STEP_S).decode().strip()
    except queue.Empty:
        return ""


def leave_with_stdin() -> None:
    """End this process when the other end of stdin is gone."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def be_the_app(order: str) -> int:
    """Stand where the Tauri app will: launch the sidecar over pipes, be its client, pass on all that it says."""
    wish = json.loads(order)
    service = {"type": "vite", "root": wish["project"], "readyTimeoutMs": int(1000 * STEP_S)}
    service["port"] = {"preferred": wish["port"]}
    hello = {"protocolVersion": 1, "client": {"name": "demo"}, "services": {SERVICE: service}}
    requests = ((INITIALIZE, "initialize", hello), (START, "start", {"service": SERVICE}))
    binary = os.environ.get("SIDECAR_BINARY")
    command = [str(Path(binary).resolve())] if binary else [sys.executable, "-c", MAIN, str(ROOT)]
    launched = time.perf_counter()
    sidecar = subprocess.Popen([*command, "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    # our own pid: where .venv has its Python started by another program (Windows), that one's is what our parent knows
    say(app=os.getpid(), launched=launched, pid=sidecar.pid)
    threading.Thread(target=leave_with_stdin, daemon=True).start()
    if sidecar.stdin is None or sidecar.stdout is None:
        return 1
    for number, method, params in requests:
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        sidecar.stdin.write(json.dumps(request).encode() + b"\n")
    for line in sidecar.stdout:
        say(at=time.perf_counter(), message=json.loads(line))
    return sidecar.wait()


def say(**what: object) -> None:
    """One JSON object a line, for ``App``."""
    print(json.dumps(what), flush=True)


class Stranger(http.server.BaseHTTPRequestHandler):
    """Somebody else's page."""

    def do_GET(self) -> None:
        """Answer anything."""
        self.send_response(http.HTTPStatus.OK)
        self.end_headers()
        self.wfile.write(b"This is another program's server.\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def be_a_stranger(port: int) -> int:
    """Serve HTTP on the port until stdin ends; says its pid, as ``be_the_app`` does, when it listens."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(os.getpid(), flush=True)
    leave_with_stdin()
    return 0


def held(port: int) -> bool:
    """Whether anybody listens on the port, on a loopback or on all addresses."""
    places = (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104  looked at, not served on
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::"),
    )
    for family, address in places:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, CLAIM, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, port))
                sock.listen()
        except OSError as problem:
            if problem.errno in TAKEN:  # else the family does not exist here, and nobody has it there
                return True
    return False


# ---------------------------------------------------------------------------------------------------------- the lines


class Watch:
    """A stopwatch, running since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()  # finer than Windows' other clocks, and one for all processes

    def ms(self, until: float | None = None) -> float:
        """Milliseconds until now, or until then."""
        return ((time.perf_counter() if until is None else until) - self._began) * 1000


class Show:
    """Lines for a person: coloured at a terminal, plain elsewhere and under NO_COLOR."""

    def __init__(self, stream: Any) -> None:
        """Write to ``stream``."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or sys.platform == "win32"
        self._colours = stream.isatty() and not plain  # a console of Windows takes colours only when it is asked to
        if hasattr(stream, "reconfigure"):
            # a locale without ✓ must not end the demo; in a pipe of Windows nobody expects a code page any more
            stream.reconfigure(encoding="utf-8" if sys.platform == "win32" else None, errors="replace")

    def title(self, text: str) -> None:
        """A line between the steps."""
        print(self._paint("1", text), flush=True)

    def done(self, ms: float, text: str) -> None:
        """A step that held, with its time."""
        print(f"  {self._paint('32', '✓')} {self._paint('2', f'{ms:7.1f} ms')}  {text}", flush=True)

    def failed(self, text: str) -> None:
        """The reason why it did not hold."""
        print(f"  {self._paint('31', '✗')} {self._paint('31', text)}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
