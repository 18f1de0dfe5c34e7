"""One service: starting, running, failing, and being stopped."""

from __future__ import annotations

import pytest

from sidecar.config import CommandService, PortConfig, TcpReady, ViteService
from sidecar.core.judgement import LINES_IN_ERROR
from sidecar.core.service import PORT_TRIES
from sidecar.errors import NodeNotFoundError, PortUnavailableError, ProcessSpawnFailedError
from sidecar.events import (
    AwaitReady,
    Event,
    Exited,
    Kill,
    Notify,
    Output,
    Prepare,
    Probed,
    Release,
    RememberPort,
    Spawn,
    Spawned,
    Terminate,
    Verdict,
)
from sidecar.wire.messages import (
    Holder,
    PortChanged,
    Restart,
    ServiceExited,
    ServiceLog,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    Start,
    Stop,
)
from tests.core.world import COMMAND, VITE, World

TCP: dict[str, object] = {**COMMAND, "port": {"preferred": 8_000}, "ready": {"type": "tcp"}}
TAKEN = "Error: Port 5173 is already in use"


def _vite(**more: object) -> World:
    return World({"web": {**VITE, **more}})


def _command(**more: object) -> World:
    return World({"web": {**COMMAND, **more}})


def _starting(**more: object) -> World:
    world = _vite(**more)
    world.start()
    world.runs()
    return world


def _ready(**more: object) -> World:
    world = _vite(**more)
    world.up()
    return world


def _signals(world: World) -> list[str]:
    return world.processes["web"].signals


# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_is_prepared_spawned_probed_and_answered_when_ready() -> None:
    world = _vite()
    call = world.start()
    assert call not in world.answers
    world.prepared()
    assert [type(effect) for effect in world.effects if not isinstance(effect, Notify)][1:] == [Prepare, Spawn]
    world.spawned()
    assert world.awaiting["web"].endpoint.port == 5173
    assert call not in world.answers
    world.now += 0.25
    world.probe()
    status = world.result(call).status
    assert (status.state, status.port, status.url, status.pid) == ("ready", 5173, "http://127.0.0.1:5173/", 101)
    ready = world.last(ServiceReady)
    assert (ready.url, ready.host, ready.port, ready.pid, ready.elapsed_ms) == (
        "http://127.0.0.1:5173/",
        "127.0.0.1",
        5173,
        101,
        250,
    )
    assert isinstance(world.effects[-1], RememberPort)


def test_the_port_is_told_as_soon_as_it_is_chosen() -> None:
    world = _vite()
    world.start()
    world.prepared(port=6_000)
    told = world.last(ServiceState)
    assert (told.state, told.port, told.pid) == ("starting", 6_000, None)


def test_a_port_that_is_not_the_wanted_one_is_told_with_its_holder() -> None:
    world = _vite()
    world.start()
    world.prepared(port=6_000, wanted=5_173, holder=Holder(pid=7, command="node"))
    assert world.last(PortChanged) == PortChanged("web", 5_173, 6_000, Holder(pid=7, command="node"))


def test_starting_what_is_ready_answers_its_state_and_does_nothing() -> None:
    world = _ready()
    before = len(world.effects)
    assert world.result(world.start()).status.state == "ready"
    assert len(world.effects) == before + 1


def test_starting_what_is_starting_joins_and_both_are_answered() -> None:
    world = _vite()
    calls = [world.start(), world.start()]
    world.runs()
    calls.append(world.start())
    world.probe()
    assert [world.result(call).status.state for call in calls] == ["ready"] * 3
    assert world.core.services["web"].run == 1


def test_starting_what_is_unhealthy_is_answered_when_it_heals() -> None:
    world = _ready()
    world.tick()
    world.check("down")
    call = world.start()
    assert call not in world.answers
    world.tick()
    world.check("ok")
    assert world.result(call).status.state == "ready"


def test_starting_what_waits_for_its_backoff_is_answered_by_the_next_run() -> None:
    world = _ready()
    world.dies()
    call = world.start()
    world.tick()
    world.runs()
    world.probe()
    assert world.result(call).status.restarts == 1


