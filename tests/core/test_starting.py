"""How a service comes up: prepared, spawned, probed, and ready in each of its ways."""

from __future__ import annotations

import pytest

from sidecar.config.services import TcpReady
from sidecar.core.events import Address, AwaitReady, Notify, Output, Prepare, Probed, RememberPort, Spawn
from sidecar.errors import NodeNotFoundError, PortUnavailableError, ProcessSpawnFailedError
from sidecar.protocol.messages import (
    Holder,
    PortChanged,
    ServiceExited,
    ServiceReady,
    ServiceState,
    ServiceWaiting,
    SupervisorFault,
)
from tests.core.scenes import TCP, command_world, ready_world, starting_world, vite_world
from tests.core.world import World

# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_is_prepared_spawned_probed_and_answered_when_ready() -> None:
    world = vite_world()
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
    world = vite_world()
    world.start()
    world.prepared(port=6_000)
    told = world.last(ServiceState)
    assert (told.state, told.port, told.pid) == ("starting", 6_000, None)


def test_a_port_that_is_not_the_wanted_one_is_told_with_its_holder() -> None:
    world = vite_world()
    world.start()
    world.prepared(port=6_000, wanted=5_173, holder=Holder(pid=7, command="node"))
    assert world.last(PortChanged) == PortChanged("web", 5_173, 6_000, Holder(pid=7, command="node"))


def test_starting_what_is_ready_answers_its_state_and_does_nothing() -> None:
    world = ready_world()
    before = len(world.effects)
    assert world.result(world.start()).status.state == "ready"
    assert len(world.effects) == before + 1


def test_starting_what_is_starting_joins_and_both_are_answered() -> None:
    world = vite_world()
    calls = [world.start(), world.start()]
    world.runs()
    calls.append(world.start())
    world.probe()
    assert [world.result(call).status.state for call in calls] == ["ready"] * 3
    assert world.core.services["web"].run == 1


def test_starting_what_is_unhealthy_is_answered_when_it_heals() -> None:
    world = ready_world()
    world.tick()
    world.check("down")
    call = world.start()
    assert call not in world.answers
    world.tick()
    world.check("ok")
    assert world.result(call).status.state == "ready"


def test_starting_what_waits_for_its_backoff_is_answered_by_the_next_run() -> None:
    world = ready_world()
    world.dies()
    call = world.start()
    world.tick()
    world.runs()
    world.probe()
    assert world.result(call).status.restarts == 1


def test_starting_what_is_stopping_starts_it_again_when_it_is_gone() -> None:
    world = ready_world()
    stop = world.stop()
    start = world.start()
    world.dies()
    assert world.result(stop).status.pid is None
    world.runs()
    world.probe()
    assert world.result(start).status.state == "ready"


def test_start_while_a_too_slow_run_ends_is_a_new_start() -> None:
    world = starting_world(restart={"policy": "never"})
    world.overdue()
    assert world.state() == "stopping"
    call = world.start()
    world.dies()
    assert world.state() == "starting"
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_restart_while_a_sick_run_ends_is_a_new_start_without_backoff() -> None:
    world = ready_world(health={"failures": 1, "restart": True}, restart={"policy": "never"})
    world.tick()
    world.check("down")
    call = world.restart()
    world.dies()
    assert world.state() == "starting"
    world.runs()
    world.probe()
    assert world.result(call).status.state == "ready"


def test_a_program_that_is_not_found_fails_the_start_and_is_not_tried_again() -> None:
    world = vite_world()
    call = world.start()
    world.prepare_fails(NodeNotFoundError("There is no node.", looked_in="PATH"))
    assert world.error(call).data == {"kind": "NodeNotFound", "looked_in": "PATH"}
    assert world.state() == "failed"
    assert world.core.next_deadline() is None
    assert world.status().error.code == NodeNotFoundError.code


def test_no_port_at_all_fails_the_start() -> None:
    world = vite_world()
    call = world.start()
    world.prepare_fails(PortUnavailableError("no port"))
    assert world.error(call).code == PortUnavailableError.code
    assert world.state() == "failed"


def test_a_spawn_that_the_system_refuses_fails_the_start() -> None:
    world = vite_world()
    call = world.start()
    world.prepared()
    world.spawn_fails(ProcessSpawnFailedError("no memory"))
    assert world.error(call).code == ProcessSpawnFailedError.code
    assert world.ports == {}


