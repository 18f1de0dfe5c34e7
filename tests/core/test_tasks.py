"""Tasks: programs that run to their end, before what depends on them."""

from __future__ import annotations

from sidecar.protocol.messages import ServiceExited, ServiceReady, ServiceWaiting
from tests.core.world import COMMAND, World

TASK: dict[str, object] = {"type": "task", "command": ["migrate"]}


def task_world(**more: object) -> World:
    return World({"migrate": {**TASK, **more}, "api": {**COMMAND, "dependsOn": ["migrate"]}})


def running(**more: object) -> World:
    world = task_world(**more)
    world.start("migrate")
    world.runs("migrate", None)
    return world


def done() -> World:
    world = running()
    world.dies("migrate", code=0)
    return world


def test_a_task_is_ready_when_it_has_ended_well() -> None:
    world = task_world()
    call = world.start("api")
    world.runs("migrate", None)
    assert world.state("migrate") == "starting", "to run is not enough"
    assert world.preparing == {}
    world.dies("migrate", code=0)
    assert world.last(ServiceExited) == ServiceExited("migrate", "exit code 0", 0, None, "completed")
    status = world.status("migrate")
    assert (status.state, status.exit_code, status.pid, status.uptime_ms) == ("ready", 0, None, None)
    world.runs("api", None)
    assert world.result(call).status.state == "ready"
    assert [each.service for each in world.told if isinstance(each, ServiceReady)] == ["api"]


def test_a_task_runs_once() -> None:
    world = done()
    assert world.result(world.start("migrate")).status.exit_code == 0
    world.start("api")
    assert list(world.preparing) == ["api"]


def test_a_task_that_fails_is_tried_again_as_its_policy_says() -> None:
    world = running(restart={"limit": 1})
    world.prints("no database", service="migrate")
    world.dies("migrate", code=3)
    assert world.status("migrate").exit_code == 3
    assert world.state("migrate") == "backingOff"
    assert world.last(ServiceExited).cause == "crashed"
    world.tick()
    assert world.status("migrate").exit_code is None
    world.runs("migrate", None)
    world.dies("migrate", code=4)
    status = world.status("migrate")
    assert (status.state, status.exit_code) == ("failed", 4)
    assert "migrate failed: it ended with exit code 4." in status.error.message


def test_a_task_that_fails_fails_what_depends_on_it() -> None:
    world = task_world(restart={"policy": "never"})
    call = world.start("api")
    world.runs("migrate", None)
    world.dies("migrate", code=3)
    assert world.error(call).data["dependency"] == "migrate"


def test_a_task_that_cannot_get_better_is_not_tried_again() -> None:
    world = running()
    world.prints("ModuleNotFoundError: No module named 'alembic'", service="migrate")
    world.dies("migrate", code=1)
    assert world.state("migrate") == "failed"
    assert "A Python module is missing" in world.status("migrate").error.message


def test_a_signal_is_no_end_of_work() -> None:
    world = running()
    world.dies("migrate", signal="SIGSEGV")
    assert world.state("migrate") == "backingOff"
    assert world.status("migrate").exit_code is None


def test_to_be_repeated_always_is_for_what_does_not_end() -> None:
    world = running(restart={"policy": "always"})
    world.dies("migrate", code=0)
    assert world.state("migrate") == "ready"


def test_a_task_is_stopped_in_the_middle_of_its_work() -> None:
    world = running()
    call = world.stop("migrate")
    world.dies("migrate", code=0)
    assert world.result(call).status.state == "stopped"
    assert world.last(ServiceExited).cause == "requested"


def test_done_task_stops_at_once_and_its_next_start_runs_it_again() -> None:
    world = done()
    assert world.result(world.stop("migrate")).status.state == "stopped"
    world.start("migrate")
    assert "migrate" in world.preparing


def test_a_restart_runs_a_task_again() -> None:
    world = done()
    call = world.restart("migrate")
    world.runs("migrate", None)
    world.dies("migrate", code=0)
    assert world.result(call).status.state == "ready"
    assert world.states("migrate") == ["starting", "ready", "stopping", "starting", "ready"]


def test_a_restart_of_a_task_that_is_done_starts_what_it_needs() -> None:
    world = World({"db": COMMAND, "migrate": {**TASK, "dependsOn": ["db"]}})
    world.start("migrate")
    world.runs("db", None)
    world.runs("migrate", None)
    world.dies("migrate", code=0)
    world.stop("db")
    world.dies("db", code=0)
    call = world.restart("migrate")
    world.runs("db", None)
    world.runs("migrate", None)
    world.dies("migrate", code=0)
    assert world.result(call).status.state == "ready"


def test_a_task_that_takes_long_is_told_of_and_ended_by_its_time() -> None:
    world = running(readyTimeoutMs=5_000)
    world.tick()
    world.finds(service="migrate")
    assert world.last(ServiceWaiting).detail == "it has not ended yet"
    world.overdue("migrate")
    world.dies("migrate")
    assert world.last(ServiceExited).cause == "timeout"
    assert world.state("migrate") == "failed"


def test_a_task_that_is_done_holds_no_shutdown_up() -> None:
    world = done()
    world.shutdown()
    assert world.exit_code == 0
