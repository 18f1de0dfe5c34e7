from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import pytest

assert sys.platform == "linux"  # for mypy

from tests.commands.dev.support import PYTHON, SERVICE, Watched, ask, command, environment
from tests.e2e.support import foreign_server
from tests.support.ports import free_port
from tests.support.waiting import WAIT_S


class Piped:
    """``sidecar dev`` with output to pipes, which is read line by line."""

    def __init__(self, folder: Path, words: tuple[str, ...], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command(*words),
            cwd=folder,
            env=environment(folder, **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.lines: list[bytes] = []
        self.errors = b""
        self._coming: queue.Queue[bytes | None] = queue.Queue()
        self._trees: list[Watched] = []
        self._threads = [
            threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._collect, args=(self.process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.watch()
        self.process.kill()
        self.process.wait()
        for tree in self._trees:
            tree.close()
        for thread in self._threads:
            thread.join(WAIT_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _listen(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._coming.put(line)
        self._coming.put(None)

    def _collect(self, pipe: IO[bytes]) -> None:
        self.errors = pipe.read()

    def wait(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches the regular expression; return the match."""
        while True:
            line = self._coming.get(timeout=WAIT_S)
            assert line is not None, f"timed out waiting for {pattern!r}: {self.lines}"
            self.lines.append(line)
            if found := re.search(pattern, line.decode()):
                return found

    def rest(self) -> tuple[int, list[bytes]]:
        """Return the exit code and all lines."""
        while (line := self._coming.get(timeout=WAIT_S)) is not None:
            self.lines.append(line)
        code = self.process.wait(WAIT_S)
        self._threads[1].join(WAIT_S)
        return code, self.lines

    def watch(self) -> Watched:
        tree = Watched(self.process.pid)
        self._trees.append(tree)
        return tree


Run = Callable[..., Piped]


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with ExitStack() as stack:
        yield lambda *words, **env: stack.enter_context(Piped(folder, words, env))


READY = r"is ready on (http://\S+) after \d"


def test_where_output_is_no_terminal_lines_are_plain(run: Run) -> None:
    sidecar = run("--", *SERVICE)
    url = sidecar.wait(READY)[1]
    ask(url, "/say/%1b[35mlilac")
    sidecar.wait(r"^python\S* │ lilac$")
    sidecar.process.send_signal(signal.SIGINT)
    code, lines = sidecar.rest()
    assert code == 130
    assert not any(b"\x1b" in line or b"\r" in line for line in lines)
    assert sidecar.errors == b""


def test_a_program_is_asked_for_no_colours_by_a_pipe(run: Run) -> None:
    sidecar = run("--", "sh", "-c", "echo colour=$FORCE_COLOR")
    code, lines = sidecar.rest()
    assert code == 0
    assert "sh │ colour=\n".encode() in lines


def test_a_pipe_s_failure_is_told_in_lines_with_its_page(run: Run) -> None:
    code, lines = run("no-such-folder").rest()
    assert code == 1
    assert b"does not exist. Correct root." in lines[-2]
    assert lines[-1].lower().rstrip().endswith(b"projectnotfound")


def test_the_host_is_where_it_listens(run: Run) -> None:
    sidecar = run(
        "--host", "localhost", "--", *PYTHON, "-c", "import signal; print('at {host}', flush=True); signal.pause()"
    )
    sidecar.wait("at localhost")


def test_the_root_is_the_program_s_folder(run: Run, folder: Path) -> None:
    (folder / "inner").mkdir()
    sidecar = run("inner", "--", "pwd")
    sidecar.wait(f"{folder}/inner$")


def test_when_sigterm_comes_all_of_it_ends(run: Run) -> None:
    sidecar = run("--", *SERVICE, "child")
    sidecar.wait(READY)
    tree = sidecar.watch()
    sidecar.process.send_signal(signal.SIGTERM)
    code, _ = sidecar.rest()
    assert code == 143
    tree.await_gone()


# ── --json ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def notifications(lines: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """Decode the lines, each of which must be a notification."""
    found = []
    for line in lines:
        message = json.loads(line)
        assert set(message) == {"jsonrpc", "method", "params"}
        assert message["jsonrpc"] == "2.0"
        found.append((message["method"], message["params"]))
    return found


def test_json_is_the_raw_notifications_one_object_a_line_and_nothing_else(run: Run) -> None:
    with foreign_server("127.0.0.1") as (stranger, port):
        sidecar = run("--json", "--port", str(port), "--", *SERVICE)
        sidecar.wait('"service/ready"')
        url = json.loads(sidecar.lines[-1])["params"]["url"]
        ask(url, "/say/%1b[35mlilac")
        sidecar.wait("lilac")
        ask(url, "/exit/3")
        sidecar.wait('"service/restarting"')
        sidecar.wait('"service/ready"')
        sidecar.process.send_signal(signal.SIGINT)
        code, lines = sidecar.rest()
    told = notifications(lines)
    assert code == 130
    assert {method for method, _ in told} - {"service/waiting"} == {  # a slow start is reported as well
        "service/state",
        "service/ready",
        "service/log",
        "service/exited",
        "service/restarting",
        "service/portChanged",
    }
    changed = next(params for method, params in told if method == "service/portChanged")
    assert (changed["from"], changed["holder"]["pid"]) == (port, stranger.pid)
    assert any("lilac" in params.get("lines", ()) for _, params in told)
    assert told[-1] == ("service/state", {"service": told[-1][1]["service"], "state": "stopped"})


def test_json_has_the_failure_for_programs_and_stderr_has_it_for_people(run: Run) -> None:
    sidecar = run("--json", "--", "no-such-program")
    code, lines = sidecar.rest()
    assert code == 1
    method, params = notifications(lines)[-1]
    assert (method, params["state"], params["error"]["data"]["kind"]) == (
        "service/state",
        "failed",
        "ProcessSpawnFailed",
    )
    assert b"there is no program 'no-such-program'" in sidecar.errors


def test_json_survives_a_folder_whose_name_is_no_text(run: Run, folder: Path) -> None:
    bad = os.fsdecode(b"caf\xe9")
    os.mkdir(folder / bad)
    code, lines = run("--json", bad).rest()
    assert code == 1
    assert notifications(lines)[-1][1]["error"]["data"]["kind"] == "ProjectNotFound"


def test_json_of_a_flood_stays_json(run: Run) -> None:
    sidecar = run("--json", "--", *SERVICE)
    sidecar.wait('"service/ready"')
    ask(json.loads(sidecar.lines[-1])["params"]["url"], "/flood")
    sidecar.wait("flood red")
    sidecar.process.send_signal(signal.SIGINT)
    code, lines = sidecar.rest()
    assert code == 130
    assert notifications(lines)


def test_a_program_that_reads_PORT_is_served_on_the_port_of_the_command_line(run: Run) -> None:
    port = free_port()
    sidecar = run("--port", str(port), "--", "sh", "-c", 'exec "$@" "$PORT"', "sh", *SERVICE[:-1])
    sidecar.wait(f"sh is ready on http://127.0.0.1:{port}/")


def test_a_strict_port_that_somebody_has_ends_dev_with_the_holders_name(run: Run) -> None:
    with foreign_server("127.0.0.1") as (stranger, port):
        code, lines = run("--port", str(port), "--strict-port", "--json", "--", *SERVICE).rest()
    assert code == 1
    error = notifications(lines)[-1][1]["error"]
    assert f"port {port} is taken by " in error["message"]
    assert (error["data"]["kind"], error["data"]["port"]) == ("PortUnavailable", port)
    assert error["data"]["holder"]["pid"] == stranger.pid


# ── wrong usage ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--port", "70000"), b"70000 is not a port: 1 to 65535"),
        (("--host", ""), b"the address is empty"),
        (("--host", "::1", "--", "server"), b"write {host} (or {port}, {url}) there"),
        (("--", ""), b"as in: sidecar dev -- node server.js --port {port}"),
        (("--",), b"as in: sidecar dev -- node server.js --port {port}"),
        (("--nonsense",), b"unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage_is_told_with_the_right_one(run: Run, words: tuple[str, ...], told: bytes) -> None:
    sidecar = run(*words)
    code, lines = sidecar.rest()
    assert (code, lines) == (2, [])
    assert told in sidecar.errors


def test_a_reader_that_goes_away_is_no_crash(folder: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        command("--", *SERVICE), cwd=folder, env=environment(folder), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    tree = None
    try:
        text = ""
        while not (found := re.search(READY, text)):
            data = os.read(reader, 4096)
            assert data
            text += data.decode()
        tree = Watched(process.pid)
        os.close(reader)
        ask(found[1], "/say/lost")
        ask(found[1], "/say/lost")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, errors) == (130, b"")
        tree.await_gone()
    finally:
        if tree is not None:
            tree.close()
        process.kill()
        process.communicate()


# ── a Tauri project ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def project(folder: Path) -> Path:
    """Make a Tauri project with two services."""
    inner = folder / "src-tauri"
    (inner / "api").mkdir(parents=True)
    server = {"type": "command", "command": list(SERVICE), "port": {}, "ready": {"type": "tcp"}}
    services = {"web": server, "api": {"type": "command", "command": ["sh", "-c", "pwd; exec sleep 99"], "cwd": "api"}}
    section = {"page": "web", "services": services}
    (inner / "tauri.conf.json").write_text(json.dumps({"plugins": {"sidecar": section}}))
    return inner / "tauri.conf.json"


@pytest.mark.parametrize("root", [None, "src-tauri"])
def test_in_a_tauri_project_all_its_services_run_and_end_together(run: Run, project: Path, root: str | None) -> None:
    sidecar = run(*([root] if root else []))
    assert sidecar.wait(r"starting (.*?)  \(plugins\.sidecar of .*tauri\.conf\.json\)$")[1] == "web, api"
    url = sidecar.wait(rf"web {READY}")[1]
    ask(url, "/say/lilac")
    sidecar.wait(r"^web │ lilac$")
    told = f"api │ {project.parent}/api\n"
    if told.encode() not in sidecar.lines:
        sidecar.wait(f"^{re.escape(told)}$")
    tree = sidecar.watch()
    sidecar.process.send_signal(signal.SIGINT)
    assert sidecar.rest()[0] == 130
    tree.await_gone()


def test_a_port_of_the_command_line_is_for_the_service_with_the_page(run: Run, project: Path) -> None:
    port = free_port()
    sidecar = run("--port", str(port))
    sidecar.wait(rf"web is ready on http://127\.0\.0\.1:{port}/ after")


def test_a_program_of_the_command_line_is_run_instead(run: Run, project: Path) -> None:
    code, lines = run("--", "echo", "lilac").rest()
    assert code == 0
    assert "echo │ lilac\n".encode() in lines


def test_when_one_of_several_services_fails_all_end_and_it_is_a_failure(run: Run, project: Path) -> None:
    section = json.loads(project.read_text())
    section["plugins"]["sidecar"]["services"]["api"] |= {"command": ["sh", "-c", "exit 9"], "restart": {"limit": 0}}
    project.write_text(json.dumps(section))
    code, lines = run().rest()
    assert code == 9, "it was never ready, so dev returns its exit code"
    assert any(line.startswith("» api ".encode()) for line in lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{\n  "plugins": ,\n}', "tauri.conf.json:2:14: a value is missing. Correct the file there and try again."),
        (
            '{"plugins": {"sidecar": {"services": {"web": {"type": "vite", "port": {"preferred": "x"}}}}}}',
            "at $.plugins.sidecar.services.web.port.preferred. Correct that field and try again.",
        ),
    ],
)
def test_a_wrong_configuration_starts_nothing_and_is_told_with_its_place(
    run: Run, project: Path, text: str, told: str
) -> None:
    project.write_text(text)
    sidecar = run()
    assert sidecar.rest() == (1, [])
    assert sidecar.errors.startswith(b"sidecar error: ")
    assert told in sidecar.errors.decode()
    assert sidecar.errors.splitlines()[-1].lower().endswith(b"configurationerror")