def test_starting_what_is_stopping_starts_it_again_when_it_is_gone() -> None:
    world = _ready()
    stop = world.stop()
    start = world.start()
    world.dies()
    assert world.result(stop).status.pid is None
    world.runs()
    world.probe()
    assert world.result(start).status.state == "ready"


def test_a_start_during_the_end_of_a_run_that_was_too_slow_is_a_new_start_not_the_old_failure() -> None:
    world = _starting(restart={"policy": "never"})
    world.tick()
    assert world.state() == "stopping"
    call = world.start()
    world.dies()
    assert world.state() == "starting"
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_a_restart_during_the_end_of_a_sick_run_is_a_new_start_without_a_backoff() -> None:
    world = _ready(health={"failures": 1}, restart={"policy": "never"})
    world.tick()
    world.check("down")
    call = world.restart()
    world.dies()
    assert world.state() == "starting"
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_a_program_that_is_not_found_fails_the_start_and_is_not_tried_again() -> None:
    world = _vite()
    call = world.start()
    world.prepare_fails(NodeNotFoundError("There is no node.", looked_in="PATH"))
    assert world.error(call).data == {"kind": "NodeNotFound", "looked_in": "PATH"}
    assert world.state() == "failed"
    assert world.core.next_deadline() is None
    assert world.status().error.code == NodeNotFoundError.code


def test_no_port_at_all_fails_the_start() -> None:
    world = _vite()
    call = world.start()
    world.prepare_fails(PortUnavailableError("no port"))
    assert world.error(call).code == PortUnavailableError.code
    assert world.state() == "failed"


def test_a_spawn_that_the_system_refuses_fails_the_start() -> None:
    world = _vite()
    call = world.start()
    world.prepared()
    world.spawn_fails(ProcessSpawnFailedError("no memory"))
    assert world.error(call).code == ProcessSpawnFailedError.code
    assert world.ports == {}


def test_a_failed_service_can_be_started_afresh() -> None:
    world = _vite()
    world.start()
    world.prepare_fails(NodeNotFoundError("There is no node."))
    world.up()
    assert world.status().error is None


def test_a_start_that_takes_too_long_ends_the_run_and_fails() -> None:
    world = _starting(readyTimeoutMs=2_000)
    world.prints("still compiling")
    world.probe("foreign", detail="node (pid 7)")
    call = world.start()
    world.now += 1.999
    assert world.core.next_deadline() == pytest.approx(world.now + 0.001)
    world.tick()
    assert world.state() == "stopping"
    assert call not in world.answers, "its tree is not gone yet"
    world.dies(signal="SIGTERM")
    error = world.error(call)
    assert error.data["kind"] == "TimeoutWaitingForServer"
    assert error.data["lines"] == ["still compiling"]
    assert "on http://127.0.0.1:5173/ within 2 s" in error.message
    assert "Somebody else answers there: node (pid 7)" in error.message
    assert world.state() == "failed"


def test_a_service_without_a_port_that_is_too_slow_says_so_without_an_address() -> None:
    world = _command(ready={"type": "log", "pattern": "listening"})
    call = world.start()
    world.runs(port=None)
    world.tick()
    world.dies()
    assert "was not ready within 30 s" in world.error(call).message


def test_a_foreign_answer_or_nobodys_is_never_ready() -> None:
    world = _starting()
    for verdict in ("foreign", "down", "unknown"):
        world.probe(verdict)
        assert world.state() == "starting"
    world.probe("ok")
    assert world.state() == "ready"


# ── ready, in each of its ways ────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_without_readiness_is_ready_once_it_runs() -> None:
    world = _command()
    call = world.start()
    world.prepared(port=None)
    world.spawned()
    assert world.result(call).status.state == "ready"
    ready = world.last(ServiceReady)
    assert (ready.url, ready.host, ready.port) == (None, None, None)
    assert not [effect for effect in world.effects if isinstance(effect, RememberPort | AwaitReady)]


def test_a_log_service_is_ready_once_a_line_matches() -> None:
    world = _command(ready={"type": "log", "pattern": r"listening on \d+"})
    call = world.start()
    world.runs(port=None)
    world.prints("listening soon")
    assert world.state() == "starting"
    world.prints("ok", "\x1b[1mlistening on 80\x1b[0m", stream="stderr")
    assert world.result(call).status.state == "ready"
    world.prints("listening on 80")
    assert world.states() == ["starting", "ready"]