def test_a_failed_service_can_be_started_afresh() -> None:
    world = vite_world()
    world.start()
    world.prepare_fails(NodeNotFoundError("There is no node."))
    world.up()
    assert world.status().error is None


def test_a_start_that_takes_too_long_ends_the_run_and_fails() -> None:
    world = starting_world(readyTimeoutMs=1_500)
    world.prints("still compiling")
    world.probe("foreign", detail="127.0.0.1:5173 is answered by a process that this service did not start")
    call = world.start()
    world.now += 1.499
    assert world.core.next_deadline() == pytest.approx(world.now + 0.001)
    world.tick()
    assert world.state() == "starting", "first it is looked where it listens"
    world.finds(("::1", 41_901), ("127.0.0.1", 38_123))
    assert world.state() == "stopping"
    assert call not in world.answers, "its tree is not gone yet"
    world.dies(signal="SIGTERM")
    error = world.error(call)
    assert error.data["kind"] == "TimeoutWaitingForServer"
    assert error.data["lines"] == ["still compiling"]
    assert "on http://127.0.0.1:5173/ within 1.5 s" in error.message
    assert "127.0.0.1:5173 is answered by a process that this service did not start" in error.message
    assert "it listens on [::1]:41901, 127.0.0.1:38123; it was told 5173" in error.message
    assert world.state() == "failed"


def test_start_that_becomes_ready_during_the_socket_check_is_ready() -> None:
    world = starting_world(readyTimeoutMs=1_000)
    world.tick()
    world.probe()
    assert world.state() == "ready"
    world.finds()
    assert world.state() == "ready"


def test_too_slow_service_without_a_port_is_told_without_an_address() -> None:
    world = command_world(ready={"type": "log", "pattern": "listening"})
    call = world.start()
    world.runs(port=None)
    world.overdue()
    world.dies()
    message = world.error(call).message
    assert "was not ready within 120 s: no line of its output has matched 'listening' yet" in message


def test_a_slow_start_is_told_of_with_what_was_found_so_far() -> None:
    world = starting_world()
    world.probe("down", detail="127.0.0.1:5173: connection refused", reached=False)
    began = world.now
    told = []
    for after, places in ((2, ()), (10, (("127.0.0.1", 4_000),)), (30, (("127.0.0.1", 5_173),))):
        world.wait(began + after - world.now)
        world.finds(*places)
        told.append(world.last(ServiceWaiting))
    assert [(it.elapsed_ms, it.detail) for it in told] == [
        (2_000, "it listens nowhere yet"),
        (10_000, "it listens on 127.0.0.1:4000; it was told 5173"),
        (30_000, "it takes connections, but has not answered yet"),
    ]
    world.wait(60)
    assert world.finding == {}, "that is enough"


@pytest.mark.parametrize(
    ("told", "listening", "detail"),
    [
        ("127.0.0.1", "0.0.0.0", "it takes connections, but has not answered yet"),
        ("127.0.0.1", "::1", "it takes connections, but has not answered yet"),
        ("0.0.0.0", "127.0.0.1", "it takes connections, but has not answered yet"),
        ("app.test", "10.0.0.7", "it takes connections, but has not answered yet"),
        ("127.0.0.1", "10.0.0.7", "it listens on 10.0.0.7:5173; it was told 127.0.0.1:5173"),
        ("10.0.0.7", "::1", "it listens on [::1]:5173; it was told 10.0.0.7:5173"),
    ],
)
def test_a_refusal_is_not_told_of_a_server_that_listens_where_it_is_asked(
    told: str, listening: str, detail: str
) -> None:
    world = vite_world()
    world.start()
    world.prepared(host=told)
    world.spawned()
    world.probe("down", detail="connection refused", reached=False)
    world.tick()
    world.finds((listening, 5_173))
    assert world.last(ServiceWaiting).detail == detail


def test_where_sockets_cannot_be_read_the_last_answer_is_told() -> None:
    world = command_world(port={}, ready={"type": "http", "path": "/health"})
    world.start()
    world.runs(port=8_000)
    world.tick()
    world.finds(blind=True)
    assert world.last(ServiceWaiting).detail == "it has not been asked yet"
    world.probe("down", detail="/health is answered with 503")
    world.tick()
    world.finds(blind=True)
    assert world.last(ServiceWaiting).detail == "/health is answered with 503"


