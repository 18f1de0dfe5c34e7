"""The protocol over all services: which requests are allowed when, and which notifications are sent."""

from __future__ import annotations

import pytest

from sidecar.core.events import AnnounceGrace, Notify, Reply, Swept
from sidecar.core.supervisor import MAX_SERVICES
from sidecar.exit_codes import EXIT_CLEAN
from sidecar.protocol.messages import ShutdownResult, SupervisorFault, SupervisorSwept, SweptProcess
from sidecar.protocol.requests import AnyRequest, Client, Initialize, Logs, Restart, Start, Status, Stop
from tests.core.scenes import db_and_web, graceful
from tests.core.world import COMMAND, GUARANTEES, OUR_PID, VITE, World

# ── initialize ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_initialize_answers_with_version_guarantees_and_services() -> None:
    world = World({"web": VITE, "api": COMMAND})
    result = world.result("initialize")
    assert (result.protocol_version, result.pid, result.guarantees) == (1, OUR_PID, GUARANTEES)
    assert {name: (each.state, each.type) for name, each in result.services.items()} == {
        "web": ("stopped", "vite"),
        "api": ("stopped", "command"),
    }


def test_end_with_stdin_is_not_claimed_where_a_service_turns_it_off() -> None:
    world = World({"web": VITE, "docs": {**VITE, "stdinGuard": False}, "api": COMMAND})
    assert not world.result("initialize").guarantees.stdin_guard


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
        (Initialize(1, services={"ok": VITE, "": VITE}), '$.params.services[""]'),
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


def test_a_pattern_that_takes_too_long_to_compile_is_refused_and_named() -> None:
    def too_slow(_pattern: str, _lines: tuple[str, ...]) -> None:
        raise TimeoutError

    world = World(silent=True)
    world.core._matches = too_slow
    log = {"type": "command", "command": ["serve"], "ready": {"type": "log", "pattern": "(?i)[^x]"}}
    error = world.error(world.call(Initialize(1, services={"web": log})))
    assert error.data["path"] == "$.params.services.web.ready.pattern"
    assert "takes too long to compile" in error.message
    assert world.core.services == {}


def test_initialize_without_an_id_works_and_its_fault_is_told_unasked() -> None:
    world = World(silent=True)
    world.ask(Initialize(protocol_version=9))
    assert world.last(SupervisorFault).error.data["supported"] == [1]
    world.ask(Initialize(1, services={"web": VITE}))
    assert list(world.core.services) == ["web"]
    assert world.answers == {}


def test_the_longest_grace_of_all_services_is_announced_to_the_guard() -> None:
    world = World({"a": {**VITE, **graceful(300)}, "b": {**VITE, **graceful(900)}, "c": VITE})
    assert world.effects[0] == AnnounceGrace(900)
    assert not [effect for effect in World({"a": VITE}).effects if isinstance(effect, AnnounceGrace)]


# ── what earlier runs left ────────────────────────────────────────────────────────────────────────────────────────────

REPORT = SupervisorSwept((SweptProcess(811, "vite"),), groups=1, records=2, folders=0, problems=())
PROBLEM = SupervisorSwept((), groups=0, records=0, folders=0, problems=("this run has no record",))


def test_what_was_swept_before_initialize_is_told_behind_its_answer() -> None:
    world = World(silent=True)
    assert world.step(Swept(PROBLEM)) == world.step(Swept(REPORT)) == []
    world.call(Initialize(protocol_version=2))
    assert not {REPORT, PROBLEM} & set(world.told), "that was refused"
    call = world.call(Initialize(protocol_version=1))
    answer, *told = world.effects[-3:]
    assert isinstance(answer, Reply)
    assert (answer.id, told) == (call, [Notify(PROBLEM), Notify(REPORT)])


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


def test_of_a_name_that_no_service_can_have_only_the_begin_is_sent_back() -> None:
    world = World({"web": VITE})
    error = world.error(world.call(Start("x" * 1_000_000)))
    assert error.data["service"] == "x" * 64
    assert len(error.message) < 200


def test_a_fault_in_a_request_without_an_id_is_told_unasked() -> None:
    world = World({"web": VITE})
    world.ask(Start("nope"))
    assert world.last(SupervisorFault).error.data["kind"] == "UnknownService"


def test_status_gives_one_service_or_all() -> None:
    world = db_and_web()
    assert set(world.result(world.call(Status())).services) == {"db", "web"}
    assert set(world.result(world.call(Status("db"))).services) == {"db"}


def test_questions_without_an_id_are_answered_with_nothing() -> None:
    world = db_and_web()
    assert world.ask(Status()) == []
    assert world.ask(Logs("db")) == []


def test_an_id_of_null_is_an_id_too() -> None:
    world = World({"web": COMMAND})
    world.ask(Start("web"), None)
    world.runs(port=None)
    assert world.result(None).status.state == "ready"


def test_services_run_side_by_side_and_each_has_its_own_timers() -> None:
    world = db_and_web()
    world.dies("db", code=1)
    assert (world.state("db"), world.state("web")) == ("backingOff", "ready")
    assert world.core.next_deadline() == world.now + 0.25
    world.tick()
    assert world.core.next_deadline() == pytest.approx(world.now + 4.75), "the health check of the other"