def test_a_line_of_an_earlier_run_does_not_make_the_next_one_ready() -> None:
    world = _command(ready={"type": "log", "pattern": "listening"})
    world.start()
    world.runs(port=None)
    world.prints("listening")
    world.dies()
    world.tick()
    world.runs(port=None)
    world.step(Output("web", 1, "stdout", ("listening",)))
    assert world.state() == "starting"
    assert world.logs() == ["listening", "listening"], "late lines are kept all the same"


def test_a_delay_service_is_ready_after_its_time() -> None:
    world = _command(ready={"type": "delay", "ms": 1_500})
    call = world.start()
    world.runs(port=None)
    world.wait(1.499)
    assert call not in world.answers
    world.tick()
    assert world.last(ServiceReady).elapsed_ms == 1_500


@pytest.mark.parametrize("ms", [30_000, 45_000])
def test_a_delay_as_long_as_the_ready_timeout_or_longer_is_no_failure(ms: int) -> None:
    world = _command(ready={"type": "delay", "ms": ms})
    call = world.start()
    world.runs(port=None)
    world.tick()
    assert world.result(call).status.state == "ready"


def test_a_tcp_service_is_probed_at_its_endpoint() -> None:
    world = World({"web": TCP})
    world.start()
    world.runs(port=8_000)
    assert isinstance(world.awaiting["web"].probe, TcpReady)


def test_a_probe_without_an_endpoint_is_bounded_all_the_same() -> None:
    world = _vite()
    world.start()
    world.runs(port=None)
    assert world.awaiting == {}
    world.tick()
    assert world.state() == "stopping"


def test_only_what_can_be_probed_is_watched() -> None:
    world = _command()
    world.up(port=None)
    world.tick()
    assert world.checks == {}
    assert world.core.next_deadline() is None
    world = _ready(health={"intervalMs": 0})
    assert world.core.next_deadline() is None


# ── health ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ready_service_is_checked_every_interval_and_never_twice_at_once() -> None:
    world = _ready(health={"intervalMs": 5_000, "timeoutMs": 700})
    assert world.core.next_deadline() == world.now + 5
    world.tick()
    assert world.checks["web"].timeout_ms == 700
    assert world.core.next_deadline() is None, "one is out"
    world.now += 0.5
    world.check("ok")
    assert world.core.next_deadline() == world.now + 5


def test_a_miss_makes_it_unhealthy_and_a_success_heals_it() -> None:
    world = _ready(health={"failures": 2})
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
    world = _ready(health={"failures": 3})
    for _ in range(3):
        assert world.state() in ("ready", "unhealthy")
        world.tick()
        world.check(verdict)
    assert world.state() == "stopping"
    assert _signals(world) == ["SIGTERM"]
    world.dies(signal="SIGTERM")
    assert "failed 3 health checks in a row (no answer)" in world.last(ServiceRestarting).reason
    world.tick()
    assert world.preparing["web"].keep == 5173
    assert [each.state for each in world.told if isinstance(each, ServiceState)].count("unhealthy") == 1


def test_a_fault_on_our_side_says_nothing_about_the_service() -> None:
    world = _ready(health={"failures": 1})
    for _ in range(5):
        world.tick()
        world.check("unknown")
    assert world.state() == "ready"
    world = _ready(health={"failures": 2})
    world.tick()
    world.check("down")
    world.tick()
    world.check("unknown")
    assert world.state() == "unhealthy", "nor does it heal"
    world.tick()
    world.check("down")
    assert world.state() == "stopping", "nor is it a success between two misses"


def test_a_health_result_that_comes_too_late_is_not_counted() -> None:
    world = _ready(health={"failures": 1})
    world.tick()
    check = world.checks["web"]
    world.stop()
    world.step(Probed("web", check.run, check.turn, "down", ""))
    assert world.state() == "stopping"
    world.dies()
    assert world.states()[-1] == "stopped"


