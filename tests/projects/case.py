"""One run of a set-up: write the project, start the real sidecar on it, and do the steps."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import termios
import threading
import time
from bisect import bisect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

if sys.platform != "linux":
    raise ImportError("needs /proc to find what is left of a run")

from tests.projects.setups import PROJECTS, Setup, Step, fill
from tests.support.command import SIDECAR, Message
from tests.support.liveness import marked, open_pidfd, send
from tests.support.ports import free_port
from tests.support.waiting import until

CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
MARK = "SIDECAR_PROJECT_RUN"
UNSET = (
    *("PYTHONUNBUFFERED", "NODE_OPTIONS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLORTERM", "BROWSER"),
    *("PORT", "HOST", "TAURI_DEV_HOST", "VIRTUAL_ENV", "npm_config_user_agent"),
)
"""Variables of our environment to remove, as they would change or hide the results."""

DESKTOP_TOOLS = ("sh", "bash", "env", "cat", "ls", "uname", "dirname", "basename", "readlink", "realpath", "sed", "ps")
END_S = 60.0
"""Longest wait for an end or an answer, which takes only a moment on an idle machine."""

PAGE = "<!doctype html><html><head><title>page</title></head><body>the page of the project</body></html>\n"

FRAMEWORKS = Path(os.environ.get("SIDECAR_FRAMEWORKS", "frameworks"))
"""The folder in which build/dev.py has installed the frameworks' packages, and in ``bin`` a new enough node."""

Found = TypeVar("Found")


class Case:
    """A set-up's project and its run."""

    def __init__(self, setup: Setup, source: Path, folder: Path) -> None:
        """Write the project into ``folder``, or for a framework beside its installed packages."""
        self.folder = FRAMEWORKS / setup.framework if setup.framework else folder / "project"
        self.mark = f"run-{os.urandom(12).hex()}"
        self._busy = socket.socket()
        free = free_port()
        if setup.busy:
            self._busy.bind(("127.0.0.1", free))
            self._busy.listen()
        self.names = {
            "folder": str(self.folder),
            "python": sys.executable,
            "free": str(free),
            "free2": str(free_port()),
            "pid": str(os.getpid()),
        }
        self.setup: Setup = setup
        self._state = folder / "state"
        self._tools = folder / "tools"
        self._lay_out(source)

    def _lay_out(self, source: Path) -> None:
        setup = self.setup
        if setup.framework:
            clear(self.folder)
        unwanted = shutil.ignore_patterns("setup.toml", "node_modules", "package-lock.json")
        shutil.copytree(source, self.folder, ignore=unwanted, dirs_exist_ok=True)
        for name, text in setup.files.items():
            if not text:
                continue
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill(text, self.names))
        if setup.vite and not setup.framework:
            if setup.page:
                self._add(Path("index.html"), PAGE)
            self._add(Path("package.json"), '{"private": true, "type": "module"}\n')
            link_packages(PROJECTS / "node_modules", self.folder / setup.node_modules / "node_modules", setup.vite)
        node = shutil.which("node")
        for name in setup.wrappers:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#!/bin/sh\necho "$0" >> "{self.folder}/node-used"\nexec "{node}" "$@"\n')
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        if setup.desktop:
            self._tools.mkdir()
            for tool in DESKTOP_TOOLS:
                if found := shutil.which(tool):
                    (self._tools / tool).symlink_to(found)

    def _add(self, name: Path, text: str) -> None:
        if not (self.folder / name).exists():
            (self.folder / name).write_text(text)

    @property
    def env(self) -> dict[str, str]:
        """The sidecar's environment."""
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        ours = {
            "SIDECAR_STATE_DIR": str(self._state),
            MARK: self.mark,
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "BROWSER": "/bin/false",
        }
        desktop = {"PATH": str(self._tools), "HOME": f"{self.folder}/home"} if self.setup.desktop else {}
        if self.setup.framework:
            ours["PATH"] = f"{FRAMEWORKS / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**kept, **ours, **desktop, **fill(self.setup.env, self.names)}

    @property
    def command(self) -> list[str]:
        """The sidecar's command line."""
        setup = self.setup
        words = [str(word) for word in fill(setup.words, self.names)]
        if setup.way == "stdio":
            return [*setup.prefix, *SIDECAR, "stdio"]
        if setup.way == "command":
            return [*SIDECAR, *words]
        options = ["--json"] if setup.way == "json" else []
        if setup.script is not None:
            # the sidecar's words are the script's arguments, so no path needs quotes
            return ["/bin/sh", "-c", fill(setup.script, self.names), "script", *SIDECAR, "dev", *options]
        return [*SIDECAR, "dev", *options, *words]

    def perform(self) -> None:
        """Do all steps. Raises ``AssertionError``, which names the step that failed."""
        with Run(self) as run:
            steps = Steps(self, run)
            steps.begin()
            for step in self.setup.steps:
                try:
                    steps.do(step)
                except AssertionError as fault:
                    raise AssertionError(f"{step}: {fault}\n{run.tail()}") from None

    def close(self) -> None:
        """Kill processes that are left, and fail if there were any."""
        self._busy.close()
        with suppress(AssertionError):  # processes that are left are named below
            until(lambda: not marked(self.mark), "its end", END_S)
        left = marked(self.mark)
        told = [f"{pid} {_command_of(pid)}" for pid in left]
        for pid in left:
            pidfd = open_pidfd(pid)
            if pidfd is not None and pid in marked(
                self.mark
            ):  # open the pidfd first, then check again: it is the same process
                send(pidfd, signal.SIGKILL)
            if pidfd is not None:
                os.close(pidfd)
        assert not left, f"left behind: {told}"


