"""Several services with real programs: the addresses and tokens that one gets of another are right."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import SERVER, WAIT_S, Sidecar, foreign_server
from tests.support.command import Message, Refused
from tests.support.waiting import AT_GATE, make_gate, open_gate

HELD = """
import os, sys, threading
print("TOLD", os.environ.get("TOLD"), flush=True)
threading.Event().wait()
"""


def server(**env: str) -> Message:
    """Return a server that answers with its environment. It ends with its stdin, so that is an open pipe."""
    held = (
        "import runpy, os, sys; r, w = os.pipe(); os.dup2(r, 0); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    words = [sys.executable, "-c", held, str(SERVER), "{host}", "{port}"]
    return {"type": "command", "command": words, "env": env, "port": {}}


def environment_of(sidecar: Sidecar, service: str) -> dict[str, str]:
    url = sidecar.call("status", service=service)["services"][service]["url"]
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def test_services_are_told_each_other_s_addresses_before_they_run(launch: Launch) -> None:
    sidecar = launch({"api": server(CORS="{services.web.origin}"), "web": server(API="{services.api.url}")})
    api = sidecar.start("api")
    told = environment_of(sidecar, "api")["CORS"]
    web = sidecar.start("web")
    assert f"{web['url']}" == f"{told}/", "web was not started when api was told its address"
    assert environment_of(sidecar, "web")["API"] == api["url"]
    sidecar.call("shutdown")


CHOOSES = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"running on http://localhost:{server.server_port}/app/", flush=True)
server.serve_forever()
"""


def test_a_program_that_chooses_its_port_is_found_by_what_it_prints(launch: Launch) -> None:
    pattern = r"running on (?<url>\S+)"
    own = {"type": "command", "command": [sys.executable, "-c", CHOOSES], "ready": {"type": "log", "pattern": pattern}}
    sidecar = launch({"api": own, "web": {**server(API="{services.api.url}"), "dependsOn": ["api"]}})
    sidecar.start("web")
    api = sidecar.note("service/ready", service="api")
    assert api["url"] == f"http://localhost:{api['port']}/app/"
    assert environment_of(sidecar, "web")["API"] == api["url"]
    sidecar.call("shutdown")


def test_another_programs_address_is_not_taken_for_the_services_own(launch: Launch) -> None:
    with foreign_server("127.0.0.1") as (_, port):
        lies = f"import threading; print('running on {port}', flush=True); threading.Event().wait()"
        ready = {"type": "log", "pattern": r"running on (?P<port>\d+)"}
        words = [sys.executable, "-c", lies]
        # enough for Python to print its line, even on a busy machine
        sidecar = launch({"api": {"type": "command", "command": words, "ready": ready, "readyTimeoutMs": 6_000}})
        with pytest.raises(Refused, match="is answered by a process that this service did not start"):
            sidecar.start("api")
        sidecar.call("shutdown")


def test_a_token_reaches_its_service_and_whoever_asks_and_no_log(launch: Launch) -> None:
    program = [sys.executable, "-c", HELD]
    worker = {"type": "command", "command": program, "env": {"TOLD": "{services.api.token}"}}
    sidecar = launch({"api": server(MARK="{token}"), "worker": worker})
    sidecar.start("api")
    token = sidecar.call("token", service="api")["token"]
    assert len(bytes.fromhex(token)) == 32
    assert environment_of(sidecar, "api")["MARK"] == token
    sidecar.start("worker")
    sidecar.printed("TOLD [token]")
    sidecar.call("restart", service="api")
    assert sidecar.call("token", service="api")["token"] == token
    with pytest.raises(Refused, match="has no token"):
        sidecar.call("token", service="worker")
    sidecar.call("shutdown")


def test_a_port_that_is_taken_meanwhile_restarts_those_that_were_told_it(launch: Launch, tmp_path: Path) -> None:
    sidecar = launch({"api": server(), "web": server(API="{services.api.url}")})
    sidecar.start("web")
    told = environment_of(sidecar, "web")["API"]
    with foreign_server("127.0.0.1", int(told.rsplit(":", 1)[1].strip("/"))):
        url = sidecar.start("api")["url"]
        assert url != told
        sidecar.note("service/restarting", service="web", cause="addressChanged")
        assert sidecar.call("start", service="web")["status"]["restarts"] == 0
        assert environment_of(sidecar, "web")["API"] == url
    sidecar.call("shutdown")


def test_a_task_runs_to_its_end_before_what_depends_on_it(launch: Launch, tmp_path: Path) -> None:
    done = tmp_path / "done"
    gate = make_gate(tmp_path)
    write = f"import pathlib; {AT_GATE}; pathlib.Path({str(done)!r}).write_text('x')"
    read = f"import pathlib, threading; pathlib.Path({str(done)!r}).read_text(); threading.Event().wait()"
    migrate = {"type": "task", "command": [sys.executable, "-c", write], "cwd": str(tmp_path)}
    api = {"type": "command", "command": [sys.executable, "-c", read], "dependsOn": ["migrate"]}
    sidecar = launch({"api": api, "migrate": migrate})
    call = sidecar.send("start", service="api")
    open_gate(gate)
    sidecar.answer(call)
    assert sidecar.note("service/exited")["cause"] == "completed"
    status = sidecar.status("migrate")
    assert (status["state"], status["exitCode"], "pid" in status) == ("ready", 0, False)
    sidecar.call("shutdown")


def test_what_a_service_prints_is_in_its_log_file_without_its_token(launch: Launch) -> None:
    program = [sys.executable, "-c", HELD]
    told = {"type": "command", "command": program, "env": {"TOLD": "{token}"}}
    sidecar = launch({"api": told, "quiet": {**told, "logFile": False}})
    sidecar.start("api")
    sidecar.printed("TOLD [token]")
    sidecar.start("quiet")
    path = Path(sidecar.status("api")["logFile"])
    assert "logFile" not in sidecar.status("quiet")
    sidecar.call("shutdown")
    sidecar.process.wait(WAIT_S)
    assert path.read_text(encoding="utf-8").endswith(" out TOLD [token]\n")


def test_what_depends_on_another_is_started_after_it_and_stopped_before_it(launch: Launch) -> None:
    program = [sys.executable, "-c", HELD]
    db = {"type": "command", "command": program, "ready": {"type": "log", "pattern": "TOLD"}}
    api = {"type": "command", "command": program, "dependsOn": ["db"]}
    sidecar = launch({"web": {**api, "dependsOn": ["api"]}, "api": api, "db": db})
    sidecar.start("web")
    assert [note["service"] for note in sidecar.notes("service/ready")] == ["db", "api", "web"]
    sidecar.call("shutdown")
    assert [note["service"] for note in sidecar.notes("service/exited")] == ["web", "api", "db"]
