"""What the client is told of a service."""

from __future__ import annotations

import pytest

from sidecar.config import CommandService, PortConfig, ViteService
from sidecar.events import Event, Exited, Kill, Output, Probed, Release, Spawned, Terminate
from sidecar.wire.messages import ServiceLog
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
    status = world.status()
    assert (status.type, status.url, status.host) == ("command", "http://[::1]:8000/", "::1")


def test_output_is_passed_on_as_it_comes_also_while_stopping() -> None:
    world = ready_world()
    world.prints("one", "two", stream="stderr")
    world.stop()
    world.prints("bye")
    logs = [each for each in world.told if isinstance(each, ServiceLog)]
    assert logs == [ServiceLog("web", "stderr", ("one", "two")), ServiceLog("web", "stdout", ("bye",))]


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
