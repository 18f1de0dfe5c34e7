"""Notifications about a service."""

from __future__ import annotations

import pytest

from sidecar.config.services import CommandService, PortConfig, ViteService
from sidecar.core.events import Event, Exited, Kill, Output, Probed, Release, Spawned, Terminate
from sidecar.protocol.messages import ServiceLog
from sidecar.protocol.requests import Logs
from tests.core.scenes import TCP, ready_world, starting_world, vite_world
from tests.core.world import COMMAND, VITE, World


def test_status_counts_uptime_from_ready_and_forgets_it_with_the_run() -> None:
    world = vite_world()
    assert world.status().uptime_ms is None
    world.up()
    world.now += 1.25
    assert world.status().uptime_ms == 1_250
    world.dies()
    assert world.status().uptime_ms is None


def test_status_names_the_type_and_the_address_of_ipv6_too() -> None:
    world = World({"web": {**TCP, "port": {"host": "::1"}}})
    world.start()
    world.prepared(port=8_000, host="::1")
    world.spawned()
    world.probe()
    status = world.status()
    assert (status.type, status.url, status.host) == ("command", "http://[::1]:8000/", "::1")


def test_status_has_a_url_only_while_the_service_is_ready() -> None:
    """In any other state another program may have its port: the service has lost it, or never had it."""
    world = vite_world(health={"restart": False})
    urls: list[tuple[str, str | None]] = []

    def look() -> None:
        urls.append((world.state(), world.status().url))

    world.start()
    world.prepared()
    look()
    world.spawned()
    look()
    world.probe()
    look()
    world.tick()
    world.check("foreign")
    look()
    world.tick()
    world.check("ok")
    look()
    world.dies()
    look()
    world.tick()
    world.runs()
    look()
    world.probe()
    world.stop()
    look()
    world.dies()
    look()
    url = "http://127.0.0.1:5173/"
    assert urls == [
        ("starting", None),
        ("starting", None),
        ("ready", url),
        ("unhealthy", None),
        ("ready", url),
        ("backingOff", None),
        ("starting", None),
        ("stopping", None),
        ("stopped", None),
    ]


def test_the_log_file_is_in_the_status_once_it_is_known() -> None:
    world = World({"web": COMMAND})
    assert world.status().log_file is None
    world.start()
    world.prepared(port=None, log_file="/state/web.log")
    world.spawned()
    world.stop()
    world.dies()
    assert world.status().log_file == "/state/web.log"


def test_output_is_passed_on_as_it_comes_also_while_stopping() -> None:
    world = ready_world()
    world.prints("one", "two", stream="stderr")
    world.stop()
    world.prints("bye")
    logs = [each for each in world.told if isinstance(each, ServiceLog)]
    assert logs == [
        ServiceLog("web", "stderr", ("one", "two"), seq=1),
        ServiceLog("web", "stdout", ("bye",), seq=3),
    ]


def test_lines_are_numbered_over_streams_and_runs_as_in_logs() -> None:
    world = ready_world()
    world.prints("one", "two")
    world.prints(partial="thr")
    world.prints("three", stream="stderr")
    world.dies()
    world.tick()
    world.runs()
    world.prints("four", stream="stderr")
    told = [(each.seq, each.lines) for each in world.told if isinstance(each, ServiceLog)]
    assert told == [(1, ("one", "two")), (3, ()), (3, ("three",)), (4, ("four",))]
    lines = world.result(world.call(Logs("web"))).lines
    assert [(each.seq, each.text) for each in lines] == [
        (1, "one"),
        (2, "two"),
        (3, "three"),
        (4, "four"),
        (None, "thr"),
    ]


def test_logs_gives_the_last_lines() -> None:
    world = ready_world()
    world.prints(*map(str, range(30)))
    assert world.logs(tail=3) == ["27", "28", "29"]
    assert world.logs(tail=0) == []
    assert len(world.logs(tail=10_000)) == 30


@pytest.mark.parametrize(
    "late",
    [
        Spawned("web", 1, 7),
        Exited("web", 1, 0, None),
        Probed("web", 1, 0, "ok", ""),
        Probed("web", 1, 1, "down", ""),
        Output("web", 1, "stdout", ("late",), 4),
    ],
)
def test_what_an_earlier_run_reports_late_changes_nothing(late: Event) -> None:
    world = starting_world()
    world.dies()
    world.tick()
    world.runs()
    before = world.status()
    assert world.step(late) == []
    assert world.status() == before


def test_the_port_of_a_service_is_released_once_when_it_comes_to_rest() -> None:
    world = ready_world()
    world.stop()
    world.dies()
    assert [effect for effect in world.effects if isinstance(effect, Release)] == [Release("web")]


def test_a_stop_asks_by_terminate_and_insists_by_kill() -> None:
    world = ready_world()
    world.stop()
    world.tick()
    wanted = [effect for effect in world.effects if isinstance(effect, Terminate | Kill)]
    assert wanted == [Terminate("web", "SIGTERM"), Kill("web")]


def test_the_configuration_reaches_whoever_prepares() -> None:
    world = World({"web": VITE, "api": {**COMMAND, "port": {}}})
    world.start("web")
    world.start("api")
    assert world.preparing["web"].config == ViteService()
    assert world.preparing["api"].config == CommandService(command=["serve"], port=PortConfig())
