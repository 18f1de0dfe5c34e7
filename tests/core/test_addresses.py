"""Services that refer to each other: a reference waits for no start, and no service keeps an outdated address."""

from __future__ import annotations

import pytest

from sidecar.core.events import Address, Output, Release
from sidecar.core.redaction import REDACTED
from sidecar.errors import NodeNotFoundError, PortUnavailableError
from sidecar.protocol.messages import ServiceExited, ServiceLog, ServiceRestarting
from sidecar.protocol.requests import Initialize, Logs, Token
from tests.core.world import COMMAND, PLAIN, VITE, World

API: dict[str, object] = {**COMMAND, "port": {}, "env": {"CORS": "{services.web.origin}"}}
WEB: dict[str, object] = {**VITE, "env": {"API": "{services.api.url}"}}
PLAIN_API: dict[str, object] = {**COMMAND, "port": {}}


def web_and_api(api: dict[str, object] = PLAIN_API) -> World:
    """``web`` is up and refers to ``api``, which has a port but was never started."""
    world = World({"web": WEB, "api": api})
    world.start("web")
    world.chosen("api", 8_000)
    if "web" in world.choosing:
        world.chosen("web")
    world.runs("web")
    world.probe(service="web")
    return world


def api_up(world: World, port: int = 8_000, address: Address = PLAIN) -> None:
    world.start("api")
    world.runs("api", port)
    world.probe(service="api", address=address)


def released(world: World) -> list[str]:
    return [effect.service for effect in world.effects if isinstance(effect, Release)]


# ── nothing waits ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_referenced_port_is_chosen_without_starting_its_service() -> None:
    world = web_and_api()
    assert world.state("web") == "ready"
    assert world.state("api") == "stopped"
    assert world.status("api").port is None, "it listens nowhere"


def test_what_is_known_reaches_whoever_prepares() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    world.start("web")
    assert world.preparing == {}
    world.chosen("api", 8_000)
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8000/"}


def test_a_service_that_runs_already_is_asked_for_no_port() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    api_up(world, 8_001)
    world.start("web")
    assert world.choosing == {}
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}


def test_a_service_that_is_being_prepared_chooses_its_port_itself() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    world.start("api")
    world.start("web")
    assert (world.choosing, set(world.preparing)) == ({}, {"api"})
    world.prepared("api", 8_001)
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}


def test_a_preparation_that_fails_leaves_the_choice_to_others() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    world.start("api")
    world.start("web")
    world.prepare_fails(NodeNotFoundError("no node"), "api")
    assert set(world.choosing) == {"api"}


def test_service_is_prepared_only_after_its_port_was_chosen() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    world.start("web")
    world.start("api")
    assert world.preparing == {}
    world.chosen("api", 8_000)
    assert world.preparing["api"].keep == 8_000


def test_two_services_may_refer_to_each_other() -> None:
    world = World({"web": WEB, "api": API})
    world.start("web")
    world.start("api")
    world.chosen("api", 8_000)
    assert world.preparing == {}
    world.chosen("web", 5_173)
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8000/"}
    assert world.preparing["api"].known == {"services.web.origin": "http://127.0.0.1:5173"}


def test_start_fails_without_the_referenced_port_and_the_next_one_retries() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    call = world.start("web")
    world.not_chosen("api", PortUnavailableError("none is free"))
    assert world.error(call).message == "none is free"
    assert world.state("web") == "failed"
    world.start("web")
    assert set(world.choosing) == {"api"}


# ── a port that is kept ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_is_started_on_the_port_that_others_were_told() -> None:
    world = web_and_api()
    world.start("api")
    assert world.preparing["api"].keep == 8_000


def test_a_stopped_service_keeps_the_port_that_others_were_told() -> None:
    world = web_and_api()
    api_up(world)
    world.stop("api")
    world.dies("api", code=0)
    assert "api" not in released(world)
    world.start("api")
    assert world.preparing["api"].keep == 8_000


def test_ports_are_given_back_once_nobody_is_told_of_them() -> None:
    world = web_and_api()
    world.stop("web")
    world.dies("web", code=0)
    assert released(world) == ["web", "api"]