def test_a_health_check_that_was_out_while_the_machine_slept_is_not_counted() -> None:
    world = _ready(health={"failures": 1})
    world.tick()
    check = world.checks["web"]
    world.check("ok")
    world.now += 3_600
    world.step(Probed("web", check.run, check.turn, "down", ""))
    assert world.state() == "ready"


def test_a_sleeping_machine_neither_misses_a_check_nor_checks_in_a_hurry() -> None:
    world = _ready(health={"failures": 1})
    world.tick(late=3_600)
    assert world.checks == {}, "the network of a waking machine is not up yet"
    assert world.core.next_deadline() == world.now + 5
    assert world.state() == "ready"


def test_misses_from_before_the_sleep_are_forgiven() -> None:
    world = _ready(health={"failures": 2})
    world.tick()
    world.check("down")
    world.tick(late=3_600)
    world.tick()
    world.check("down")
    assert world.state() == "unhealthy"


def test_a_sleeping_machine_does_not_fail_a_start() -> None:
    world = _starting(readyTimeoutMs=30_000)
    world.now += 10
    world.prints("compiling")
    world.tick(late=3_600)
    assert world.state() == "starting"
    assert world.core.next_deadline() == world.now + 20, "it still has all the time that it had when we last looked"
    world.tick()
    assert world.state() == "stopping"


def test_a_tick_that_is_only_a_little_late_is_no_sleep() -> None:
    world = _starting()
    world.tick(late=2.4)
    assert world.state() == "stopping"


def test_a_sleeping_machine_does_not_shorten_a_graceful_stop() -> None:
    world = _ready(stop={"timeoutMs": 5_000})
    world.stop()
    world.tick(late=3_600)
    assert _signals(world) == ["SIGTERM"]
    world.tick()
    assert _signals(world) == ["SIGTERM", "KILL"]


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_asks_first_and_is_answered_when_the_tree_is_gone() -> None:
    world = _ready(stop={"signal": "SIGINT"})
    call = world.stop()
    assert _signals(world) == ["SIGINT"]
    assert call not in world.answers
    world.dies(code=0)
    status = world.result(call).status
    assert (status.state, status.pid, status.port) == ("stopped", None, None)
    assert world.last(ServiceExited) == ServiceExited("web", "stopped", 0, None)
    assert world.ports == {}


def test_a_stop_that_is_not_heeded_becomes_a_kill_after_its_time() -> None:
    world = _ready(stop={"timeoutMs": 1_500})
    world.stop()
    assert world.core.next_deadline() == world.now + 1.5
    world.tick()
    assert _signals(world) == ["SIGTERM", "KILL"]


@pytest.mark.parametrize("stop", [{"timeoutMs": 0}, {"signal": "SIGKILL"}])
def test_a_stop_without_patience_is_a_kill_of_the_whole_tree(stop: dict[str, object]) -> None:
    world = _ready(stop=stop)
    world.stop()
    assert _signals(world) == ["KILL"]


def test_stopping_what_is_stopped_answers_at_once() -> None:
    world = _vite()
    assert world.result(world.stop()).status.state == "stopped"


def test_stopping_what_is_stopping_waits_too_and_asks_once() -> None:
    world = _ready()
    calls = [world.stop(), world.stop()]
    assert _signals(world) == ["SIGTERM"]
    world.dies()
    assert [world.result(call).status.state for call in calls] == ["stopped"] * 2


def test_stopping_what_has_failed_makes_it_stopped() -> None:
    world = _vite()
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))
    assert world.result(world.stop()).status.state == "stopped"
    assert world.status().error is None


def test_stopping_what_waits_for_its_backoff_releases_its_port_and_refuses_who_waits() -> None:
    world = _ready()
    world.dies()
    start = world.start()
    assert world.ports
    assert world.result(world.stop()).status.state == "stopped"
    assert world.ports == {}
    assert world.error(start).data["kind"] == "Superseded"
    assert world.core.next_deadline() is None


def test_a_stop_while_the_program_is_being_found_spawns_nothing() -> None:
    world = _vite()
    start, stop = world.start(), world.stop()
    assert world.error(start).data["kind"] == "Superseded"
    assert stop not in world.answers
    world.prepared()
    assert world.result(stop).status.state == "stopped"
    assert world.spawning == {}
    assert world.ports == {}


