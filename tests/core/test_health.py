"""Health checks of a ready service: what a missed check, a suspend and a lost network lead to."""

from __future__ import annotations

import pytest

from sidecar.core.events import Probed, Verdict
from sidecar.protocol.messages import ServiceRestarting, ServiceState
from tests.core.scenes import ready_world, signals_of, starting_world


def test_a_ready_service_is_checked_every_interval_and_never_twice_at_once() -> None:
    world = ready_world(health={"intervalMs": 5_000, "timeoutMs": 700})
    assert world.core.next_deadline() == world.now + 5
    world.tick()
    assert world.checks["web"].timeout_ms == 700
    assert world.core.next_deadline() is None, "one is out"
    world.now += 0.5
    world.check("ok")
    assert world.core.next_deadline() == world.now + 5


def test_a_miss_makes_it_unhealthy_and_a_success_heals_it() -> None:
    world = ready_world(health={"failures": 2})
    world.tick()
    world.check("down")
    assert world.state() == "unhealthy"
    world.tick()
    world.check("ok")
    assert world.state() == "ready"
    world.tick()
    world.check("down")
    assert world.state() == "unhealthy", "the count starts afresh after a success"
    assert world.states() == ["starting", "ready", "unhealthy", "ready", "unhealthy"]


@pytest.mark.parametrize("verdict", ["down", "foreign"])
def test_misses_in_a_row_end_the_run_and_restart_it_on_the_same_port(verdict: Verdict) -> None:
    world = ready_world(health={"failures": 3, "restart": True})
    for _ in range(3):
        assert world.state() in ("ready", "unhealthy")
        world.tick()
        world.check(verdict)
    assert world.state() == "stopping"
    assert signals_of(world) == ["SIGTERM"]
    world.dies(signal="SIGTERM")
    assert "failed 3 health checks in a row (no answer)" in world.last(ServiceRestarting).reason
    world.tick()
    assert world.preparing["web"].keep == 5173
    assert [each.state for each in world.told if isinstance(each, ServiceState)].count("unhealthy") == 1


def test_a_miss_tells_what_it_saw_and_leaves_the_service_alone() -> None:
    world = ready_world(health={"failures": 1})
    for _ in range(5):
        world.tick()
        world.check("down", detail="no answer within 5 s")
    told = world.last(ServiceState)
    assert (told.state, told.detail) == ("unhealthy", "no answer within 5 s")
    assert world.status().detail == "no answer within 5 s"
    assert signals_of(world) == []
    world.tick()
    world.check("ok")
    assert world.last(ServiceState).detail is None
    assert world.status().detail is None


def test_an_unhealthy_program_that_ends_is_restarted_as_ever() -> None:
    world = ready_world()
    world.tick()
    world.check("down")
    world.dies()
    told = world.last(ServiceState)
    assert (told.state, told.detail) == ("backingOff", None)


def test_a_fault_on_our_side_says_nothing_about_the_service() -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    for _ in range(5):
        world.tick()
        world.check("unknown")
    assert world.state() == "ready"
    world = ready_world(health={"failures": 2, "restart": True})
    world.tick()
    world.check("down")
    world.tick()
    world.check("unknown")
    assert world.state() == "unhealthy", "nor does it heal"
    world.tick()
    world.check("down")
    assert world.state() == "stopping", "nor is it a success between two misses"


def test_a_health_result_that_comes_too_late_is_not_counted() -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    world.tick()
    check = world.checks["web"]
    world.stop()
    world.step(Probed("web", check.run, check.turn, "down", ""))
    assert world.state() == "stopping"
    world.dies()
    assert world.states()[-1] == "stopped"


def test_a_health_check_that_was_out_while_the_machine_slept_is_not_counted() -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    world.tick()
    check = world.checks["web"]
    world.check("ok")
    world.now += 3_600
    world.step(Probed("web", check.run, check.turn, "down", ""))
    assert world.state() == "ready"


def test_a_sleeping_machine_neither_misses_a_check_nor_checks_in_a_hurry() -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    world.tick(late=3_600)
    assert world.checks == {}, "the network of a waking machine is not up yet"
    assert world.core.next_deadline() == world.now + 5
    assert world.state() == "ready"


def test_misses_from_before_the_sleep_are_forgiven() -> None:
    world = ready_world(health={"failures": 2})
    world.tick()
    world.check("down")
    world.tick(late=3_600)
    world.tick()
    world.check("down")
    assert world.state() == "unhealthy"


def test_a_sleeping_machine_does_not_fail_a_start() -> None:
    world = starting_world(readyTimeoutMs=30_000)
    world.wait(10)
    world.finds()
    slept_at = world.now
    world.tick(late=3_600)
    assert world.state() == "starting"
    slept = world.now - slept_at
    world.overdue()
    assert world.now - slept_at - slept == pytest.approx(20), "it had all the time left that it had when we last looked"


def test_a_tick_that_is_only_a_little_late_is_no_sleep() -> None:
    world = starting_world(readyTimeoutMs=1_000)
    world.tick(late=2.4)
    assert "web" in world.finding
    world.finds()
    assert world.state() == "stopping"


def test_a_sleeping_machine_does_not_shorten_a_graceful_stop() -> None:
    world = ready_world(stop={"timeoutMs": 5_000})
    world.stop()
    world.tick(late=3_600)
    assert signals_of(world) == ["SIGTERM"]
    world.tick()
    assert signals_of(world) == ["SIGTERM", "KILL"]