def clear(folder: Path) -> None:
    """Remove everything except the packages."""
    for path in folder.iterdir():
        if path.name in {"node_modules", "package-lock.json"}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _command_of(pid: int) -> str:
    with suppress(OSError):  # it has gone
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
    return ""


def link_packages(shared: Path, folder: Path, vite: str) -> None:
    """Make a node_modules of links, so that Vite's cache and lock in it belong to this project alone."""
    folder.mkdir(parents=True)
    for package in shared.iterdir():
        if package.name != ".bin" and not (package.name == "vite" and vite != "vite"):
            (folder / package.name).symlink_to(package)
    if vite != "vite":
        (folder / "vite").symlink_to(shared / vite)
    binaries = folder / ".bin"
    binaries.mkdir()
    for binary in (shared / ".bin").iterdir():
        # keep npm's relative links: they lead into this folder, and so to this project's Vite
        (binaries / binary.name).symlink_to(os.readlink(binary))


class Run:
    """A running sidecar and its output: messages and lines of text."""

    def __init__(self, case: Case) -> None:
        """Start it."""
        self._case = case
        self._changed = threading.Condition()
        self.messages: list[Message] = []
        self._texts = {"out": "", "err": ""}
        self._open = 2
        self.wait_s = case.setup.wait_s
        self.speaks_json = case.setup.way in {"stdio", "json"}
        self._calls = 0
        master = slave = -1
        if case.setup.way == "terminal":
            master, slave = pty.openpty()
            termios.tcsetwinsize(slave, (40, 160))
            self.stdin = os.dup(master)
            self._open = 1
        self.process = subprocess.Popen(
            case.command,
            cwd=case.folder,
            env=case.env,
            stdin=slave if slave >= 0 else subprocess.PIPE if case.setup.way == "stdio" else subprocess.DEVNULL,
            stdout=slave if slave >= 0 else subprocess.PIPE,
            stderr=slave if slave >= 0 else subprocess.PIPE,
            start_new_session=True,
        )
        if slave >= 0:
            os.close(slave)
            sources = {"out": master}
        else:
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            sources = {"out": os.dup(self.process.stdout.fileno()), "err": os.dup(self.process.stderr.fileno())}
            self.process.stdout.close()
            self.process.stderr.close()
            self.stdin = os.dup(self.process.stdin.fileno()) if self.process.stdin is not None else -1
            if self.process.stdin is not None:
                self.process.stdin.close()
        self._readers = [
            threading.Thread(target=self._read, args=(name, fd), daemon=True) for name, fd in sources.items()
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the sidecar as its user would. A command other than a service run ends by itself."""
        match self._case.setup.way:
            case "stdio":
                self.close_stdin()
            case "json" | "pipe" | "terminal" if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not end\n{self.tail()}") from None
        finally:
            self.close_stdin()
        fault = re.search(r"(?m)^(sidecar error: )?Traceback[^\x00]*", self._texts["err"])
        # report a step's own failure first: it may have interrupted a starting Python, which prints a traceback
        assert fault is None or kind is not None, fault[0]

    def close_stdin(self) -> None:
        """Close it, once."""
        fd, self.stdin = self.stdin, -1
        if fd >= 0:
            os.close(fd)

    def _read(self, name: str, fd: int) -> None:
        rest = b""
        while True:
            try:
                data = os.read(fd, 65_536)
            except OSError:  # EIO: nobody has the terminal's other end open any more
                data = b""
            with self._changed:
                if not data:
                    self._open -= 1
                elif self.speaks_json and name == "out":
                    *lines, rest = (rest + data).split(b"\n")
                    self.messages += [_decode(line) for line in lines]
                else:
                    self._texts[name] += data.decode(errors="replace")
                self._changed.notify_all()
            if not data:
                os.close(fd)
                return

    # ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def await_(self, look: Callable[[], Found | None], what: str, wait_s: float | None = None) -> Found:
        """Wait until ``look`` finds something; return that."""
        deadline = time.monotonic() + (wait_s or self.wait_s)
        with self._changed:
            while True:
                found = look()
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"timed out waiting for {what}"
                assert self._open, f"it has ended before {what}"
                self._changed.wait(left)

    def passes(self, look: Callable[[], Found | None], seconds: float) -> Found | None:
        """Return what ``look`` finds within this time, if anything."""
        with self._changed:
            deadline = time.monotonic() + seconds
            while (found := look()) is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return found

    def all_read(self) -> bool | None:
        """Return whether no process holds its streams any more."""
        return True if self._open == 0 else None

    def notes(self, method: str, service: str | None = None) -> list[Message]:
        """Return the params of such notifications."""
        return [
            it["params"]
            for it in self.messages
            if it.get("method") == method and service in {None, it["params"].get("service")}
        ]

    def told(self) -> str:
        """Return the sidecar's own output. Without JSON it also contains the services' output."""
        said = [strings(it) for it in self.messages if it.get("method") != "service/log"]
        return CONTROL.sub("", "\n".join([*said, self._texts["out"], self._texts["err"]]))

    def printed(self) -> str:
        """Return the services' output: each line after its stream's name, an unfinished one after ``partial``."""
        if not self.speaks_json:
            return CONTROL.sub("", self._texts["out"])
        lines = []
        for note in self.notes("service/log"):
            lines += [f"{note['stream']}: {line}" for line in note["lines"]]
            if "partial" in note:
                lines.append(f"{note['stream']} partial: {note['partial']}")
        return "\n".join(lines)

    def raw(self) -> str:
        """Return all text, with its colours."""
        return self._texts["out"] + "\n".join(json.dumps(it) for it in self.messages)

    def tail(self) -> str:
        """Return the end of the output, for a report."""
        with self._changed:
            said = [json.dumps(it, ensure_ascii=False)[:600] for it in self.messages[-12:]]
            texts = [f"{name}: {text[-1500:]}" for name, text in self._texts.items() if text]
        return "said last:\n" + "\n".join([*said, *texts])

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, method: str, **params: object) -> int:
        """Send a request; return its id."""
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        with suppress(BrokenPipeError):  # it has ended; ``answer`` reports that
            os.write(self.stdin, json.dumps(request).encode() + b"\n")
        return self._calls

    def answer(self, call: int) -> Message:
        """Await the answer to a request, with ``result`` or ``error``."""
        return self.await_(
            lambda: next((it for it in self.messages if it.get("id") == call), None), f"the answer to request {call}"
        )

    def call(self, method: str, **params: object) -> Message:
        """Send a request; return its result."""
        answer = self.answer(self.send(method, **params))
        assert "result" in answer, answer
        result: Message = answer["result"]
        return result


def _decode(line: bytes) -> Message:
    message: Message = json.loads(line)
    return message


def strings(value: Any) -> str:
    """Return all texts in a JSON value, one a line."""
    match value:
        case str():
            return value
        case dict():
            return "\n".join(filter(None, map(strings, value.values())))
        case list():
            return "\n".join(filter(None, map(strings, value)))
    return ""


class Steps:
    """The steps: each ``do_`` method is one, and its first argument is the value beside the step's name."""

    def __init__(self, case: Case, run: Run) -> None:
        """Of a run."""
        self._case = case
        self._run = run
        self._url: str | None = None
        self._starts: dict[str, int] = {}

    def begin(self) -> None:
        """Request the services' starts, if we are the client."""
        setup = self._case.setup
        if setup.way != "stdio":
            return
        services = fill(setup.services, self._case.names)
        for service in services.values():
            if service["type"] != "command" and "port" not in service and "defaultPort" not in service:
                service["port"] = {"preferred": free_port()}  # never the 5173 of other tests
            service.pop("defaultPort", None)
        hello = {"protocolVersion": 1, "client": {"name": "projects"}, "services": services}
        self._starts["initialize"] = self._run.send("initialize", **hello)
        for name in setup.sequential or services:
            self._starts[name] = self._run.send("start", service=name)
            if name in setup.sequential[:-1]:
                self.do_state("ready", name)

    def do(self, step: Step) -> None:
        """Do one."""
        names = self._case.names | self._port()
        filled: Step = {key: fill(value, names) for key, value in step.items()}
        verb, value = next(iter(filled.items()))
        method = getattr(self, f"do_{verb}", None)
        assert method is not None, f"there is no step {verb}"
        method(value, **{key.replace("-", "_"): it for key, it in filled.items() if key != verb})

    def _port(self) -> dict[str, str]:
        """The last port that was reported."""
        for note in reversed(self._run.messages):
            port = note.get("params", {}).get("port") if isinstance(note.get("params"), dict) else None
            if port:
                return {"port": str(port)}
        found = re.findall(r"https?://[^\s/]+:(\d+)", self._run.told())
        return {"port": found[-1]} if found else {}

    # ── what the sidecar reports ─────────────────────────────────────────────────────────────────────────────────────

    def do_ready(self, url: str, service: str | None = None) -> None:
        """It reports that it is ready, with a URL that matches the expression; with an empty one, without a URL."""
        if self._run.speaks_json:
            note = self._run.await_(
                lambda: next(iter(self._run.notes("service/ready", service)), None), "service/ready"
            )
            told = note["url"] or ""
            if note["service"] in self._starts:
                self._run.answer(self._starts[note["service"]])  # it comes right after, and must not count as news
        else:
            found = self._run.await_(
                lambda: re.search(r"ready\b.*? on (https?://\S+)", self._run.told()), "a line that says ready"
            )
            told = found[1]
        url = url.replace("{port}", self._port().get("port", ""))
        assert re.fullmatch(url, told), f"the URL is {told!r}"
        self._url = told

    def _ready_note(self, service: str | None) -> Message | None:
        refused = next((it["error"] for it in self._run.messages if "error" in it), None)
        assert refused is None, f"a request was refused: {refused}"
        return next(iter(self._run.notes("service/ready", service)), None)

    def do_told(self, pattern: str, wait_s: float | None = None) -> None:
        """The sidecar itself prints this."""
        self._run.await_(lambda: re.search(pattern, self._run.told()), f"told: {pattern}", wait_s)

    def do_waiting(self, after_ms: int, detail: str) -> None:
        """After this time the client is told why the service is not ready yet."""

        def look() -> Message | None:
            notes = self._run.notes("service/waiting")
            return next((it for it in notes if it["elapsedMs"] >= after_ms and re.search(detail, it["detail"])), None)

        self._run.await_(look, f"a notice after {after_ms} ms")

    def do_printed(self, pattern: str) -> None:
        """A service prints this."""
        self._run.await_(lambda: re.search(pattern, self._run.printed(), re.MULTILINE), f"printed: {pattern}")

    def do_raw(self, pattern: str) -> None:
        """The output contains this, colours included."""
        self._run.await_(lambda: re.search(pattern, self._run.raw()), f"raw: {pattern}")

    def do_state(self, state: str, service: str = "web", times: int = 1) -> None:
        """The service gets into this state (for the given time, such as the second)."""

        def look() -> bool | None:
            states = [note["state"] for note in self._run.notes("service/state", service)]
            return True if states.count(state) >= times else None

        self._run.await_(look, f"state {state}")

    def do_stays(self, state: str, seconds: float, service: str = "web") -> None:
        """During this time the service keeps its process, and then it is in this state."""
        seen = self._told_count()
        pid = self._run.call("status")["services"][service]["pid"]
        seen += 1
        self._run.passes(lambda: True if self._told_count() > seen else None, seconds)
        last = [it for it in self._run.messages if it.get("method") != "service/log"][seen:]
        assert not any(it.get("params", {}).get("state") for it in last), f"it changed: {last}"
        status = self._run.call("status")["services"][service]
        assert (status["state"], status["pid"]) == (state, pid), status

    def do_quiet(self, seconds: float) -> None:
        """During this time the sidecar lives on, whatever it prints."""
        ended = self._run.passes(lambda: True if self._run.process.poll() is not None else None, seconds)
        assert ended is None or self._case.setup.script is not None, f"it has ended with {self._run.process.poll()}"

    def do_lives(self, seconds: float) -> None:
        """During this time the process lives whose pid the script wrote into the file ``pid``."""
        pidfd = open_pidfd(int((self._case.folder / "pid").read_text()))
        assert pidfd is not None, "it does not live"
        dead = select.select([pidfd], [], [], seconds)[0]
        os.close(pidfd)
        assert not dead, "it has ended"

    def do_calm(self, seconds: float, service: str = "web") -> None:
        """During this time the client gets only output, and then the service is ready as before."""
        seen = self._told_count()
        changed = self._run.passes(lambda: True if self._told_count() > seen else None, seconds)
        last = [it for it in self._run.messages if it.get("method") != "service/log"][seen:]
        assert changed is None, f"it was not calm: {last}"
        if self._case.setup.way == "stdio":
            status = self._run.call("status")["services"][service]
            assert status["state"] == "ready", status
        assert self._run.process.poll() is None, "it has ended"

    def _told_count(self) -> int:
        return sum(it.get("method") != "service/log" for it in self._run.messages)

    def do_never(self, pattern: str) -> None:
        """So far no output has contained this."""
        found = re.search(pattern, self._run.told() + "\n" + self._run.printed(), re.MULTILINE)
        if found is not None:
            raise AssertionError(f"it said {found[0]!r}")

    def do_at_most(self, count: int, like: str) -> None:
        """So far at most this many lines have matched this."""
        found = re.findall(like, self._run.told() + "\n" + self._run.printed(), re.MULTILINE)
        assert len(found) <= count, f"{len(found)} lines match {like!r}"

    def do_never_raw(self, pattern: str) -> None:
        """So far the output, colours included, has not contained this."""
        found = re.search(pattern, self._run.raw())
        if found is not None:
            raise AssertionError(f"it has {found[0]!r}")

    def do_ordered(self, pattern: str, count: int, faults: int) -> None:
        """The numbers in this many lines ascend, except for some faults."""
        numbers = [int(number) for number in re.findall(pattern, self._run.printed())]
        assert len(numbers) == count, f"there are {len(numbers)} lines"
        rising: list[int] = []  # ends of increasing runs; lines outside the longest came too early or late
        for number in numbers:
            at = bisect(rising, number)
            rising[at : at + 1] = [number]
        found = len(numbers) - len(rising)
        assert found <= faults, f"{found} lines are out of order"

    def do_refused(self, pattern: str, service: str = "web") -> None:
        """The request to start it, or already initialize, is answered by an error that contains this."""
        answer = self._run.answer(self._starts["initialize"])
        if "error" not in answer:
            answer = self._run.answer(self._starts[service])
        assert "error" in answer, f"the answer is {answer}"
        said = json.dumps(answer["error"], ensure_ascii=False)
        assert re.search(pattern, said), f"the error is {said[:1500]}"

    def do_status(self, service: str, **fields: Any) -> None:
        """The status of the service has these fields."""
        status = self._run.call("status")["services"][service]
        assert {key: status.get(key) for key in fields} == fields, f"the status is {status}"

    def do_exits(self, code: int) -> None:
        """The sidecar ends, with this exit code."""
        self._run.await_(self._run.all_read, "the end of its output")
        assert self._run.process.wait(self._run.wait_s) == code, f"the exit code is {self._run.process.returncode}"

    def do_ended(self, _: bool) -> None:
        """No process holds its output any more, so all its processes are dead."""
        self._run.await_(self._run.all_read, "the end of its output")

    # ── what its user does ───────────────────────────────────────────────────────────────────────────────────────────

    def do_get(self, path: str, status: int | None = None, has: str = "", header: str = "") -> None:
        """GET its page, or another path of its server."""
        url, path = (path, "") if path.startswith("http") else (self._url, path)
        assert url, "no URL was reported"
        try:
            code, headers, body = get(url, path)
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"no answer: {error!r}") from None
        assert status in {None, code}, f"{path} answers {code}"
        assert re.search(has, body), f"{path} answers {body[:500]!r}"
        assert header in headers, f"{path} has the headers {headers}"

    def do_write(self, name: str, text: str = "", told: str = "") -> None:
        """Write a file of the project, as an editor does. Repeat that until a watcher notices, if asked to."""
        path = self._case.folder / name

        def once() -> bool | None:
            path.write_text(text)
            look = self._run.passes(lambda: re.search(told, self._run.told()), 1.0) if told else True
            return True if look else None

        until(once, f"told after a write: {told}", self._run.wait_s)

    def do_replace(self, name: str, *, to: str, **source: str) -> None:
        """Replace text in a file of the project."""
        path = self._case.folder / name
        before = path.read_text()
        assert source["from"] in before, f"{source['from']} is not in {name}"
        path.write_text(before.replace(source["from"], to))

    def do_remove(self, name: str) -> None:
        """Remove a file of the project."""
        (self._case.folder / name).unlink()

    def do_absent(self, name: str) -> None:
        """There is no such file."""
        assert not (self._case.folder / name).exists(), f"{name} is there"

    def do_lacks(self, name: str, text: str) -> None:
        """A file has no such text."""
        said = (self._case.folder / name).read_text()
        assert text not in said, f"{name} has {said!r}"

    def do_file(self, name: str, has: str = "") -> None:
        """Wait for a file with this in it."""
        path = self._case.folder / name
        until(lambda: path.exists() and re.search(has, path.read_text()), f"{has!r} in {name}", self._run.wait_s)

    def do_signal(self, name: str, service: str = "web") -> None:
        """Signal the service's own process."""
        pid = self._run.call("status")["services"][service]["pid"]
        pidfd = open_pidfd(pid)
        assert pidfd is not None
        send(pidfd, signal.Signals[name])
        os.close(pidfd)

    def do_signal_sidecar(self, name: str) -> None:
        """Signal the sidecar, whose pid the script wrote into the file ``pid``."""
        pid = int((self._case.folder / "pid").read_text())
        assert pid in marked(self._case.mark), "it does not run"
        pidfd = open_pidfd(pid)
        assert pidfd is not None
        send(pidfd, signal.Signals[name])
        os.close(pidfd)

    def do_signal_all(self, name: str) -> None:
        """Signal every process of the run, as a user would who found them with ps."""
        for pid in marked(self._case.mark):
            pidfd = open_pidfd(pid)
            if pidfd is not None:
                send(pidfd, signal.Signals[name])
                os.close(pidfd)

    def do_script_ends(self, _: bool) -> None:
        """Wait for the script's end, not for processes that it left."""
        self._run.process.wait(self._run.wait_s)

    def do_press(self, keys: str) -> None:
        """Type."""
        os.write(self._run.stdin, keys.encode())

    def do_restart(self, service: str) -> None:
        """Ask for a restart."""
        self._run.call("restart", service=service)


def get(url: str, path: str) -> tuple[int, str, str]:
    """GET a URL; return status, headers and body. TLS is not verified, as the tests make their own certificates."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=END_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=END_S)
    try:
        connection.request("GET", path or parts.path or "/", headers={"Accept": "text/html"})
        answer = connection.getresponse()
        return answer.status, str(answer.headers), answer.read().decode(errors="replace")
    finally:
        connection.close()