def test_a_stop_while_the_program_is_not_found_is_still_a_stop() -> None:
    world = _vite()
    world.start()
    stop = world.stop()
    world.prepare_fails(NodeNotFoundError("no node"))
    assert world.result(stop).status.state == "stopped"


def test_a_stop_that_meets_a_program_just_spawned_kills_it() -> None:
    world = _vite()
    world.start()
    world.prepared()
    stop = world.stop()
    world.spawned()
    assert _signals(world) == ["KILL"]
    world.dies()
    assert world.result(stop).status.state == "stopped"


def test_a_start_a_stop_and_a_start_while_the_program_is_being_found_end_in_one_run() -> None:
    world = _vite()
    first, _, last = world.start(), world.stop(), world.start()
    world.prepared()
    world.runs()
    world.probe()
    assert world.error(first).data["kind"] == "Superseded"
    assert world.result(last).status.state == "ready"
    assert len([effect for effect in world.effects if isinstance(effect, Spawn)]) == 1


def test_a_stop_during_the_end_of_a_sick_run_ends_in_stopped_not_in_a_restart() -> None:
    world = _ready(health={"failures": 1})
    world.tick()
    world.check("down")
    stop = world.stop()
    world.dies()
    assert world.result(stop).status.state == "stopped"


# ── restarting by request ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_of_what_is_stopped_is_a_start() -> None:
    world = _vite()
    call = world.restart()
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_a_restart_of_what_has_failed_is_a_start() -> None:
    world = _vite()
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))
    world.restart()
    assert world.state() == "starting"


def test_a_restart_of_what_is_ready_stops_it_and_starts_it_on_its_port() -> None:
    world = _ready()
    call = world.restart()
    assert _signals(world) == ["SIGTERM"]
    world.now += 1
    world.dies(code=0)
    assert world.preparing["web"].keep == 5173
    world.runs()
    world.now += 1
    world.probe()
    assert world.result(call).status.restarts == 0, "it was asked for"
    assert world.last(ServiceReady).elapsed_ms == 2_000, "counted from the request"


def test_a_restart_of_what_is_unhealthy_or_starting_does_the_same() -> None:
    world = _ready()
    world.tick()
    world.check("down")
    world.restart()
    assert world.state() == "stopping"
    world = _vite()
    start = world.start()
    world.runs()
    restart = world.restart()
    world.dies()
    world.runs()
    world.probe()
    assert world.result(start).status.state == world.result(restart).status.state == "ready"


def test_a_restart_while_stopping_starts_it_when_it_is_gone_and_answers_both() -> None:
    world = _ready()
    stop, restart = world.stop(), world.restart()
    world.dies()
    assert world.result(stop)
    world.runs()
    world.probe()
    assert world.result(restart).status.state == "ready"


def test_a_restart_does_not_wait_for_the_backoff() -> None:
    world = _ready()
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
    world = _vite()
    world.ask(Start("web"))
    world.runs()
    world.probe()
    world.ask(Start("web"))
    world.ask(Restart("web"))
    world.ask(Stop("web"))
    world.dies()
    assert world.states() == ["starting", "ready", "stopping", "stopped"]
    assert list(world.answers) == ["initialize"]


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
    world = _ready(restart={"policy": policy})
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
    world = _ready()
    world.dies(code=3)
    assert world.last(ServiceExited) == ServiceExited("web", "exit code 3", 3, None)
    world.tick()
    world.runs()
    world.dies(signal="SIGSEGV")
    assert world.last(ServiceExited) == ServiceExited("web", "SIGSEGV", None, "SIGSEGV")


def test_who_waits_for_an_unhealthy_service_that_ends_cleanly_is_told_so() -> None:
    world = _ready()
    world.tick()
    world.check("down")
    call = world.start()
    world.dies(code=0)
    assert "ended before it was ready" in world.error(call).message


def test_a_clean_exit_that_is_repeated_by_policy_says_why() -> None:
    world = _ready(restart={"policy": "always", "limit": 1})
    world.dies(code=0)
    assert world.last(ServiceRestarting) == ServiceRestarting("web", 1, 250, "it ended, and its policy is always")
    world.tick()
    world.runs()
    world.probe()
    world.dies(code=0)
    assert "restarted 1 times in 60 s and is given up. The last time: web ended." in world.status().error.message


