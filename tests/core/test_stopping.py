"""A service is stopped, and restarted by request."""

from __future__ import annotations

import pytest

from sidecar.core.events import Spawn
from sidecar.errors import NodeNotFoundError
from sidecar.protocol.messages import ServiceExited, ServiceReady
from sidecar.protocol.requests import Restart, Start, Stop
from tests.core.scenes import ready_world, signals_of, vite_world

# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_asks_first_and_is_answered_when_the_tree_is_gone() -> None:
    world = ready_world(stop={"signal": "SIGINT"})
    call = world.stop()
    assert signals_of(world) == ["SIGINT"]
    assert call not in world.answers
    world.dies(code=0)
    status = world.result(call).status
    assert (status.state, status.pid, status.port) == ("stopped", None, None)
    assert world.last(ServiceExited) == ServiceExited("web", "stopped", 0, None, "requested")
    assert world.ports == {}


def test_a_stop_that_is_not_heeded_becomes_a_kill_after_its_time() -> None:
    world = ready_world(stop={"timeoutMs": 1_500})
    world.stop()
    assert world.core.next_deadline() == world.now + 1.5
    world.tick()
    assert signals_of(world) == ["SIGTERM", "KILL"]


@pytest.mark.parametrize("stop", [{"timeoutMs": 0}, {"signal": "SIGKILL"}])
def test_a_stop_without_patience_is_a_kill_of_the_whole_tree(stop: dict[str, object]) -> None:
    world = ready_world(stop=stop)
    world.stop()
    assert signals_of(world) == ["KILL"]


@pytest.mark.parametrize(
    ("left", "named"),
    [((7,), "but process 7 could"), ((7, 0), "but process 7, a process that is hidden from us could")],
)
def test_a_stop_that_somebody_outlives_is_refused_and_names_them(left: tuple[int, ...], named: str) -> None:
    world = ready_world()
    call = world.stop()
    world.dies(left=left)
    error = world.error(call)
    assert (error.code, error.data["kind"], error.data["pids"]) == (-32040, "SystemFailure", [7])
    assert named in error.message
    assert world.status().state == "failed"
    assert world.ports == {}
    world.up()  # it may be started all the same
    assert world.status().state == "ready"


def test_what_outlives_a_run_does_not_keep_the_next_one_from_starting() -> None:
    world = ready_world()
    call = world.restart()
    world.dies(left=(7,))
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"
    world.dies(left=(8,))
    assert world.status().state == "backingOff"


def test_stopping_what_is_stopped_answers_at_once() -> None:
    world = vite_world()
    assert world.result(world.stop()).status.state == "stopped"


def test_stopping_what_is_stopping_waits_too_and_asks_once() -> None:
    world = ready_world()
    calls = [world.stop(), world.stop()]
    assert signals_of(world) == ["SIGTERM"]
    world.dies()
    assert [world.result(call).status.state for call in calls] == ["stopped"] * 2


def test_stopping_what_has_failed_makes_it_stopped() -> None:
    world = vite_world()
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))
    assert world.result(world.stop()).status.state == "stopped"
    assert world.status().error is None


def test_stop_during_the_backoff_releases_the_port_and_refuses_waiters() -> None:
    world = ready_world()
    world.dies()
    start = world.start()
    assert world.ports
    assert world.result(world.stop()).status.state == "stopped"
    assert world.ports == {}
    assert world.error(start).data["kind"] == "Superseded"
    assert world.core.next_deadline() is None


def test_a_stop_while_the_program_is_being_found_spawns_nothing() -> None:
    world = vite_world()
    start, stop = world.start(), world.stop()
    assert world.error(start).data["kind"] == "Superseded"
    assert stop not in world.answers
    world.prepared()
    assert world.result(stop).status.state == "stopped"
    assert world.spawning == {}
    assert world.ports == {}


def test_a_stop_while_the_program_is_not_found_is_still_a_stop() -> None:
    world = vite_world()
    world.start()
    stop = world.stop()
    world.prepare_fails(NodeNotFoundError("no node"))
    assert world.result(stop).status.state == "stopped"


def test_a_stop_that_meets_a_program_just_spawned_kills_it() -> None:
    world = vite_world()
    world.start()
    world.prepared()
    stop = world.stop()
    world.spawned()
    assert signals_of(world) == ["KILL"]
    world.dies()
    assert world.result(stop).status.state == "stopped"


def test_start_stop_start_during_the_preparation_end_in_one_run() -> None:
    world = vite_world()
    first, _, last = world.start(), world.stop(), world.start()
    world.prepared()
    world.runs()
    world.probe()
    assert world.error(first).data["kind"] == "Superseded"
    assert world.result(last).status.state == "ready"
    assert len([effect for effect in world.effects if isinstance(effect, Spawn)]) == 1


def test_stop_while_a_sick_run_ends_is_not_followed_by_a_restart() -> None:
    world = ready_world(health={"failures": 1})
    world.tick()
    world.check("down")
    stop = world.stop()
    world.dies()
    assert world.result(stop).status.state == "stopped"


# ── restarting by request ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_of_what_is_stopped_is_a_start() -> None:
    world = vite_world()
    call = world.restart()
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_a_restart_of_what_has_failed_is_a_start() -> None:
    world = vite_world()
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))
    world.restart()
    assert world.state() == "starting"


def test_a_restart_of_what_is_ready_stops_it_and_starts_it_on_its_port() -> None:
    world = ready_world()
    call = world.restart()
    assert signals_of(world) == ["SIGTERM"]
    world.now += 1
    world.dies(code=0)
    assert world.preparing["web"].keep == 5173
    world.runs()
    world.now += 1
    world.probe()
    assert world.result(call).status.restarts == 0, "it was asked for"
    assert world.last(ServiceReady).elapsed_ms == 2_000, "counted from the request"


def test_a_restart_of_what_is_unhealthy_or_starting_does_the_same() -> None:
    world = ready_world()
    world.tick()
    world.check("down")
    world.restart()
    assert world.state() == "stopping"
    world = vite_world()
    start = world.start()
    world.runs()
    restart = world.restart()
    world.dies()
    world.runs()
    world.probe()
    assert world.result(start).status.state == world.result(restart).status.state == "ready"


def test_a_restart_while_stopping_starts_it_when_it_is_gone_and_answers_both() -> None:
    world = ready_world()
    stop, restart = world.stop(), world.restart()
    world.dies()
    status = world.result(stop).status
    assert (status.state, status.pid, status.port, status.url) == ("stopped", None, None, None)
    assert world.status().state == "starting"
    world.runs()
    world.probe()
    assert world.result(restart).status.state == "ready"


def test_a_restart_does_not_wait_for_the_backoff() -> None:
    world = ready_world()
    world.dies()
    world.now += 0.1
    call = world.restart()
    assert world.state() == "starting"
    world.runs()
    world.now += 0.3
    world.probe()
    assert world.result(call).status.state == "ready"
    assert world.last(ServiceReady).elapsed_ms == 300


def test_requests_without_an_id_do_the_same_and_are_not_answered() -> None:
    world = vite_world()
    world.ask(Start("web"))
    world.runs()
    world.probe()
    world.ask(Start("web"))
    world.ask(Restart("web"))
    world.ask(Stop("web"))
    world.dies()
    assert world.states() == ["starting", "ready", "stopping", "stopped"]
    assert list(world.answers) == ["initialize"]