def test_a_log_service_with_a_port_is_told_where_it_listens_too() -> None:
    world = command_world(port={}, ready={"type": "log", "pattern": "up"})
    world.start()
    world.runs(port=8_000)
    world.tick()
    world.finds(("127.0.0.1", 80))
    told = "no line of its output has matched 'up' yet; it listens on 127.0.0.1:80; it was told 8000"
    assert world.last(ServiceWaiting).detail == told


def test_what_is_found_after_the_start_is_over_is_not_told() -> None:
    world = starting_world()
    world.tick()
    world.stop()
    world.finds()
    assert not [each for each in world.told if isinstance(each, ServiceWaiting)]


def test_a_ready_timeout_of_zero_sets_no_limit() -> None:
    world = starting_world(readyTimeoutMs=0)
    world.wait(86_400)
    assert world.state() == "starting"
    world.probe()
    assert world.state() == "ready"


def test_the_address_of_a_server_has_its_scheme_its_base_and_its_loopback() -> None:
    world = starting_world()
    world.probe(address=Address("http", "::1", "/app/"))
    ready = world.last(ServiceReady)
    assert (ready.url, ready.host) == ("http://[::1]:5173/app/", "::1")
    assert world.status().url == "http://[::1]:5173/app/"


def test_a_base_that_the_server_has_printed_is_told() -> None:
    world = starting_world()
    world.prints("  ➜  Local:   http://127.0.0.1:5173/docs/")
    world.probe()
    assert world.last(ServiceReady).url == "http://127.0.0.1:5173/docs/"


def test_a_server_that_answers_and_has_printed_its_address_is_ready_at_once() -> None:
    world = starting_world()
    world.prints("  ➜  Local:   http://127.0.0.1:5173/docs/")
    world.probe(address=Address(base=None))
    assert world.last(ServiceReady).url == "http://127.0.0.1:5173/docs/"


def test_silent_server_is_ready_once_its_page_has_told_the_base() -> None:
    world = starting_world()
    waiting = world.awaiting["web"]
    world.probe(address=Address(base=None))
    assert world.state() == "starting"
    world.step(Probed("web", waiting.run, 0, "ok", "", Address(base="/app/")))
    assert world.last(ServiceReady).url == "http://127.0.0.1:5173/app/"


def test_a_server_that_speaks_tls_is_ready_when_it_has_printed_its_address() -> None:
    world = starting_world()
    world.probe(address=Address("https", base=None))
    assert world.state() == "starting"
    world.prints("  ➜  Local:   https://127.0.0.1:5173/app/")
    assert world.last(ServiceReady).url == "https://127.0.0.1:5173/app/"
    world.prints("  ➜  Local:   https://127.0.0.1:5173/other/")
    assert world.status().url == "https://127.0.0.1:5173/app/"


def test_a_server_that_speaks_tls_and_prints_nothing_is_ready_all_the_same() -> None:
    world = starting_world()
    world.probe(address=Address("https", base=None))
    world.tick()
    assert world.last(ServiceReady).url == "https://127.0.0.1:5173/"


def test_a_server_that_answers_in_the_last_moment_is_ready() -> None:
    world = starting_world(readyTimeoutMs=1_500)
    world.wait(1.4)
    world.probe(address=Address("https", base=None))
    world.tick()
    assert world.last(ServiceReady).elapsed_ms == 1_500


def test_steps_run_one_after_the_other_before_the_program() -> None:
    world = vite_world()
    call = world.start()
    world.prepared(steps=("codegen", "tsc"))
    for step in ("codegen", "tsc"):
        assert world.spawning["web"].launch.argv[-1] == step
        world.spawned()
        world.prints("  ➜  Local:   http://127.0.0.1:5173/no/", f"{step} is done")
        assert world.awaiting == {}
        world.dies(code=0)
        assert world.state() == "starting"
    world.spawned()
    world.probe()
    assert world.result(call).status.url == "http://127.0.0.1:5173/"
    assert not [each for each in world.told if isinstance(each, ServiceExited)]


