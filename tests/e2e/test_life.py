from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import (
    KILL,
    STOP,
    WAIT_S,
    children_of,
    connects,
    descendants,
    foreign_server,
    listens,
    until,
    vite,
)
from tests.support.page import fetch

pytestmark = pytest.mark.vite

CYCLES = 20


def test_twenty_quick_stops_and_starts_leave_one_Vite_on_the_same_port(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    port = sidecar.start()["port"]
    calls = []
    for _cycle in range(CYCLES):
        calls += [sidecar.send("stop", service="web"), sidecar.send("start", service="web")]
    for call in calls[:-1:2]:
        sidecar.answer(call)
    status = sidecar.answer(calls[-1])["status"]
    assert (status["state"], status["port"]) == ("ready", port)
    assert [child.pid for child in children_of(sidecar.pid)] == [status["pid"]]
    assert sidecar.notes("service/restarting") == []
    assert fetch(status["url"])[0] == 200


def test_twenty_whole_cycles_come_back_on_the_same_port_each_time(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    pids = set()
    ports = set()
    for _cycle in range(CYCLES):
        ready = sidecar.start()
        pids.add(ready["pid"])
        ports.add(ready["port"])
        sidecar.call("stop", service="web")
        assert children_of(sidecar.pid) == []
        assert not listens(ready["port"])
    assert len(pids) == CYCLES
    assert len(ports) == 1


def test_several_services_run_side_by_side_and_fall_alone(launch: Launch, project: Path) -> None:
    api = {
        "type": "command",
        "command": ["node", "-e", SERVER, "{port}"],
        "cwd": str(project),
        "port": {},
        "ready": {"type": "http", "path": "/health", "status": 200},
    }
    worker = {
        "type": "command",
        "command": ["node", "-e", "setInterval(() => {}, 60000); console.log('at work')"],
        "ready": {"type": "log", "pattern": "^at (work|play)$"},
    }
    sidecar = launch({"web": vite(project), "api": api, "worker": worker})
    calls = {name: sidecar.send("start", service=name) for name in ("web", "api", "worker")}
    status = {name: sidecar.answer(call)["status"] for name, call in calls.items()}
    assert fetch(status["web"]["url"])[0] == 200
    assert fetch(f"{status['api']['url']}health")[0] == 200
    assert "port" not in status["worker"]
    sidecar.call("stop", service="api")
    services = sidecar.call("status")["services"]
    assert {name: it["state"] for name, it in services.items()} == {"web": "ready", "api": "stopped", "worker": "ready"}
    assert {it.pid for it in children_of(sidecar.pid)} == {status["web"]["pid"], status["worker"]["pid"]}
    assert sidecar.call("shutdown")["stopped"] == ["web", "api", "worker"]


SERVER = """
require("http").createServer((request, response) => {
    response.statusCode = request.url.startsWith("/health") ? 200 : 404;
    response.end(`${request.method} ${request.url}`);
}).listen(+process.argv[1], "127.0.0.1");
"""


def test_a_killed_guard_takes_Vite_with_it_and_frees_the_port(launch: Launch, project: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("pidfds are Linux's")
    sidecar = launch({"web": vite(project)})
    port = sidecar.start()["port"]
    tree = [os.pidfd_open(it.pid) for it in descendants(sidecar.process.pid)]
    try:
        psutil.Process(sidecar.process.pid).send_signal(KILL)  # the guard, as killall would
        for fd in tree:
            assert select.select([fd], [], [], WAIT_S)[0], "a process lives on"
    finally:
        for fd in tree:
            os.close(fd)
    with foreign_server("127.0.0.1", port) as (_, taken):
        assert taken == port


def test_vite_in_a_pid_namespace_ends_with_guard_and_supervisor(launch: Launch, project: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can always make a pid namespace")
    sidecar = launch({"web": vite(project, isolation="pidNamespace", stdinGuard=False)})
    ready = sidecar.start()
    assert "/@vite/client" in fetch(ready["url"])[1]
    told = json.loads(fetch(f"{ready['url']}__sidecar")[1])
    assert (told["pid"], told["ppid"]) == (2, 1)
    tree = [os.pidfd_open(it.pid) for it in descendants(ready["pid"])]
    assert len(tree) >= 3
    try:
        for number in (STOP, KILL):
            for pid in (sidecar.pid, sidecar.process.pid):
                psutil.Process(pid).send_signal(number)
        for fd in tree:
            assert select.select([fd], [], [], WAIT_S)[0], "a process lives on"
    finally:
        for fd in tree:
            os.close(fd)


def test_a_pattern_that_backtracks_holds_nothing_up(launch: Launch) -> None:
    """Without a bound, one line of a service wedges the supervisor for hours, and the end of stdin is not noticed."""
    program = "print('ready in ' * 7000, flush=True); import threading; threading.Event().wait()"
    slow = {
        "type": "command",
        "command": [sys.executable, "-c", program],
        "ready": {"type": "log", "pattern": r"(\w+\s?)*!"},
    }
    sidecar = launch({"slow": slow})
    sidecar.send("start", service="slow")
    assert "(ready.pattern) takes too long" in sidecar.note("supervisor/error")["error"]["message"]
    assert sidecar.call("stop", service="slow")["status"]["state"] == "stopped"


@pytest.fixture
def namespace() -> Iterator[str]:
    """Make a network namespace with a loopback interface that is up."""
    ip = shutil.which("ip")
    if ip is None:
        pytest.skip("no ip command (Debian package iproute2)")
    name = f"sidecar-{os.getpid()}"
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    try:
        subprocess.run([ip, "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run([ip, "netns", "del", name], check=True)


@pytest.mark.netns
def test_an_interface_that_goes_down_and_comes_back_costs_no_restart(
    namespace: str, launch: Launch, project: Path
) -> None:
    # a failing check takes the whole timeout; two seconds are enough for a healthy Vite, even on a busy machine
    health = {"intervalMs": 20, "timeoutMs": 2_000}
    sidecar = launch({"web": vite(project, health=health)}, prefix=("ip", "netns", "exec", namespace))
    ready = sidecar.start()
    mark = sidecar.mark()
    for _time in range(2):
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "down"], check=True)
        before = connects(sidecar.pid)
        until(lambda: connects(sidecar.pid) >= before + 4, "two failed health checks, each with two connections")  # noqa: B023
        assert sidecar.status()["state"] == "ready"
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        in_namespace = ["ip", "netns", "exec", namespace, "node", "-e", FETCH, ready["url"]]
        assert subprocess.run(in_namespace, check=True, capture_output=True, text=True).stdout == "200"
    assert sidecar.states(since=mark) == []
    assert (sidecar.status()["pid"], sidecar.status().get("restarts", 0)) == (ready["pid"], 0)


FETCH = "fetch(process.argv[1]).then((answer) => process.stdout.write(String(answer.status)))"
