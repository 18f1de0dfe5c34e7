"""The three ends of a session: a shutdown, a signal, the app's death."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.core.events import Exit, KillAll, Prepare, Refuse, Reply, Tick
from sidecar.errors import NodeNotFoundError
from sidecar.exit_codes import EXIT_APP_GONE, EXIT_CLEAN, EXIT_SIGNALLED
from sidecar.protocol.messages import ServiceState, ShutdownResult
from sidecar.protocol.requests import Initialize, Restart, Shutdown, Start, Status, Stop
from tests.core.scenes import db_and_web, graceful
from tests.core.world import COMMAND, VITE, World

# ── shutdown ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_shutdown_stops_all_side_by_side_and_is_answered_at_the_end() -> None:
    world = db_and_web()
    call = world.shutdown()
    assert world.processes["web"].signals == world.processes["db"].signals == ["SIGTERM"]
    world.dies("web", code=0)
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
    """Let everything end as late as it may."""
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
    world = World({"web": {**VITE, **graceful(grace_ms)}})
    situation(world)
    died = world.now
    world.app_dies()
    if not grace_ms:
        assert world.killed_all
    _finish(world)
    assert world.exit_code == EXIT_APP_GONE
    assert world.now <= died + grace_ms / 1000


@pytest.mark.parametrize("end", [lambda world: world.shutdown(500), lambda world: world.app_dies()])
def test_a_preparation_that_hangs_is_not_waited_for_longer_than_the_grace(end: Callable[[World], object]) -> None:
    world = World({"web": {**VITE, **graceful(500)}, "api": {**VITE, **graceful(500)}})
    world.start("api")
    world.start("web")
    world.up("api")
    end(world)
    world.wait(0.4)
    assert world.exit_code is None
    world.wait(0.2)
    assert world.exit_code is None, "killed is not gone"
    assert world.processes["api"].signals[-1] == "KILL"
    world.dies("api")
    assert world.exit_code is not None
    assert world.killed_all, "what the preparation may have started"


def test_a_shutdown_that_comes_again_is_answered_too_and_can_only_hurry() -> None:
    world = db_and_web()
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


def test_three_slow_stops_fit_into_one_grace() -> None:
    slow = {**COMMAND, "stop": {"timeoutMs": 4_000}}
    world = World({"a": slow, "b": slow, "c": slow})
    for name in "abc":
        world.up(name, port=None)
    world.shutdown(5_000)
    world.now += 3.9
    for name in "abc":
        assert world.processes[name].signals == ["SIGTERM"]
        world.dies(name, code=0)
    assert world.exit_code == EXIT_CLEAN


def test_a_grace_that_is_longer_than_needed_is_not_waited_for() -> None:
    world = db_and_web()
    world.shutdown(60_000)
    world.dies("web", code=0)
    world.dies("db", code=0)
    assert world.exit_code == EXIT_CLEAN


def test_without_a_grace_the_slowest_stop_time_is_that_of_all() -> None:
    world = World({"a": {**COMMAND, "stop": {"timeoutMs": 1_000}}, "b": {**COMMAND, "stop": {"timeoutMs": 2_000}}})
    world.up("a", port=None)
    world.up("b", port=None)
    asked = world.now
    world.shutdown()
    _finish(world)
    assert world.now == pytest.approx(asked + 2)


def test_while_shutting_down_questions_are_answered_and_work_is_refused() -> None:
    world = db_and_web()
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


def test_service_that_ends_during_the_shutdown_is_not_restarted() -> None:
    world = db_and_web()
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
    world = db_and_web()
    world.shutdown(2_000)
    world.tick(late=3_600)
    assert world.processes["db"].signals == ["SIGTERM"]
    assert world.core.next_deadline() == world.now + 2


def test_after_the_exit_nothing_happens_any_more() -> None:
    world = World({"web": VITE})
    world.shutdown()
    assert world.core.step(Tick(), world.now) == []
    world.app_dies()
    world.interrupt()
    assert world.effects.count(Exit(EXIT_CLEAN)) == 1


# ── signals ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_first_signal_asks_like_a_shutdown_and_sets_the_exit_code() -> None:
    world = db_and_web()
    world.interrupt(2)
    assert world.processes["web"].signals == ["SIGTERM"]
    world.dies("web", code=0)
    world.dies("db", code=0)
    assert world.exit_code == EXIT_SIGNALLED + 2
    assert not world.killed_all


def test_the_second_signal_insists() -> None:
    world = db_and_web()
    world.interrupt(2)
    world.interrupt(15)
    assert world.effects[-2:] == [KillAll(), Exit(EXIT_SIGNALLED + 15)]


def test_a_signal_during_a_shutdown_insists_too() -> None:
    world = db_and_web()
    world.shutdown()
    world.interrupt(15)
    assert world.killed_all


def test_shutdown_after_a_signal_is_answered_and_keeps_its_exit_code() -> None:
    world = World({"web": COMMAND})
    world.up(port=None)
    world.interrupt(15)
    call = world.shutdown()
    world.dies()
    assert world.result(call)
    assert world.exit_code == EXIT_SIGNALLED + 15


def test_a_signal_with_nothing_running_exits_at_once() -> None:
    world = World({"web": VITE})
    world.interrupt(15)
    assert world.exit_code == EXIT_SIGNALLED + 15


# ── the death of the app ──────────────────────────────────────────────────────────────────────────────────────────────


def test_when_the_app_dies_everything_is_killed_at_once() -> None:
    world = db_and_web()
    world.app_dies()
    assert world.effects[-2:] == [KillAll(), Exit(EXIT_APP_GONE)]


def test_a_service_may_have_a_grace_and_the_others_are_killed_at_once() -> None:
    world = World({"db": {**COMMAND, **graceful(800)}, "web": VITE})
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
    world = World({"db": {**COMMAND, **graceful(800)}, "web": VITE})
    world.up("web")
    world.app_dies()
    assert world.killed_all


def test_the_grace_is_never_longer_than_the_services_own_stop_time() -> None:
    world = World({"db": {**COMMAND, "stop": {"timeoutMs": 100, "appDeathGraceMs": 800}}})
    world.up("db", port=None)
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.1


def test_the_apps_death_during_a_stop_can_only_hurry_it() -> None:
    world = World({"db": {**COMMAND, **graceful(800)}})
    world.up("db", port=None)
    world.stop("db")
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.8
    world.now += 0.5
    world.app_dies()
    assert world.core.next_deadline() == pytest.approx(world.now + 0.3), "told twice, it is dead no later"


def test_app_death_kills_a_stopping_service_without_a_grace_at_once() -> None:
    world = World({"db": {**COMMAND, **graceful(9_000)}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    world.stop("web")
    world.app_dies()
    assert world.processes["web"].signals == ["SIGTERM", "KILL"]
    assert world.processes["db"].signals == ["SIGTERM"]


def test_the_apps_death_during_a_shutdown_does_not_loosen_its_deadline() -> None:
    world = World({"db": {**COMMAND, **graceful(9_000)}})
    world.up("db", port=None)
    world.shutdown(200)
    world.app_dies()
    assert world.core.next_deadline() == world.now + 0.2


def test_app_death_during_the_backoff_prevents_the_restart() -> None:
    world = World({"db": {**COMMAND, **graceful(5_000)}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    world.dies("web")
    world.app_dies()
    world.wait(3)
    assert world.preparing == {}
    assert [each.state for each in world.told if isinstance(each, ServiceState)][-1] == "stopped"


def test_a_death_of_the_app_in_a_shutdown_keeps_its_exit_code() -> None:
    world = db_and_web()
    world.shutdown()
    world.app_dies()
    assert world.exit_code == EXIT_CLEAN


def test_no_start_waits_for_ever_for_an_app_that_is_gone() -> None:
    world = World({"db": {**COMMAND, **graceful(800)}})
    world.start("db")
    world.app_dies()
    assert isinstance(world.answers[1], Refuse)
    world.prepared("db", port=None)
    assert world.exit_code == EXIT_APP_GONE
    assert len([effect for effect in world.effects if isinstance(effect, Prepare)]) == 1