def test_a_port_that_is_chosen_too_late_is_given_back_at_once() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    world.start("web")
    world.stop("web")
    world.chosen("api", 8_000)
    assert released(world) == ["web", "api"]


def test_stopping_referrers_does_not_give_back_a_running_services_port() -> None:
    world = web_and_api()
    api_up(world)
    world.stop("web")
    world.dies("web", code=0)
    assert released(world) == ["web"]


# ── an address that changes ───────────────────────────────────────────────────────────────────────────────────────────


def test_new_port_restarts_referrers_and_counts_as_no_crash() -> None:
    world = web_and_api()
    world.start("api")
    world.prepared("api", 8_001)
    assert world.state("web") == "stopping"
    world.dies("web", code=0)
    assert world.last(ServiceExited).cause == "addressChanged"
    assert "address" in world.last(ServiceExited).reason
    restarting = world.last(ServiceRestarting)
    assert (restarting.attempt, restarting.delay_ms, restarting.cause) == (0, 0, "addressChanged")
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}
    assert world.preparing["web"].keep == 5_173
    world.runs("web")
    world.probe(service="web")
    assert world.status("web").restarts == 0


def test_the_same_port_restarts_nobody() -> None:
    world = web_and_api(API)
    api_up(world)
    assert world.state("web") == "ready"


@pytest.mark.parametrize("address", [Address("https"), Address(host="::1"), Address(base="/v1/")])
def test_an_answer_elsewhere_than_was_thought_is_a_changed_address(address: Address) -> None:
    world = web_and_api()
    api_up(world, address=address)
    assert world.state("web") == "stopping"
    world.dies("web")
    known = world.preparing["web"].known["services.api.url"]
    assert known == world.status("api").url


def test_only_what_is_referred_to_counts() -> None:
    world = World({"web": {**WEB, "env": {"API": "{services.api.port}"}}, "api": PLAIN_API})
    world.start("web")
    world.chosen("api", 8_000)
    world.runs("web")
    world.probe(service="web")
    api_up(world, address=Address("https", "::1", "/v1/"))
    assert world.state("web") == "ready"


def test_a_crash_of_a_service_leaves_those_that_refer_to_it_alone() -> None:
    world = web_and_api()
    api_up(world, address=Address("https"))
    world.dies("web")
    world.runs("web")
    world.probe(service="web")
    world.dies("api")
    assert world.state("api") == "backingOff"
    world.tick()
    world.runs("api", 8_000)
    assert world.state("web") == "ready", "it speaks TLS on that port, and will again"


def test_a_start_that_was_told_an_old_address_begins_anew() -> None:
    world = World({"web": WEB, "api": PLAIN_API})
    call = world.start("web")
    world.chosen("api", 8_000)
    world.start("api")
    world.prepared("api", 8_001)
    world.prepared("web")
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}
    world.runs("web")
    world.probe(service="web")
    assert world.result(call).status.state == "ready"


def test_a_stop_during_the_restart_for_an_address_is_a_stop() -> None:
    world = web_and_api()
    world.start("api")
    world.prepared("api", 8_001)
    call = world.stop("web")
    world.dies("web", code=0)
    assert world.result(call).status.state == "stopped"
    assert world.last(ServiceExited).cause == "requested"


def test_a_backoff_takes_the_address_of_its_end() -> None:
    world = web_and_api()
    world.dies("web")
    world.start("api")
    world.prepared("api", 8_001)
    assert world.state("web") == "backingOff"
    world.tick()
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}


# ── an address that the app keeps ─────────────────────────────────────────────────────────────────────────────────────

KEPT = {"web": "http://127.0.0.1:20001", "api": "http://localhost:20002"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("origin", "http://localhost:20002"), ("url", "http://localhost:20002/")],
)
def test_an_address_that_the_app_keeps_is_told_at_once_and_no_port_is_chosen(field: str, value: str) -> None:
    world = World({"web": {**VITE, "env": {"API": f"{{services.api.{field}}}"}}, "api": PLAIN_API}, origins=KEPT)
    world.start("web")
    assert world.choosing == {}
    assert world.preparing["web"].known == {f"services.api.{field}": value}


