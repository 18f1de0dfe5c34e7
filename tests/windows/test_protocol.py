"""The sidecar over two pipes: its messages to a client, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from tests.support.command import SIDECAR, Refused
from tests.windows.support import PYTHON, ROOT, WAIT_S, Direct, await_end, held, program

EXIT_APP_GONE = 3

PYTHON_THAT_HEEDS = [sys.executable, "-S"]
"""A Python without -I, which would ignore PYTHONUNBUFFERED."""

SERVER = (
    "import http.server as h, os; "
    "h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), h.SimpleHTTPRequestHandler).serve_forever()"
)


def test_a_service_is_started_and_stopped_and_a_shutdown_ends_with_0(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        hello = it.client.hello({"web": program("report:SIGTERM", "print:up", "hold")})
        assert hello["guarantees"]["platform"] == "windows"
        started = it.client.call("start", service="web")
        assert started["status"]["state"] == "ready"
        it.client.printed("web", "up")
        process = held(started["status"]["pid"])
        it.client.call("stop", service="web")
        await_end(process)
        exited = it.client.note("service/exited", service="web")
        assert (exited["reason"], exited["code"]) == ("stopped", 0)
        assert it.client.call("shutdown") == {"stopped": ["web"]}
        assert it.exit_code() == 0
    assert it.stderr.read_bytes() == b""


def test_a_deaf_service_is_killed_after_its_stop_timeout(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({"web": program("ignore:SIGTERM", "child", "print:up", "hold", stop={"timeoutMs": 200})})
        it.client.call("start", service="web")
        it.client.printed("web", "up")
        it.client.call("stop", service="web")
        assert it.client.note("service/exited", service="web")["signal"] == "SIGKILL"


def test_a_server_is_ready_when_it_answers_and_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        wish = {"env": "PORT", "sticky": False}
        service = {"type": "command", "command": [*PYTHON, "-c", SERVER], "ready": {"type": "http"}, "port": wish}
        it.client.hello({"one": service})
        first = it.client.call("start", service="one")["status"]
        assert first["state"] == "ready"
        with Direct(tmp_path) as other:
            other.client.hello({"two": {**service, "port": {**wish, "preferred": first["port"]}}})
            second = other.client.call("start", service="two")["status"]
            assert second["port"] != first["port"]
            assert other.client.note("service/portChanged")["from"] == first["port"]


def test_a_bad_line_is_answered_and_the_next_one_works(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.raw(b"\xff\n{}\r\n")
        codes = [it.client.find(lambda m: "error" in m, "an error", since=at)["error"]["code"] for at in (0, 1)]
        assert codes == [-32700, -32600]
        it.client.hello({})


def test_a_question_is_told_before_its_line_ends_and_whole_in_the_end(tmp_path: Path) -> None:
    code = "import time; print('up'); print('Continue? ', end=''); time.sleep(600)"
    with Direct(tmp_path) as it:
        service = {"type": "command", "command": [*PYTHON_THAT_HEEDS, "-c", code], "stop": {"timeoutMs": 0}}
        it.client.hello({"web": {**service, "ready": {"type": "log", "pattern": r"^Continue\?"}}})
        it.client.call("start", service="web")
        asked = it.client.find(lambda m: m.get("params", {}).get("partial"), "a question")["params"]
        assert (asked["stream"], asked["lines"], asked["partial"]) == ("stdout", [], "Continue? ")
        it.client.call("stop", service="web")
        it.client.printed("web", "Continue? ")


def test_what_a_program_prints_about_itself_and_its_words_comes_through(tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit Ümläuten 日本"
    folder.mkdir()
    words = ["", "a b", '"', 'a\\"b', "C:\\x\\", "ü 日本", "%PATH%", "^&|<>"]
    code = "import os, sys; print(ascii([os.getcwd(), *sys.argv[1:]]))"
    with Direct(tmp_path) as it:
        service = {"type": "command", "command": [*PYTHON, "-c", code, *words], "cwd": str(folder)}
        it.client.hello({"it": service})
        it.client.send("start", service="it")
        it.client.printed("it", ascii([str(folder), *words]))


def test_program_is_found_as_an_exe_and_batch_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tool.cmd").write_text("@echo off\n")
    env = {"PATH": os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent)])}
    with Direct(tmp_path) as it:
        python = {"type": "command", "command": ["python", "-c", "print('found')"], "env": env}
        it.client.hello({"python": python, "tool": {"type": "command", "command": ["tool"], "env": env}})
        it.client.send("start", service="python")
        it.client.printed("python", "found")
        with pytest.raises(Refused, match=r"tool\.cmd is a batch file") as refused:
            it.client.call("start", service="tool")
        assert refused.value.kind == "ProcessSpawnFailed"


def test_the_end_of_stdin_ends_it_with_3(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({"web": program("ignore:SIGTERM", "print:up", "hold")})
        it.client.call("start", service="web")
        process = held(it.client.status("web")["pid"])
        it.close_stdin()
        await_end(process)
        assert it.exit_code() == EXIT_APP_GONE


def test_the_death_of_the_watched_process_ends_it_with_3(tmp_path: Path) -> None:
    command = [*PYTHON, "-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as app,
        Direct(tmp_path, "--parent-pid", str(app.pid)) as it,
    ):
        it.client.hello({})
        app.kill()
        assert it.exit_code() == EXIT_APP_GONE


def test_a_wedged_supervisor_ends_with_the_app(tmp_path: Path) -> None:
    """Another thread sees the app's death. It gives the loop the services' grace and ``WEDGED_S``, then exits."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from sidecar.host.windows import session as windows\n"
        "windows.WEDGED_S = 0.1\n"
        "session = windows.WindowsSession(int(sys.argv[2]))\n"
        "session.announce_grace(100)\n"
        "print('watching', flush=True)\n"
        "session.watch(print, print)\n"
    )
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen([*PYTHON, "-c", "import sys; sys.stdin.read()"], stdin=pipe) as app:
        words = [sys.executable, "-c", code, str(ROOT), str(app.pid)]
        with subprocess.Popen(words, stdin=null, stdout=pipe) as supervisor:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline().strip() == b"watching"
            app.kill()
            assert supervisor.wait(WAIT_S) == EXIT_APP_GONE


