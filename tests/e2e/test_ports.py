from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import (
    GATED,
    Sidecar,
    Thief,
    await_gate,
    copy_example,
    foreign_server,
    listens,
    open_gate,
    until,
    vite,
)
from tests.support.command import Refused
from tests.support.page import fetch

pytestmark = pytest.mark.vite


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_port_held_on_any_address_is_left_alone_and_its_holder_named(
    address: str, launch: Launch, project: Path
) -> None:
    if ":" in address and not Path("/proc/net/if_inet6").exists():
        pytest.skip("there is no IPv6 here")
    with foreign_server(address) as (stranger, port):
        sidecar = launch({"web": vite(project, port={"preferred": port})})
        ready = sidecar.start()
        assert ready["port"] != port
        [change] = sidecar.notes("service/portChanged")
        assert (change["from"], change["to"]) == (port, ready["port"])
        holder = change["holder"]
        assert holder["pid"] == stranger.pid
        assert holder["user"] == stranger.username()
        assert f"server.py {address}" in holder["command"]
        assert not holder.get("ours", False)
        assert fetch(ready["url"])[0] == 200
        sidecar.call("shutdown")


def test_a_strict_port_that_is_held_fails_at_once_and_names_the_holder(launch: Launch, project: Path) -> None:
    with foreign_server("127.0.0.1") as (stranger, port):
        sidecar = launch({"web": vite(project, port={"preferred": port, "strict": True})})
        with pytest.raises(Refused) as caught:
            sidecar.call("start", service="web")
        error = caught.value
        assert (error.code, error.kind) == (-32010, "PortUnavailable")
        assert (error.data["service"], error.data["port"]) == ("web", port)
        assert (error.data["holder"]["pid"], error.data["holder"]["user"]) == (stranger.pid, stranger.username())
        assert f"port {port} is taken by " in error.message
        assert sidecar.notes("service/portChanged") == []
    assert sidecar.start()["port"] == port


def test_a_strict_port_is_not_left_for_the_last_good_one(launch: Launch, project: Path) -> None:
    with foreign_server("127.0.0.1") as (_, port):
        with_another = launch({"web": vite(project, port={"preferred": port})})
        with_another.start()
        with_another.call("shutdown")
        strict = launch({"web": vite(project, port={"preferred": port, "strict": True})})
        with pytest.raises(Refused, match=f"port {port} is taken by "):
            strict.call("start", service="web")


def test_strict_port_stolen_before_the_bind_is_not_replaced(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    service = vite(project, restart={"limit": 0})
    service["port"]["strict"] = True
    sidecar = launch({"web": service})
    call = sidecar.send("start", service="web")
    port = sidecar.chosen_port()["port"]
    await_gate(project)
    with Thief(port):
        open_gate(project)
        with pytest.raises(Refused, match=f"port {port} is taken by ") as caught:
            sidecar.answer(call)
    assert (caught.value.kind, caught.value.data["holder"]["pid"]) == ("PortUnavailable", psutil.Process().pid)


def test_port_stolen_before_the_bind_is_chosen_again_without_a_restart(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", GATED)
    sidecar = launch({"web": vite(project, restart={"limit": 0})})
    call = sidecar.send("start", service="web")
    lost = sidecar.chosen_port()["port"]
    await_gate(project)
    with Thief(lost):
        open_gate(project)
        status = sidecar.answer(call)["status"]
        assert status["state"] == "ready"
        assert status["port"] != lost
        assert status.get("restarts", 0) == 0
        assert sidecar.notes("service/restarting") == []
        [change] = sidecar.notes("service/portChanged")
        assert (change["from"], change["to"]) == (lost, status["port"])
        assert change["holder"]["pid"] == psutil.Process().pid
        assert fetch(status["url"])[0] == 200


def test_restart_keeps_the_port_also_when_it_is_not_the_preferred_one(launch: Launch, project: Path) -> None:
    with foreign_server("127.0.0.1") as (_, port):
        sidecar = launch({"web": vite(project, port={"preferred": port, "sticky": False})})
        first = sidecar.start()
        mark = sidecar.mark()
        sidecar.call("restart", service="web")
        second = sidecar.note("service/ready", since=mark)
        assert second["port"] == first["port"]
        assert second["pid"] != first["pid"]
        assert not psutil.pid_exists(first["pid"])


def test_port_other_than_the_preferred_one_stays_with_the_project(
    launch: Launch, project: Path, tmp_path: Path
) -> None:
    with foreign_server("127.0.0.1") as (_, port):
        services = {"web": vite(project, port={"preferred": port})}
        ports = tmp_path / "app" / "state" / "ports.json"
        seen = []
        for _run in range(2):
            sidecar = launch(services)
            seen.append(sidecar.start()["port"])
            until(lambda: ports.exists() and seen[0] in json.loads(ports.read_bytes()).values(), "the memory")
            sidecar.call("shutdown")
            sidecar.process.wait()
        assert seen[0] == seen[1] != port
    other = launch({"web": vite(project, port={"preferred": port, "sticky": False})})
    assert other.start()["port"] == port


def test_a_second_sidecar_is_told_that_the_holder_is_one_of_ours(launch: Launch, project: Path, tmp_path: Path) -> None:
    service = vite(project)
    with Sidecar(tmp_path / "other app", {"web": service}) as first:
        holder = first.start()
        sidecar = launch({"web": service})
        assert sidecar.start()["port"] != holder["port"]
        named = sidecar.notes("service/portChanged")[0]["holder"]
        assert (named["pid"], named["ours"]) == (holder["pid"], True)


def test_two_services_that_want_one_port_get_two(launch: Launch, project: Path) -> None:
    service = vite(project)
    sidecar = launch({"web": service, "again": service})
    calls = [sidecar.send("start", service=name) for name in ("web", "again")]
    ports = {sidecar.answer(call)["status"]["port"] for call in calls}
    assert len(ports) == 2
    assert service["port"]["preferred"] in ports


def test_a_stopped_service_lets_its_port_go(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    port = sidecar.start()["port"]
    sidecar.call("stop", service="web")
    assert not listens(port)
    with foreign_server("127.0.0.1", port) as (_, taken):
        assert taken == port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_PortUnavailable(host: str, launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project, port={"preferred": 5173, "host": host})})
    with pytest.raises(Refused) as refused:
        sidecar.call("start", service="web")
    assert (refused.value.code, refused.value.kind) == (-32010, "PortUnavailable")
    assert host in refused.value.message


HOST_IN_CONFIG = """
export default { clearScreen: false, server: { host: %s } };
"""


@pytest.mark.parametrize("host", ["true", "'0.0.0.0'"])
def test_project_listens_on_loopback_unless_the_service_asks_for_more(
    host: str, launch: Launch, tmp_path: Path
) -> None:
    project = copy_example(tmp_path / "project", HOST_IN_CONFIG % host)
    ready = launch({"web": vite(project)}).start()
    listening = [it for it in psutil.Process(ready["pid"]).net_connections() if it.status == psutil.CONN_LISTEN]
    assert [it.laddr.ip for it in listening] == ["127.0.0.1"]
