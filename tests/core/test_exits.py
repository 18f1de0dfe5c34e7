"""What follows when a run ends by itself: another try, on the same port or a new one, or ``failed``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.core.diagnosis import LINES_IN_ERROR
from sidecar.core.runs import PORT_TRIES
from sidecar.protocol.messages import ServiceExited, ServiceRestarting
from tests.core.scenes import TAKEN, TCP, command_world, ready_world, starting_world, vite_world
from tests.core.world import World

# ── exits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "code", "state"),
    [
        ("onFailure", 0, "stopped"),
        ("onFailure", 1, "backingOff"),
        ("onFailure", None, "backingOff"),
        ("always", 0, "backingOff"),
        ("always", 1, "backingOff"),
        ("never", 0, "stopped"),
        ("never", 1, "failed"),
        ("never", None, "failed"),
    ],
)
@pytest.mark.parametrize("sick", [False, True])
def test_the_policy_decides_what_an_exit_leads_to(policy: str, code: int | None, state: str, sick: bool) -> None:
    world = ready_world(restart={"policy": policy})
    if sick:
        world.tick()
        world.check("down")
    world.prints("bye")
    world.dies(code=code)
    assert world.state() == state
    assert bool(world.ports) == (state == "backingOff")
    if state == "failed":
        how = "SIGKILL" if code is None else "exit code 1"
        error = world.status().error
        assert f"web failed: it ended with {how}" in error.message
        assert error.data == {"kind": "ServiceFailed", "service": "web", "lines": ["bye"]}


def test_an_exit_is_told_with_its_code_or_signal() -> None:
    world = ready_world()
    world.dies(code=3)
    assert world.last(ServiceExited) == ServiceExited("web", "exit code 3", 3, None, "crashed")
    world.tick()
    world.runs()
    world.dies(signal="SIGSEGV")
    assert world.last(ServiceExited) == ServiceExited("web", "SIGSEGV", None, "SIGSEGV", "crashed")


def test_who_waits_for_an_unhealthy_service_that_ends_cleanly_is_told_so() -> None:
    world = ready_world()
    world.tick()
    world.check("down")
    call = world.start()
    world.dies(code=0)
    assert "ended before it was ready" in world.error(call).message


def test_a_clean_exit_that_is_repeated_by_policy_says_why() -> None:
    world = ready_world(restart={"policy": "always", "limit": 1})
    world.dies(code=0)
    assert world.last(ServiceRestarting) == ServiceRestarting(
        "web", 1, 250, "it ended, and its policy is always", "completed"
    )
    world.tick()
    world.runs()
    world.probe()
    world.dies(code=0)
    assert "restarted once in 60 s and is given up. The last time: web ended." in world.status().error.message


def test_the_budget_ends_in_failed_with_the_last_lines() -> None:
    world = command_world(restart={"limit": 2, "windowMs": 500, "backoff": {"initialMs": 0}})
    call = world.start()
    for number in range(3):
        assert world.state() == "starting"
        world.runs(port=None)
        world.prints(f"boom {number}")
        world.dies(code=1)
    assert world.state() == "failed"
    error = world.status().error
    assert "restarted 2 times in 0.5 s and is given up" in error.message
    assert error.data["lines"] == ["boom 2"]
    assert world.result(call), "it was ready each time"


def test_each_restart_is_announced_with_its_attempt_and_delay() -> None:
    world = vite_world()
    world.start()
    for attempt, delay in [(1, 250), (2, 500), (3, 1_000)]:
        world.runs()
        world.dies(signal="SIGSEGV")
        told = world.last(ServiceRestarting)
        assert (told.attempt, told.delay_ms) == (attempt, delay)
        assert world.core.next_deadline() == world.now + delay / 1000
        assert world.status().restarts == attempt
        world.tick()
    assert world.states() == ["starting"] + ["backingOff", "starting"] * 3


def test_a_long_time_without_a_crash_starts_the_budget_afresh() -> None:
    world = ready_world(restart={"limit": 1, "windowMs": 86_400_000, "resetAfterMs": 30_000}, health={"intervalMs": 0})
    for _ in range(3):
        world.now += 30
        world.dies()
        assert world.last(ServiceRestarting).attempt == 1
        world.tick()
        world.runs()
        world.probe()
    world.now += 29.9
    world.dies()
    assert world.state() == "failed"


def test_exit_before_ready_is_retried_unless_hopeless_or_vites() -> None:
    command = {**TCP, "restart": {"limit": 3}}
    world = World({"web": command})
    world.start()
    world.runs(port=8_000)
    world.dies(code=1)
    assert world.state() == "backingOff"
    assert "before it was ready" in world.last(ServiceRestarting).reason
    world = starting_world()
    call = world.start()
    world.dies(code=1)
    assert "Vite ends like this when it cannot start at all" in world.error(call).message


def test_a_vite_that_was_killed_before_it_was_ready_is_tried_again() -> None:
    world = starting_world()
    world.dies(signal="SIGKILL")
    assert world.state() == "backingOff"


def test_a_clean_exit_before_ready_is_a_failure_all_the_same() -> None:
    world = World({"web": {**TCP, "restart": {"policy": "never"}}})
    call = world.start()
    world.runs(port=8_000)
    world.dies(code=0)
    assert "ended with exit code 0 before it was ready. Does it go into the background?" in world.error(call).message


@pytest.mark.parametrize("policy", ["always", "onFailure"])
def test_a_hopeless_exit_fails_at_once_with_advice(policy: str) -> None:
    world = World({"web": {**TCP, "restart": {"policy": policy}}})
    call = world.start()
    world.runs(port=8_000)
    world.prints("Error: Cannot find module 'express'", stream="stderr")
    world.dies(code=1)
    assert world.state() == "failed"
    assert "Install the project's packages" in world.error(call).message
    assert world.error(call).data["lines"] == ["Error: Cannot find module 'express'"]


def test_hopeless_exit_after_ready_fails_a_command_but_not_vite() -> None:
    world = command_world()
    world.up(port=None)
    world.prints("SyntaxError: nope")
    world.dies(code=1)
    assert world.state() == "failed"
    world = ready_world()
    world.prints("SyntaxError: nope")
    world.dies(code=1)
    assert world.state() == "backingOff"


def test_what_an_earlier_run_printed_says_nothing_about_this_one() -> None:
    world = command_world()
    world.start()
    world.runs(port=None)
    world.prints("Error: Cannot find module 'express'")
    world.dies(code=1)
    assert world.state() == "failed"
    world.start()
    world.runs(port=None)
    world.prints("connection to the database lost")
    world.dies(code=1)
    assert world.state() == "backingOff"
    assert world.logs() == ["Error: Cannot find module 'express'", "connection to the database lost"]


def test_a_failure_carries_the_last_lines_only() -> None:
    world = ready_world(restart={"policy": "never"})
    world.prints(*map(str, range(50)))
    world.dies(code=1)
    assert world.status().error.data["lines"] == [str(number) for number in range(50 - LINES_IN_ERROR, 50)]


# ── stolen ports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_that_was_taken_meanwhile_is_chosen_anew_outside_the_budget() -> None:
    world = starting_world(restart={"limit": 0})
    call = world.start()
    world.prints(TAKEN)
    world.dies(code=1)
    assert world.state() == "starting"
    world.runs(port=6_000)
    world.probe()
    assert world.result(call).status.port == 6_000
    assert world.status().restarts == 0


def test_a_port_that_is_always_taken_is_given_up_after_its_tries() -> None:
    world = vite_world()
    call = world.start()
    for _ in range(PORT_TRIES):
        assert world.state() == "starting"
        world.runs()
        world.prints(TAKEN)
        world.dies(code=1)
    error = world.error(call)
    assert error.data["kind"] == "PortUnavailable"
    assert error.data["port"] == 5_173
    assert f"taken by another program {PORT_TRIES} times" in error.message
    assert world.state() == "failed"
    assert world.ports == {}
    world.start()
    for _ in range(PORT_TRIES):
        world.runs()
        world.prints(TAKEN)
        world.dies(code=1)
    assert world.state() == "failed", "and each start has all its tries"


def test_port_in_use_printed_while_ready_does_not_mean_its_own_port() -> None:
    world = ready_world()
    world.prints(TAKEN)
    world.dies(code=1)
    assert world.state() == "backingOff"


def test_a_line_about_a_port_from_the_run_before_is_not_taken_for_this_ones() -> None:
    world = World({"web": TCP})
    world.start()
    world.runs(port=8_000)
    world.prints("OSError: [Errno 98] Address already in use")
    world.dies(code=1)
    assert world.state() == "starting"
    world.runs(port=8_001)
    world.dies(code=1)
    assert world.state() == "backingOff", "this one said nothing of a port"


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (0, "web may not be restarted (restart.limit is 0). This time: web failed"),
        (1, "web was restarted once in 60 s and is given up. The last time: web failed"),
        (2, "web was restarted 2 times in 60 s and is given up. The last time: web failed"),
    ],
)
def test_the_error_says_how_often_it_was_tried(limit: int, words: str) -> None:
    world = ready_world(restart={"limit": limit})
    for _restart in range(limit):
        world.dies(code=1)
        world.tick()
        world.runs()
        world.probe()
    world.dies(code=1)
    assert words in str(world.status().error)


# ── causes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _crash(world: World) -> None:
    world.dies(signal="SIGSEGV")


def _end_well(world: World) -> None:
    world.dies(code=0)


def _miss_its_checks(world: World) -> None:
    world.tick()
    world.check("down")
    world.dies()


def _be_stopped(world: World) -> None:
    world.stop()
    world.dies()


def _be_stopped_while_it_is_ended_for_its_misses(world: World) -> None:
    world.tick()
    world.check("down")
    world.stop()
    world.dies()


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (_crash, "crashed"),
        (_end_well, "completed"),
        (_miss_its_checks, "unhealthy"),
        (_be_stopped, "requested"),
        (_be_stopped_while_it_is_ended_for_its_misses, "requested"),
    ],
)
def test_an_exit_has_its_cause(end: Callable[[World], None], cause: str) -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    end(world)
    assert world.last(ServiceExited).cause == cause


def test_a_restart_has_the_cause_of_the_exit_before_it() -> None:
    world = ready_world(health={"failures": 1, "restart": True})
    _miss_its_checks(world)
    assert world.last(ServiceRestarting).cause == "unhealthy"
    world.tick()
    world.runs()
    world.probe()
    _crash(world)
    assert world.last(ServiceRestarting).cause == "crashed"


def test_a_start_that_ends_without_being_ready_has_its_cause_too() -> None:
    world = starting_world()
    world.overdue()
    world.dies()
    assert world.last(ServiceExited).cause == "timeout"
    world = starting_world()
    world.prints(TAKEN)
    world.dies(code=1)
    assert world.last(ServiceExited).cause == "portTaken"
    world.runs()
    world.dies(code=2)
    assert world.last(ServiceExited).cause == "crashed"
    assert world.state() == "failed", "a port that was lost before says nothing about this run"


def test_what_is_given_up_has_its_reason_without_the_advice() -> None:
    world = starting_world(restart={"limit": 0})
    world.dies(code=None, signal="SIGSEGV")
    assert "reason" not in world.status().error.data, "there was no advice"
    world = World({"web": {**TCP, "restart": {"limit": 0}}})
    world.start()
    world.runs()
    world.dies(code=0)
    error = world.status().error
    assert error.message.startswith(error.data["reason"])
    assert error.message.removeprefix(error.data["reason"]).startswith(" Does it go into the background?")