def test_a_kept_address_stays_whatever_port_its_service_takes() -> None:
    world = World({"web": WEB, "api": API}, origins=KEPT)
    world.up("web")
    api_up(world, 8_001, Address("https", base="/v1/"))
    assert world.state("web") == "ready"
    world.stop("api")
    world.dies("api", code=0)
    assert "api" in released(world), "nobody was told of its port"
    api_up(world, 8_002)
    assert world.state("web") == "ready"


@pytest.mark.parametrize("field", ["port", "host"])
def test_port_and_host_tell_where_it_listens_also_behind_a_kept_address(field: str) -> None:
    world = World({"web": {**VITE, "env": {"API": f"{{services.api.{field}}}"}}, "api": PLAIN_API}, origins=KEPT)
    world.start("web")
    assert set(world.choosing) == {"api"}


def test_an_address_that_the_app_does_not_keep_is_the_services_own() -> None:
    world = World({"web": WEB, "api": PLAIN_API}, origins={"web": KEPT["web"]})
    world.start("web")
    assert set(world.choosing) == {"api"}


@pytest.mark.parametrize(
    ("origins", "path", "said"),
    [
        ({"wbe": "http://127.0.0.1:1"}, "$.params.origins.wbe", "did you mean web?"),
        ({"web": "127.0.0.1:1"}, "$.params.origins.web", "is no web origin"),
    ],
)
def test_a_kept_address_is_an_origin_of_a_service_that_was_declared(
    origins: dict[str, str], path: str, said: str
) -> None:
    world = World(silent=True)
    error = world.error(world.call(Initialize(1, services={"web": VITE}, origins=origins)))
    assert (error.data["kind"], error.data["path"]) == ("InvalidParams", path)
    assert said in error.message


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────

GUARDED: dict[str, object] = {**PLAIN_API, "env": {"TOKEN": "{token}"}}
WITH_TOKEN: dict[str, object] = {**COMMAND, "env": {"TOKEN": "{services.api.token}"}}


def test_a_token_is_made_for_each_service_that_something_refers_to() -> None:
    world = World({"api": GUARDED, "db": PLAIN_API, "worker": {**COMMAND, "env": {"A": "{services.db.token}"}}})
    assert len(world.tokens) == 2
    assert world.result(world.call(Token("api"))).token == world.tokens[0]
    assert world.result(world.call(Token("db"))).token == world.tokens[1]
    assert world.error(world.call(Token("worker"))).data["kind"] == "InvalidParams"
    assert world.error(world.call(Token("nope"))).data["kind"] == "UnknownService"


def test_a_token_stays_the_same_over_restarts_and_needs_no_address() -> None:
    world = World({"api": PLAIN_API, "worker": WITH_TOKEN})
    world.start("worker")
    known = world.preparing["worker"].known
    assert known == {"services.api.token": world.tokens[0]}
    world.runs("worker", None)
    world.dies("worker")
    world.tick()
    assert world.preparing["worker"].known == known


def test_no_line_of_any_service_has_a_token() -> None:
    world = World({"api": GUARDED, "worker": WITH_TOKEN})
    api_up(world)
    world.up("worker", port=None)
    token = world.tokens[0]
    world.prints(f"?token={token}&x", "plain", service="worker", partial=f"and {token}")
    world.prints(f"{token}{token}", service="api", stream="stderr")
    world.step(Output("api", 0, "stdout", (token,), 64))
    assert world.logs("api") == [f"{REDACTED}{REDACTED}", REDACTED]
    told = str([each for each in world.told if isinstance(each, ServiceLog)])
    assert token not in told + str(world.result(world.call(Logs("worker"))))
    assert f"?token={REDACTED}&x" in told


@pytest.mark.parametrize("cut", [8, 40, 63])
def test_a_token_that_is_cut_in_two_is_not_told_in_parts(cut: int) -> None:
    world = World({"api": GUARDED})
    api_up(world)
    token = world.tokens[0][:-1] + "x"
    world.core._neighbours._redactor._tokens = (token,)
    world.prints(service="api", partial=f"token {token[:cut]}")
    world.prints(f"{'a' * 4_000}{token[:cut]}", f"{token[-cut:]}{'b' * 4_000}", service="api")
    said = str(world.told)
    assert token[:8] not in said
    assert token[-8:] not in said
    assert f"token {REDACTED}" in said
