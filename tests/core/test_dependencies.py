"""Services that depend on others: what is launched when, and what is stopped first."""

from __future__ import annotations

import pytest

from sidecar.core.events import Prepare
from sidecar.errors import NodeNotFoundError
from tests.core.world import COMMAND, VITE, World

DB: dict[str, object] = {**COMMAND, "ready": {"type": "log", "pattern": "ready"}}


def needs(*names: str, **more: object) -> dict[str, object]:
    return {**COMMAND, "dependsOn": list(names), **more}


def chain(**more: object) -> World:
    return World({"web": needs("api"), "api": needs("db"), "db": {**DB, **more}})


def up(world: World, *names: str) -> None:
    for name in names:
        world.runs(name, None)
        if world.state(name) == "starting":
            world.prints("ready", service=name)


def test_a_start_starts_what_it_needs_and_launches_it_in_order() -> None:
    world = chain()
    call = world.start("web")
    assert list(world.preparing) == ["db"]
    assert world.status("web").waiting_for == ("api",)
    up(world, "db")
    assert list(world.preparing) == ["api"]
    up(world, "api", "web")
    assert world.result(call).status.state == "ready"
    assert world.result(call).status.waiting_for == ()


def test_what_does_not_depend_on_each_other_is_launched_side_by_side() -> None:
    world = World({"web": needs("api", "auth"), "api": needs("db"), "auth": needs("db"), "db": DB})
    world.start("web")
    up(world, "db")
    assert set(world.preparing) == {"api", "auth"}
    launched = [effect.service for effect in world.effects if isinstance(effect, Prepare)]
    assert launched.count("db") == 1


def test_to_run_is_not_to_be_ready() -> None:
    world = chain()
    world.start("web")
    world.runs("db", None)
    assert world.preparing == {}


def test_a_start_of_what_runs_starts_nothing_else() -> None:
    world = chain()
    world.start("web")
    up(world, "db", "api", "web")
    world.stop("db")
    world.dies("db", code=0)
    assert world.result(world.start("web")).status.state == "ready"
    assert world.state("db") == "stopped"


def test_a_stop_or_a_crash_of_a_dependency_leaves_what_runs_alone() -> None:
    world = chain()
    world.start("web")
    up(world, "db", "api", "web")
    world.dies("db")
    world.stop("api")
    world.dies("api", code=0)
    assert world.state("web") == "ready"


def test_a_crash_waits_for_its_dependencies_before_it_is_launched_again() -> None:
    world = chain()
    world.start("web")
    up(world, "db", "api", "web")
    world.dies("db")
    world.dies("api")
    world.wait(0.3)
    assert world.status("api").waiting_for == ("db",)
    up(world, "db", "api")
    assert world.state("api") == "ready"


def test_a_crash_whose_dependency_was_stopped_is_not_launched_again() -> None:
    world = chain()
    world.start("web")
    up(world, "db", "api")
    world.stop("db")
    world.dies("db", code=0)
    world.dies("api")
    world.wait(0.3)
    assert world.state("api") == "failed"
    assert world.status("api").error.data["kind"] == "DependencyFailed"


def test_a_restart_starts_what_is_needed_too() -> None:
    world = chain()
    world.restart("api")
    assert list(world.preparing) == ["db"]
    world.restart("api")
    assert world.states("api") == ["starting"], "there was nothing to stop"
    up(world, "db", "api")
    assert world.state("api") == "ready"


def test_a_dependency_that_is_being_stopped_is_started_again() -> None:
    world = chain()
    world.start("db")
    up(world, "db")
    world.stop("db")
    call = world.start("api")
    world.dies("db", code=0)
    up(world, "db", "api")
    assert world.result(call).status.state == "ready"


def test_a_dependency_that_is_unhealthy_is_waited_for() -> None:
    world = World({"web": needs("api"), "api": VITE})
    world.up("api")
    world.tick()
    world.check("down", "api")
    world.start("web")
    assert world.status("web").waiting_for == ("api",)
    world.tick()
    world.check("ok", "api")
    assert "web" in world.preparing