def test_a_wedged_supervisor_ends_with_its_stdin(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from sidecar.host.windows import session as windows\n"
        "windows.WEDGED_S = 0.1\n"
        "session = windows.WindowsSession(windows.UNWATCHED)\n"
        "session.announce_grace(100)\n"
        "session.read_stdin(lambda: print(sys.stdin.read(), flush=True))\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(ROOT)], stdin=pipe, stdout=pipe) as supervisor:
        assert supervisor.stdin is not None
        supervisor.stdin.close()
        assert supervisor.wait(WAIT_S) == EXIT_APP_GONE


def test_a_watched_process_that_is_already_dead_is_reported(tmp_path: Path) -> None:
    with subprocess.Popen([*PYTHON, "-c", ""]) as gone:
        gone.wait(WAIT_S)
    words = [*SIDECAR, "--parent-pid", str(gone.pid), "stdio"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (EXIT_APP_GONE, b"")
    assert b"is dead already" in done.stderr


def test_variable_replaces_the_inherited_one_in_any_case(tmp_path: Path) -> None:
    say = "import os; print([it for it in os.environ if it == 'SIDECAR_CASE'], os.environ['sidecar_case'], flush=True)"
    command = [*PYTHON_THAT_HEEDS, "-c", f"{say}; input()"]
    with Direct(tmp_path, env={"SIDECAR_CASE": "inherited"}) as it:
        it.client.hello({"web": {"type": "command", "command": command, "env": {"Sidecar_Case": "own"}}})
        it.client.call("start", service="web")
        it.client.printed("web", "['SIDECAR_CASE'] own")