def test_the_budget_ends_in_failed_with_the_last_lines() -> None:
    world = _command(restart={"limit": 2, "windowMs": 500, "backoff": {"initialMs": 0}})
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
    world = _vite()
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
    world = _ready(restart={"limit": 1, "windowMs": 86_400_000, "resetAfterMs": 30_000}, health={"intervalMs": 0})
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


def test_an_exit_before_ready_that_is_not_hopeless_is_tried_again_but_not_for_vite() -> None:
    command = {**TCP, "restart": {"limit": 3}}
    world = World({"web": command})
    world.start()
    world.runs(port=8_000)
    world.dies(code=1)
    assert world.state() == "backingOff"
    assert "before it was ready" in world.last(ServiceRestarting).reason
    world = _starting()
    call = world.start()
    world.dies(code=1)
    assert "Vite ends so when it cannot start at all" in world.error(call).message


def test_a_vite_that_was_killed_before_it_was_ready_is_tried_again() -> None:
    world = _starting()
    world.dies(signal="SIGKILL")
    assert world.state() == "backingOff"


def test_a_clean_exit_before_ready_is_a_failure_all_the_same() -> None:
    world = World({"web": {**TCP, "restart": {"policy": "never"}}})
    call = world.start()
    world.runs(port=8_000)
    world.dies(code=0)
    assert "ended with exit code 0 before it was ready" in world.error(call).message


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


def test_a_command_that_was_ready_and_ends_hopelessly_fails_but_vite_may_recover() -> None:
    world = _command()
    world.up(port=None)
    world.prints("SyntaxError: nope")
    world.dies(code=1)
    assert world.state() == "failed"
    world = _ready()
    world.prints("SyntaxError: nope")
    world.dies(code=1)
    assert world.state() == "backingOff"


def test_what_an_earlier_run_printed_says_nothing_about_this_one() -> None:
    world = _command()
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
    world = _ready(restart={"policy": "never"})
    world.prints(*map(str, range(50)))
    world.dies(code=1)
    assert world.status().error.data["lines"] == [str(number) for number in range(50 - LINES_IN_ERROR, 50)]


# ── stolen ports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_that_was_taken_meanwhile_is_chosen_anew_outside_the_budget() -> None:
    world = _starting(restart={"limit": 0})
    call = world.start()
    world.prints(TAKEN)
    world.dies(code=1)
    assert world.state() == "starting"
    world.runs(port=6_000)
    world.probe()
    assert world.result(call).status.port == 6_000
    assert world.status().restarts == 0


def test_a_port_that_is_always_taken_is_given_up_after_its_tries() -> None:
    world = _vite()
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


def test_a_program_that_is_ready_and_talks_of_a_port_in_use_has_not_lost_its_own() -> None:
    world = _ready()
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


# ── what is told of it ────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_counts_uptime_from_ready_and_forgets_it_with_the_run() -> None:
    world = _vite()
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
    world = _ready()
    world.prints("one", "two", stream="stderr")
    world.stop()
    world.prints("bye")
    logs = [each for each in world.told if isinstance(each, ServiceLog)]
    assert logs == [ServiceLog("web", "stderr", ("one", "two")), ServiceLog("web", "stdout", ("bye",))]


def test_logs_gives_the_last_lines() -> None:
    world = _ready()
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
        Output("web", 1, "stdout", ("late",)),
    ],
)
def test_what_an_earlier_run_reports_late_changes_nothing(late: Event) -> None:
    world = _starting()
    world.dies()
    world.tick()
    world.runs()
    before = world.status()
    assert world.step(late) == []
    assert world.status() == before


def test_the_port_of_a_service_is_released_once_when_it_comes_to_rest() -> None:
    world = _ready()
    world.stop()
    world.dies()
    assert [effect for effect in world.effects if isinstance(effect, Release)] == [Release("web")]


def test_a_stop_asks_by_terminate_and_insists_by_kill() -> None:
    world = _ready()
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