def test_a_step_that_fails_is_named_and_not_tried_again() -> None:
    world = vite_world()
    call = world.start()
    world.prepared(steps=("tsc --noEmit",))
    world.spawned()
    world.prints("error TS2322")
    world.dies(code=2)
    error = world.error(call)
    assert "its step (tsc --noEmit) ended with exit code 2, so the program was not started" in error.message
    assert error.data["lines"] == ["error TS2322"]
    assert world.last(ServiceExited).code == 2
    assert world.state() == "failed"


def test_a_step_that_hangs_is_bounded_as_the_program_is() -> None:
    world = vite_world(readyTimeoutMs=1_000)
    world.start()
    world.prepared(steps=("sleep",))
    world.spawned()
    world.overdue()
    assert world.state() == "stopping"
    assert "within 1 s: its step (sleep) has not ended yet" in world.last(ServiceState).error.message
    world.dies()
    assert world.state() == "failed"


def test_steps_are_done_once_where_the_port_was_lost_while_they_ran() -> None:
    world = vite_world()
    world.start()
    world.prepared(steps=("tsc",))
    world.spawned()
    world.dies(code=0)
    world.spawned()
    world.prints("Error: Port 5173 is already in use")
    world.dies(code=1)
    world.prepared(port=5_174, steps=("tsc",))
    assert world.spawning["web"].launch.argv == ("serve",)


def test_a_stop_in_the_middle_of_a_step_starts_nothing_more() -> None:
    world = vite_world()
    world.start()
    world.prepared(steps=("tsc",))
    world.spawned()
    world.stop()
    world.dies(code=0)
    assert world.spawning == {}
    assert world.state() == "stopped"


def test_a_foreign_answer_or_nobodys_is_never_ready() -> None:
    world = starting_world()
    for verdict in ("foreign", "down", "unknown"):
        world.probe(verdict)
        assert world.state() == "starting"
    world.probe("ok")
    assert world.state() == "ready"


# ── ready, in each of its ways ────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_without_readiness_is_ready_once_it_runs() -> None:
    world = command_world()
    call = world.start()
    world.prepared(port=None)
    world.spawned()
    assert world.result(call).status.state == "ready"
    ready = world.last(ServiceReady)
    assert (ready.url, ready.host, ready.port) == (None, None, None)
    assert not [effect for effect in world.effects if isinstance(effect, RememberPort | AwaitReady)]


def test_a_log_service_is_ready_once_a_line_matches() -> None:
    world = command_world(ready={"type": "log", "pattern": r"listening on \d+"})
    call = world.start()
    world.runs(port=None)
    world.prints("listening soon")
    assert world.state() == "starting"
    world.prints("ok", "\x1b[1mlistening on 80\x1b[0m", stream="stderr")
    assert world.result(call).status.state == "ready"
    world.prints("listening on 80")
    assert world.states() == ["starting", "ready"]


def test_a_line_that_has_not_ended_makes_a_log_service_ready() -> None:
    world = command_world(ready={"type": "log", "pattern": r"^Continue\?"})
    call = world.start()
    world.runs(port=None)
    world.prints(partial="Cont")
    assert world.state() == "starting"
    world.prints(partial="Continue? ")
    assert world.result(call).status.state == "ready"
    world.prints("Continue? yes")
    assert world.logs() == ["Continue? yes"], "it is kept once"


def test_a_timeout_names_the_question_that_the_program_waits_with() -> None:
    world = command_world(ready={"type": "log", "pattern": "listening"}, readyTimeoutMs=1000)
    call = world.start()
    world.runs(port=None)
    world.prints(partial="Continue? ")
    world.overdue()
    world.dies(signal="SIGTERM")
    assert world.error(call).data["lines"] == ["Continue? "]


def test_a_pattern_that_takes_too_long_is_told_of_once_and_given_up() -> None:
    world = command_world(ready={"type": "log", "pattern": "(a+)+$"})
    tried: list[tuple[str, ...]] = []

    def too_slow(_pattern: str, lines: tuple[str, ...]) -> None:
        tried.append(lines)
        raise TimeoutError

    world.core.services["web"]._startup._matches = too_slow
    world.start()
    world.runs(port=None)
    world.prints("aaaa")
    world.prints("aaaa")
    assert tried == [("aaaa",)]
    assert "'(a+)+$' of web" in world.last(SupervisorFault).error.message
    assert world.state() == "starting"
    world.dies()
    world.tick()
    world.runs(port=None)
    world.prints("aaaa")
    assert len(tried) == 2, "another run has another output"