def test_a_dependency_that_fails_fails_all_that_wait_with_the_whole_chain() -> None:
    world = chain()
    call = world.start("web")
    world.prepare_fails(NodeNotFoundError("no node"), "db")
    error = world.error(call)
    assert (error.code, error.data["service"], error.data["dependency"]) == (-32031, "web", "api")
    assert error.data["cause"].data["cause"].message == "no node"
    assert world.states("web") == ["starting", "failed"]
    assert [effect for effect in world.effects if isinstance(effect, Prepare)] == [
        effect for effect in world.effects if isinstance(effect, Prepare) and effect.service == "db"
    ]


def test_a_failed_dependency_is_tried_again_by_the_next_start() -> None:
    world = chain()
    world.start("web")
    world.prepare_fails(NodeNotFoundError("no node"), "db")
    call = world.start("web")
    up(world, "db", "api", "web")
    assert world.result(call).status.state == "ready"


def test_only_the_direct_dependency_is_named_with_why_it_is_stopped() -> None:
    world = chain()
    call = world.start("api")
    world.runs("db", None)
    world.stop("db")
    error = world.error(call)
    assert error.data["cause"].data["kind"] == "Superseded"
    assert error.data["reason"] == "api was not started, as it depends on db: db is stopped."


@pytest.mark.parametrize("end", ["stop", "shutdown", "signal", "app"])
def test_nothing_is_launched_for_what_ends_while_it_waits(end: str) -> None:
    world = chain()
    call = world.start("web")
    world.runs("db", None)
    match end:
        case "stop":
            assert world.result(world.stop("web")).status.state == "stopped"
        case "shutdown":
            world.shutdown()
        case "signal":
            world.interrupt()
        case _:
            world.app_dies()
    if end != "app":
        assert world.error(call).data["kind"] == "Superseded"
        assert world.state("web") == "stopped"
    if end == "stop":
        world.prints("ready", service="db")
        assert list(world.preparing) == ["api"], "api was started, too, and nobody has stopped it"


def test_a_shutdown_stops_dependents_first() -> None:
    world = World({"db": DB, "api": needs("db"), "web": needs("api"), "other": COMMAND})
    for name in ("web", "other"):
        world.start(name)
    up(world, "db", "api", "web", "other")
    world.shutdown()
    assert {name: each.signals for name, each in world.processes.items()} == {
        "db": [],
        "api": [],
        "web": ["SIGTERM"],
        "other": ["SIGTERM"],
    }
    world.dies("web", code=0)
    assert world.processes["api"].signals == ["SIGTERM"]
    assert world.processes["db"].signals == []
    world.dies("api", code=0)
    assert world.processes["db"].signals == ["SIGTERM"]
    world.dies("other", code=0)
    world.dies("db", code=0)
    assert world.exit_code == 0


def test_a_grace_that_ends_kills_dependencies_and_dependents_alike() -> None:
    world = chain()
    world.start("web")
    up(world, "db", "api", "web")
    world.shutdown(500)
    world.wait(0.6)
    assert {each.signals[-1] for each in world.processes.values()} == {"KILL"}


@pytest.mark.parametrize("restart", ["asked", "crash", "address", "port"])
def test_no_run_begins_once_a_shutdown_has_begun(restart: str) -> None:
    """The service in the middle of a chain is between two runs: neither it nor its dependency may come up again."""
    world = World(
        {
            "a": {**COMMAND, "port": {}},
            "b": {**needs("a"), "port": {}, "env": {"A": "{services.a.origin}"}},
            "c": needs("b"),
        }
    )
    world.start("c")
    world.runs("a", 5_173)
    world.probe(service="a")
    world.runs("b", 5_174)
    world.probe(service="b")
    world.runs("c", None)
    assert [world.state(name) for name in "abc"] == ["ready"] * 3
    if restart == "crash":
        world.dies("b", code=1)
    elif restart == "port":
        world.dies("b", code=1)
        world.tick()
        world.runs("b", 5_174)
        world.prints("Error: Port 5173 is already in use", service="b")
    elif restart == "asked":
        world.restart("b")
    else:
        world.dies("a", code=1)
        world.tick()
        world.runs("a", 5_180)
        world.probe(service="a")
        assert world.state("b") == "stopping"
    began = len(world.effects)
    call = world.shutdown()
    for name in ("b", "c", "a"):
        if name in world.processes:
            world.dies(name, code=1 if restart == "port" and name == "b" else 0)
    assert not [each for each in world.effects[began:] if isinstance(each, Prepare)]
    assert [world.states(name)[-1] for name in "abc"] == ["stopped"] * 3
    assert call in world.answers
