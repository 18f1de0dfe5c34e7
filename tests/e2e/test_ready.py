from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import (
    EXAMPLE,
    GATED,
    KILL,
    Thief,
    await_gate,
    children_of,
    copy_example,
    hit,
    listens,
    open_gate,
    plugin,
    until,
    vite,
)
from tests.support.command import Refused
from tests.support.page import HotUpdates, edited, fetch

pytestmark = pytest.mark.vite


def test_Vite_becomes_ready_on_the_port_that_was_wanted(launch: Launch, project: Path) -> None:
    service = vite(project)
    sidecar = launch({"web": service})
    ready = sidecar.start()
    port = service["port"]["preferred"]
    assert (ready["url"], ready["host"], ready["port"]) == (f"http://127.0.0.1:{port}/", "127.0.0.1", port)
    assert sidecar.states() == ["starting", "starting", "starting", "ready"]
    assert sidecar.notes("service/portChanged") == []
    status, page = fetch(ready["url"])
    assert status == 200
    assert "/@vite/client" in page


def test_the_page_learns_from_Vite_who_supervises_it(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    ready = sidecar.start()
    info = json.loads(fetch(f"{ready['url']}__sidecar")[1])
    assert (info["supervised"], info["service"]) == (True, "web")
    assert (info["pid"], info["ppid"]) == (ready["pid"], sidecar.pid)


def test_an_edit_reaches_the_page_by_a_hot_update(launch: Launch, project: Path) -> None:
    url = launch({"web": vite(project)}).start()["url"]
    source = project / "src" / "message.ts"
    before = source.read_bytes()
    with HotUpdates(url) as updates:
        fetch(f"{url}src/message.ts")
        with edited(source, "Hot."):
            update = updates.hear("update", "/src/message.ts")
            assert update["updates"][0]["type"] == "js-update"
            assert '"Hot."' in fetch(f"{url}src/message.ts?t=1")[1]
    assert source.read_bytes() == before


def test_ready_is_told_only_after_the_socket_is_Vites(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    sidecar = launch({"web": vite(project)})
    call = sidecar.send("start", service="web")
    await_gate(project)
    assert sidecar.status()["state"] == "starting"
    assert not listens(sidecar.status()["port"])
    open_gate(project)
    sidecar.answer(call)
    ready = sidecar.note("service/ready")
    listening = [it for it in psutil.Process(ready["pid"]).net_connections() if it.status == psutil.CONN_LISTEN]
    assert [it.laddr.port for it in listening] == [ready["port"]]


def test_another_programs_204_on_the_port_is_never_ready(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    sidecar = launch({"web": vite(project, readyTimeoutMs=6_000)})
    call = sidecar.send("start", service="web")
    port = sidecar.chosen_port()["port"]
    with Thief(port) as thief:
        until(lambda: thief.answered >= 5, "five probes")
        assert sidecar.status()["state"] == "starting"
        with pytest.raises(Refused) as refused:
            sidecar.answer(call)
    assert refused.value.kind == "TimeoutWaitingForServer"
    assert "is answered by a process that this service did not start" in refused.value.message
    assert sidecar.notes("service/ready") == []


def test_a_Vite_that_does_not_answer_the_ping_is_known_by_its_client(launch: Launch, tmp_path: Path) -> None:
    deaf = """server.middlewares.use((request, response, next) => {
        if (request.headers.accept !== "text/x-vite-ping") return next();
        response.statusCode = 404;
        response.end();
    });"""
    project = copy_example(tmp_path / "project", plugin(deaf))
    ready = launch({"web": vite(project)}).start()
    assert fetch(ready["url"])[0] == 200


def test_a_slow_start_is_still_ready(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", plugin("await wait(2000);"))
    ready = launch({"web": vite(project)}).start()
    assert ready["elapsedMs"] >= 2_000


def test_too_short_a_readyTimeoutMs_is_TimeoutWaitingForServer(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    sidecar = launch({"web": vite(project, readyTimeoutMs=300)})
    with pytest.raises(Refused) as refused:
        sidecar.call("start", service="web")
    assert (refused.value.code, refused.value.kind) == (-32012, "TimeoutWaitingForServer")
    assert "readyTimeoutMs" in refused.value.message
    assert sidecar.status()["state"] == "failed"
    assert sidecar.status()["error"]["code"] == -32012
    assert children_of(sidecar.pid) == []
    assert sidecar.notes("service/restarting") == []


def test_a_service_that_timed_out_can_be_started_again(launch: Launch, tmp_path: Path) -> None:
    """The service is a Python program: on a busy machine a Vite may need the whole timeout to start."""
    code = "import os, socket, sys, threading\n"
    code += "s = os.path.exists('go') and socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    code += "threading.Event().wait()"
    command = [sys.executable, "-I", "-S", "-c", code, "{port}"]
    web = {"type": "command", "command": command, "cwd": str(tmp_path), "port": {}, "ready": {"type": "tcp"}}
    sidecar = launch({"web": {**web, "readyTimeoutMs": 6_000}})
    with pytest.raises(Refused) as refused:
        sidecar.call("start", service="web")
    assert refused.value.kind == "TimeoutWaitingForServer"
    open_gate(tmp_path)
    assert sidecar.start()["port"]


ENVIRONMENT = plugin("""
    server.middlewares.use("/environment", (_, response) => response.end(JSON.stringify({
        env: process.env, argv: process.argv.slice(2), traces: Error.stackTraceLimit, mode: server.config.mode,
    })));
""")


def test_the_users_NODE_OPTIONS_are_kept_and_the_port_is_in_the_environment(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", ENVIRONMENT)
    env = {"NODE_OPTIONS": "--stack-trace-limit=37"}
    ready = launch({"web": vite(project, env={"ADDRESS": "{host}+{port}+{url}"})}, env=env).start()
    told = json.loads(fetch(f"{ready['url']}environment")[1])
    assert told["traces"] == 37
    assert told["env"]["VITE_DEV_PORT"] == str(ready["port"])
    assert told["env"]["ADDRESS"] == f"127.0.0.1+{ready['port']}+{ready['url']}"


def test_extra_arguments_mode_config_file_node_and_port_variable_reach_Vite(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", "throw new Error('not this one')")
    (project / "other.mjs").write_text(ENVIRONMENT)
    node = tmp_path / "node of mine"
    node.symlink_to(shutil.which("node") or "")
    service = vite(project, args=["--logLevel", "info"], mode="odd", configFile="other.mjs", node=str(node))
    service["port"]["env"] = "PORT_FOR_ME"
    ready = launch({"web": service}).start()
    told = json.loads(fetch(f"{ready['url']}environment")[1])
    assert told["mode"] == "odd"
    assert told["env"]["PORT_FOR_ME"] == str(ready["port"])
    assert told["argv"][-2:] == ["--logLevel", "info"]
    assert psutil.Process(ready["pid"]).cmdline()[0] == str(node)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_Vite_is_ready_on_every_spelling_of_this_machine(host: str, launch: Launch, project: Path) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("there is no IPv6 here")
    service = vite(project)
    service["port"]["host"] = host
    ready = launch({"web": service}).start()
    assert ready["host"] == host
    assert fetch(ready["url"])[0] == 200


def has_ipv6() -> bool:
    return any(it.address == "::1" for all_of in psutil.net_if_addrs().values() for it in all_of)


def pnpm(folder: Path) -> Path:
    project = copy_example(folder / "project")
    (project / "node_modules").unlink()
    store = project / "node_modules" / ".pnpm" / "vite@8.3.8"
    store.mkdir(parents=True)
    (store / "node_modules").symlink_to(EXAMPLE / "node_modules")
    (project / "node_modules" / "vite").symlink_to(Path(".pnpm", "vite@8.3.8", "node_modules", "vite"))
    return project


def hoisted_workspace(folder: Path) -> Path:
    project = copy_example(folder / "packages" / "app")
    (project / "node_modules").rename(folder / "node_modules")
    return project


def linked_project(folder: Path) -> Path:
    copy_example(folder / "somewhere" / "else")
    (folder / "link").symlink_to(folder / "somewhere" / "else")
    return folder / "link"


def yarn_plug_n_play(folder: Path) -> Path:
    project = copy_example(folder / "project")
    (project / "node_modules").unlink()
    (project / "node_modules").mkdir()  # empty, so our search does not find vite there
    (project / ".pnp.cjs").touch()
    yarn = folder / "bin" / "yarn"
    yarn.parent.mkdir()
    entry = EXAMPLE / "node_modules" / "vite" / "bin" / "vite.js"
    yarn.write_text(f'#!/bin/sh\n[ "$1 $2" = "run vite" ] || exit 9\nshift 2\nexec node {entry} "$@"\n')
    yarn.chmod(0o755)
    (project / "vite.config.ts").unlink()
    return project


@pytest.mark.parametrize("lay_out", [pnpm, hoisted_workspace, linked_project, yarn_plug_n_play])
def test_vite_is_found_wherever_a_package_manager_put_it(lay_out: object, launch: Launch, tmp_path: Path) -> None:
    assert callable(lay_out)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    ready = launch({"web": vite(lay_out(tmp_path))}, env={"PATH": path}).start()
    assert fetch(ready["url"])[0] == 200


def test_logs_and_status_tell_of_the_service(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    assert sidecar.status() == {"state": "stopped", "type": "vite", "restarts": 0}
    ready = sidecar.start()
    sidecar.printed("Local:")
    logs = sidecar.call("logs", service="web")
    assert any(ready["url"] in line["text"] for line in logs["lines"])
    assert all("\x1b" not in line["text"] for line in logs["lines"])
    assert sidecar.call("logs", service="web", tail=1)["lines"] == logs["lines"][-1:]
    assert sidecar.call("logs", service="web", tail=0)["lines"] == []
    status = sidecar.status()
    assert status.pop("uptimeMs") >= 0
    assert status.pop("logFile").endswith("web.log")
    where = {name: ready[name] for name in ("url", "host", "port", "pid")}
    assert status == {"state": "ready", "type": "vite", "restarts": 0, **where}


def test_starting_what_runs_answers_its_state_and_starts_nothing(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    ready = sidecar.start()
    again = sidecar.call("start", service="web")
    assert (again["status"]["state"], again["status"]["pid"]) == ("ready", ready["pid"])
    assert len(children_of(sidecar.pid)) == 1


def test_a_crash_before_ready_with_a_signal_is_tried_again(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    sidecar = launch({"web": vite(project)})
    call = sidecar.send("start", service="web")
    first = sidecar.chosen_port()
    await_gate(project)
    open_gate(project)
    hit(first["pid"], KILL, sidecar)
    assert sidecar.answer(call)["status"]["port"] == first["port"]
    assert len(sidecar.notes("service/restarting")) <= 1  # none if it was ready before the signal arrived
