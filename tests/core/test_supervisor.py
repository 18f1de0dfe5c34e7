"""All services together: the conversation's rules, and the ways in which everything ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.core.supervisor import EXIT_APP_GONE, EXIT_CLEAN, EXIT_SIGNAL_BASE, MAX_SERVICES
from sidecar.errors import NodeNotFoundError
from sidecar.events import AnnounceGrace, Exit, KillAll, Notify, Prepare, Refuse, Reply, Swept, Tick
from sidecar.wire.messages import (
    AnyRequest,
    Client,
    Initialize,
    Logs,
    Restart,
    ServiceState,
    Shutdown,
    ShutdownResult,
    Start,
    Status,
    Stop,
    SupervisorFault,
    SupervisorSwept,
    SweptProcess,
)
from tests.core.world import COMMAND, GUARANTEES, OUR_PID, VITE, World


def _two(**more: object) -> World:
    world = World({"db": {**COMMAND, **more}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    return world


def _graceful(grace_ms: int) -> dict[str, object]:
    return {"stop": {"appDeathGraceMs": grace_ms}}


# ── initialize ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_initialize_says_who_we_are_what_is_guaranteed_and_which_services_there_are() -> None:
    world = World({"web": VITE, "api": COMMAND})
    result = world.result("initialize")
    assert (result.protocol_version, result.pid, result.guarantees) == (1, OUR_PID, GUARANTEES)
    assert {name: (each.state, each.type) for name, each in result.services.items()} == {
        "web": ("stopped", "vite"),
        "api": ("stopped", "command"),
    }


@pytest.mark.parametrize("request_", [Start("web"), Stop("web"), Restart("web"), Status(), Logs("web")])
def test_before_initialize_only_initialize_and_shutdown_are_taken(request_: AnyRequest) -> None:
    world = World(silent=True)
    assert world.error(world.call(request_)).data == {"kind": "NotInitialized"}


def test_a_shutdown_before_initialize_ends_at_once() -> None:
    world = World(silent=True)
    assert world.result(world.shutdown()) == ShutdownResult(())
    assert world.exit_code == EXIT_CLEAN


def test_a_second_initialize_is_refused_and_changes_nothing() -> None:
    world = World({"web": VITE})
    again = world.call(Initialize(protocol_version=1, services={"other": VITE}))
    assert world.error(again).data == {"kind": "AlreadyInitialized"}
    assert list(world.core.services) == ["web"]


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (Initialize(protocol_version=2), "$.params.protocolVersion"),
        (Initialize(1, services={"web": {"type": "nope"}}), "$.params.services.web.type"),
        (Initialize(1, services={"web": 5}), "$.params.services.web"),
        (Initialize(1, services={"ok": VITE, "": VITE}), "$.params.services."),
        (Initialize(1, services={"x" * 65: VITE}), f"$.params.services.{'x' * 65}"),
        (Initialize(1, services={"a\nb": VITE}), "$.params.services.a\nb"),
        (Initialize(1, services={str(n): VITE for n in range(MAX_SERVICES + 1)}), "$.params.services"),
    ],
)
def test_a_wrong_initialize_names_the_place_and_can_be_corrected(request_: Initialize, path: str) -> None:
    world = World(silent=True)
    error = world.error(world.call(request_))
    assert (error.data["kind"], error.data["path"]) == ("InvalidParams", path)
    assert world.core.services == {}
    right = world.call(Initialize(1, Client("app", "1"), {str(n): VITE for n in range(MAX_SERVICES)}))
    assert len(world.result(right).services) == MAX_SERVICES


def test_initialize_without_an_id_works_and_its_fault_is_told_unasked() -> None:
    world = World(silent=True)
    world.ask(Initialize(protocol_version=9))
    assert world.last(SupervisorFault).error.data["supported"] == [1]
    world.ask(Initialize(1, services={"web": VITE}))
    assert list(world.core.services) == ["web"]
    assert world.answers == {}


def test_the_longest_grace_of_all_services_is_announced_to_the_guard() -> None:
    world = World({"a": {**VITE, **_graceful(300)}, "b": {**VITE, **_graceful(900)}, "c": VITE})
    assert world.effects[0] == AnnounceGrace(900)
    assert not [effect for effect in World({"a": VITE}).effects if isinstance(effect, AnnounceGrace)]


# ── what earlier runs left ────────────────────────────────────────────────────────────────────────────────────────────

REPORT = SupervisorSwept((SweptProcess(811, "vite"),), groups=1, records=2, folders=0, problems=())


def test_what_was_swept_before_initialize_is_told_behind_its_answer() -> None:
    world = World(silent=True)
    assert world.step(Swept(REPORT)) == []
    world.call(Initialize(protocol_version=2))
    assert REPORT not in world.told, "that was refused"
    call = world.call(Initialize(protocol_version=1))
    answer, told = world.effects[-2:]
    assert isinstance(answer, Reply)
    assert (answer.id, told) == (call, Notify(REPORT))


def test_what_is_swept_later_is_told_at_once_and_only_once() -> None:
    world = World()
    assert world.step(Swept(REPORT)) == [Notify(REPORT)]
    world.call(Status())
    assert world.told == [REPORT]


def test_what_was_swept_is_told_to_a_client_that_wants_no_answers_too() -> None:
    world = World(silent=True)
    world.step(Swept(REPORT))
    assert world.ask(Initialize(protocol_version=1)) == [Notify(REPORT)]


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("request_", [Start("nope"), Stop("nope"), Restart("nope"), Status("nope"), Logs("nope")])
def test_a_service_that_was_not_declared_is_named_beside_those_that_were(request_: AnyRequest) -> None:
    world = World({"web": VITE, "api": COMMAND})
    error = world.error(world.call(request_))
    assert error.data == {"kind": "UnknownService", "path": "$.params.service", "service": "nope"}
    assert "Declared in initialize: web, api." in error.message
    world = World()
    assert "Declared in initialize: none." in world.error(world.call(request_)).message


def test_a_fault_in_a_request_without_an_id_is_told_unasked() -> None:
    world = World({"web": VITE})
    world.ask(Start("nope"))
    assert world.last(SupervisorFault).error.data["kind"] == "UnknownService"


def test_status_gives_one_service_or_all() -> None:
    world = _two()
    assert set(world.result(world.call(Status())).services) == {"db", "web"}
    assert set(world.result(world.call(Status("db"))).services) == {"db"}


def test_questions_without_an_id_are_answered_with_nothing() -> None:
    world = _two()
    assert world.ask(Status()) == []
    assert world.ask(Logs("db")) == []


def test_an_id_of_null_is_an_id_too() -> None:
    world = World({"web": COMMAND})
    world.ask(Start("web"), None)
    world.runs(port=None)
    assert world.result(None).status.state == "ready"


def test_services_run_side_by_side_and_each_has_its_own_timers() -> None:
    world = _two()
    world.dies("db", code=1)
    assert (world.state("db"), world.state("web")) == ("backingOff", "ready")
    assert world.core.next_deadline() == world.now + 0.25
    world.tick()
    assert world.core.next_deadline() == pytest.approx(world.now + 4.75), "the health check of the other"


# ── shutdown ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_shutdown_stops_one_after_the_other_last_first_and_is_answered_at_the_end() -> None:
    world = _two()
    call = world.shutdown()
    assert world.processes["web"].signals == ["SIGTERM"]
    assert world.processes["db"].signals == [], "it may still be needed by the one after it"
    world.dies("web", code=0)
    assert world.processes["db"].signals == ["SIGTERM"]
    assert call not in world.answers
    effects_before = len(world.effects)
    world.dies("db", code=0)
    assert world.result(call) == ShutdownResult(("db", "web"))
    assert world.exit_code == EXIT_CLEAN
    assert isinstance(world.effects[-2], Reply)
    assert len(world.effects) > effects_before


def _stopped(world: World) -> None:
    pass


def _preparing(world: World) -> None:
    world.start()


def _spawning(world: World) -> None:
    world.start()
    world.prepared()


def _running(world: World) -> None:
    world.start()
    world.runs()


def _up(world: World) -> None:
    world.up()


def _unhealthy(world: World) -> None:
    world.up()
    world.tick()
    world.check("down")


def _backing_off(world: World) -> None:
    world.up()
    world.dies()


def _stopping(world: World) -> None:
    world.up()
    world.stop()


def _restarting(world: World) -> None:
    world.up()
    world.restart()


def _sick(world: World) -> None:
    _unhealthy(world)
    for _ in range(2):
        world.tick()
        world.check("down")


def _failed(world: World) -> None:
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))


SITUATIONS = [
    _stopped,
    _preparing,
    _spawning,
    _running,
    _up,
    _unhealthy,
    _backing_off,
    _stopping,
    _restarting,
    _sick,
    _failed,
]


def _finish(world: World) -> None:
    """Let the world be as stubborn as it can be."""
    for _ in range(30):
        if world.exit_code is not None:
            return
        if world.preparing:
            world.prepared(next(iter(world.preparing)))
        elif world.spawning:
            world.spawned(next(iter(world.spawning)))
        elif killed := [name for name, process in world.processes.items() if "KILL" in process.signals]:
            world.dies(killed[0])
        else:
            world.tick()


@pytest.mark.parametrize("grace_ms", [None, 0, 700])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_shutdown_ends_from_every_state(situation: Callable[[World], None], grace_ms: int | None) -> None:
    world = World({"web": VITE})
    situation(world)
    asked = world.now
    call = world.shutdown(grace_ms)
    _finish(world)
    assert world.exit_code == EXIT_CLEAN
    assert world.result(call) == ShutdownResult(("web",))
    assert world.unanswered == []
    if grace_ms is not None:
        assert world.now <= asked + grace_ms / 1000


@pytest.mark.parametrize("grace_ms", [0, 700])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_apps_death_ends_from_every_state(situation: Callable[[World], None], grace_ms: int) -> None:
    world = World({"web": {**VITE, **_graceful(grace_ms)}})
    situation(world)
    died = world.now
    world.app_dies()
    if not grace_ms:
        assert world.killed_all
    _finish(world)
    assert world.exit_code == EXIT_APP_GONE
    assert world.now <= died + grace_ms / 1000


def test_a_shutdown_that_comes_again_is_answered_too_and_can_only_hurry() -> None:
    world = _two()
    first = world.shutdown(2_000)
    second = world.shutdown(60_000)
    assert world.core.next_deadline() == world.now + 2
    third = world.shutdown(500)
    assert world.core.next_deadline() == world.now + 0.5
    world.tick()
    assert world.processes["web"].signals[-1] == world.processes["db"].signals[-1] == "KILL"
    assert world.exit_code is None, "killed is not gone"
    world.dies("db")
    world.dies("web")
    for call in (first, second, third):
        assert world.result(call) == ShutdownResult(("db", "web"))


def test_a_grace_that_is_longer_than_needed_is_not_waited_for() -> None:
    world = _two()
    world.shutdown(60_000)
    world.dies("web", code=0)
    world.dies("db", code=0)
    assert world.exit_code == EXIT_CLEAN


def test_without_a_grace_each_service_has_its_own_stop_time() -> None:
    world = World({"a": {**COMMAND, "stop": {"timeoutMs": 1_000}}, "b": {**COMMAND, "stop": {"timeoutMs": 2_000}}})
    world.up("a", port=None)
    world.up("b", port=None)
    asked = world.now
    world.shutdown()
    _finish(world)
    assert world.now == pytest.approx(asked + 3)


def test_while_shutting_down_questions_are_answered_and_work_is_refused() -> None:
    world = _two()
    world.shutdown()
    for request in (Start("db"), Stop("db"), Restart("db"), Initialize(1)):
        assert world.error(world.call(request)).data["kind"] == "ShuttingDown"
    assert world.result(world.call(Status())).services["web"].state == "stopping"
    assert world.logs("db") == []


def test_who_waits_for_a_start_when_the_end_comes_is_refused() -> None:
    world = World({"web": VITE})
    call = world.start()
    world.shutdown()
    assert world.error(call).data["kind"] == "Superseded"


def test_a_service_that_ends_by_itself_during_the_shutdown_is_not_started_again() -> None:
    world = _two()
    world.shutdown()
    world.dies("db", code=1)
    world.wait(3)
    assert "db" not in world.preparing
    world.dies("web")
    assert world.exit_code == EXIT_CLEAN


def test_a_service_that_is_being_prepared_when_the_end_comes_is_not_spawned() -> None:
    world = World({"db": COMMAND, "web": VITE})
    world.up("web")
    world.start("db")
    world.shutdown()
    world.prepared("db", port=None)
    assert world.spawning == {}


def test_a_shutdown_without_an_id_works_and_is_not_answered() -> None:
    world = World()
    world.ask(Shutdown())
    assert world.exit_code == EXIT_CLEAN
    assert list(world.answers) == ["initialize"]


def test_a_sleeping_machine_does_not_shorten_the_grace() -> None:
    world = _two()
    world.shutdown(2_000)
    world.tick(late=3_600)
    assert world.processes["db"].signals == []
    assert world.core.next_deadline() == world.now + 2


def test_after_the_exit_nothing_happens_any_more() -> None:
    world = World({"web": VITE})
    world.shutdown()
    assert world.core.step(Tick(), world.now) == []
    world.app_dies()
    world.interrupt()
    assert world.effects.count(Exit(EXIT_CLEAN)) == 1


# ── signals ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_signal_asks_like_a_shutdown_and_names_itself_in_the_exit_code() -> None:
    world = _two()
    world.interrupt(2)
    assert world.processes["web"].signals == ["SIGTERM"]
    world.dies("web", code=0)
    world.dies("db", code=0)
    assert world.exit_code == EXIT_SIGNAL_BASE + 2
    assert not world.killed_all


def test_the_second_signal_insists() -> None:
    world = _two()
    world.interrupt(2)
    world.interrupt(15)
    assert world.effects[-2:] == [KillAll(), Exit(EXIT_SIGNAL_BASE + 15)]


def test_a_signal_during_a_shutdown_insists_too() -> None:
    world = _two()
    world.shutdown()
    world.interrupt(15)
    assert world.killed_all


def test_a_shutdown_after_a_signal_is_answered_and_keeps_the_signals_exit_code() -> None:
    world = World({"web": COMMAND})
    world.up(port=None)
    world.interrupt(15)
    call = world.shutdown()
    world.dies()
    assert world.result(call)
    assert world.exit_code == EXIT_SIGNAL_BASE + 15


def test_a_signal_with_nothing_running_exits_at_once() -> None:
    world = World({"web": VITE})
    world.interrupt(15)
    assert world.exit_code == EXIT_SIGNAL_BASE + 15


# ── the death of the app ──────────────────────────────────────────────────────────────────────────────────────────────


def test_when_the_app_dies_everything_is_killed_at_once() -> None:
    world = _two()
    world.app_dies()
    assert world.effects[-2:] == [KillAll(), Exit(EXIT_APP_GONE)]


def test_a_service_may_have_a_grace_and_the_others_are_killed_at_once() -> None:
    world = World({"db": {**COMMAND, **_graceful(800)}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    world.app_dies()
    assert world.processes["web"].signals == ["KILL"]
    assert world.processes["db"].signals == ["SIGTERM"]
    world.dies("web")
    assert world.core.next_deadline() == world.now + 0.8
    world.tick()
    assert world.processes["db"].signals[-1] == "KILL"
    world.dies("db")
    assert world.exit_code == EXIT_APP_GONE


def test_a_grace_that_nobody_running_needs_is_not_waited_for() -> None:
    world = World({"db": {**COMMAND, **_graceful(800)}, "web": VITE})
    world.up("web")
    world.app_dies()
    assert world.killed_all


def test_the_grace_is_never_longer_than_the_services_own_stop_time() -> None:
    world = World({"db": {**COMMAND, "stop": {"timeoutMs": 100, "appDeathGraceMs": 800}}})
    world.up("db", port=None)
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.1


def test_the_apps_death_during_a_stop_can_only_hurry_it() -> None:
    world = World({"db": {**COMMAND, **_graceful(800)}})
    world.up("db", port=None)
    world.stop("db")
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.8
    world.now += 0.5
    world.app_dies()
    assert world.core.next_deadline() == pytest.approx(world.now + 0.3), "told twice, it is dead no later"


def test_a_service_without_a_grace_that_is_being_stopped_when_the_app_dies_is_killed_at_once() -> None:
    world = World({"db": {**COMMAND, **_graceful(9_000)}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    world.stop("web")
    world.app_dies()
    assert world.processes["web"].signals == ["SIGTERM", "KILL"]
    assert world.processes["db"].signals == ["SIGTERM"]


def test_the_apps_death_during_a_shutdown_does_not_loosen_its_deadline() -> None:
    world = World({"db": {**COMMAND, **_graceful(9_000)}})
    world.up("db", port=None)
    world.shutdown(200)
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.2


def test_a_service_that_waits_for_its_backoff_when_the_app_dies_is_not_started_again() -> None:
    world = World({"db": {**COMMAND, **_graceful(5_000)}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    world.dies("web")
    world.app_dies()
    world.wait(3)
    assert world.preparing == {}
    assert [each.state for each in world.told if isinstance(each, ServiceState)][-1] == "stopped"


def test_a_death_of_the_app_in_a_shutdown_keeps_its_exit_code() -> None:
    world = _two()
    world.shutdown()
    world.app_dies()
    assert world.exit_code == EXIT_CLEAN


def test_no_start_waits_for_ever_for_an_app_that_is_gone() -> None:
    world = World({"db": {**COMMAND, **_graceful(800)}})
    world.start("db")
    world.app_dies()
    assert isinstance(world.answers[1], Refuse)
    world.prepared("db", port=None)
    assert world.exit_code == EXIT_APP_GONE
    assert len([effect for effect in world.effects if isinstance(effect, Prepare)]) == 1