def test_a_line_of_an_earlier_run_does_not_make_the_next_one_ready() -> None:
    world = command_world(ready={"type": "log", "pattern": "listening"})
    world.start()
    world.runs(port=None)
    world.prints("listening")
    world.dies()
    world.tick()
    world.runs(port=None)
    world.step(Output("web", 1, "stdout", ("listening",), 9))
    assert world.state() == "starting"
    assert world.logs() == ["listening", "listening"], "late lines are kept all the same"


def test_a_delay_service_is_ready_after_its_time() -> None:
    world = command_world(ready={"type": "delay", "ms": 1_500})
    call = world.start()
    world.runs(port=None)
    world.wait(1.499)
    assert call not in world.answers
    world.tick()
    assert world.last(ServiceReady).elapsed_ms == 1_500


@pytest.mark.parametrize("ms", [30_000, 45_000])
def test_a_delay_as_long_as_the_ready_timeout_or_longer_is_no_failure(ms: int) -> None:
    world = command_world(ready={"type": "delay", "ms": ms})
    call = world.start()
    world.runs(port=None)
    world.tick()
    assert world.result(call).status.state == "ready"


@pytest.mark.parametrize("ready", [{"type": "log", "pattern": "up"}, {"type": "delay", "ms": 10}], ids=["log", "delay"])
def test_a_service_with_a_port_is_ready_only_once_it_listens_there(ready: dict[str, object]) -> None:
    world = command_world(port={}, ready=ready, readyTimeoutMs=5_000)
    call = world.start()
    world.runs(port=8_000)
    world.prints("up")
    world.wait(0.01)
    assert isinstance(world.awaiting["web"].probe, TcpReady)
    world.prints("up, again")
    world.probe("foreign", detail="127.0.0.1:8000 is answered by a process that this service did not start")
    assert world.state() == "starting"
    world.probe()
    assert world.result(call).status.url == "http://127.0.0.1:8000/"


@pytest.mark.parametrize("ready", [{"type": "log", "pattern": "up"}, {"type": "delay", "ms": 10}], ids=["log", "delay"])
@pytest.mark.parametrize("timeout_ms", [0, 5_000])
def test_a_service_that_moved_to_another_port_is_never_told_at_a_strangers(
    ready: dict[str, object], timeout_ms: int
) -> None:
    world = command_world(port={}, ready=ready, readyTimeoutMs=timeout_ms)
    world.start()
    world.runs(port=8_000)
    world.prints("up")
    world.wait(0.01)
    world.probe("foreign", detail="127.0.0.1:8000 is answered by a process that this service did not start")
    world.wait(60)
    world.finds(("127.0.0.1", 8_001))
    assert world.state() == ("stopping" if timeout_ms else "starting")
    assert not [each for each in world.told if isinstance(each, ServiceReady)]
    if timeout_ms:
        assert "it listens on 127.0.0.1:8001; it was told 8000" in world.last(ServiceState).error.message


def test_a_command_with_a_port_and_no_probe_is_ready_once_it_listens() -> None:
    world = command_world(port={})
    world.start()
    world.runs(port=8_000)
    assert isinstance(world.awaiting["web"].probe, TcpReady)


def test_a_tcp_service_is_probed_at_its_endpoint() -> None:
    world = World({"web": TCP})
    world.start()
    world.runs(port=8_000)
    assert isinstance(world.awaiting["web"].probe, TcpReady)


def test_a_probe_without_an_endpoint_is_bounded_all_the_same() -> None:
    world = vite_world()
    world.start()
    world.runs(port=None)
    assert world.awaiting == {}
    world.overdue()
    assert world.state() == "stopping"


def test_only_what_can_be_probed_is_watched() -> None:
    world = command_world()
    world.up(port=None)
    world.tick()
    assert world.checks == {}
    assert world.core.next_deadline() is None
    world = ready_world(health={"intervalMs": 0})
    assert world.core.next_deadline() is None
