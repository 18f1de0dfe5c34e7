"""A program that chooses its own port prints where it listens, and services that refer to it get that address."""

from __future__ import annotations

import re

import pytest

from sidecar.config.groups import names_address, python_pattern
from sidecar.config.wiring import parse_services
from sidecar.core.capture import captured, says_where
from sidecar.core.events import Address, Endpoint, RememberPort
from sidecar.errors import InvalidParamsError
from sidecar.protocol.messages import ServiceExited, ServiceReady, ServiceRestarting, ServiceWaiting
from tests.core.world import COMMAND, VITE, World

API: dict[str, object] = {**COMMAND, "ready": {"type": "log", "pattern": r"running on (?<url>\S+)"}}
WEB: dict[str, object] = {**VITE, "dependsOn": ["api"], "env": {"API": "{services.api.url}"}}


def says(world: World, url: str) -> None:
    """Return a service whose program chooses its address and prints it."""
    world.prints(f"running on {url}", service="api")


def api_up(world: World, url: str) -> None:
    world.runs("api", None)
    says(world, url)
    world.probe(service="api")


# ── one line ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("groups", "endpoint", "address"),
    [
        ({"port": "8000"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"port": "8000", "host": "localhost"}, Endpoint("localhost", 8_000), Address()),
        ({"port": "8000", "host": "::1"}, Endpoint("::1", 8_000), Address()),
        ({"port": "8000", "host": "[::1]"}, Endpoint("::1", 8_000), Address()),
        ({"port": "8000", "host": "0.0.0.0"}, Endpoint("0.0.0.0", 8_000), Address()),
        ({"port": "8000", "host": "example.com"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"port": "8000", "host": "*"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"url": "http://127.0.0.1:8000/"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"url": "https://localhost:8443/v1/"}, Endpoint("localhost", 8_443), Address("https", base="/v1/")),
        ({"url": "http://[::1]:8000"}, Endpoint("::1", 8_000), Address()),
        ({"url": "https://localhost"}, Endpoint("localhost", 443), Address("https")),
        ({"url": "http://example.com:8000/?a#b"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"url": "localhost:8000."}, Endpoint("localhost", 8_000), Address()),
        ({"url": "http://*:8000"}, Endpoint("127.0.0.1", 8_000), Address()),
        ({"url": "http://localhost/v1", "port": "8000"}, Endpoint("localhost", 8_000), Address(base="/v1")),
    ],
)
def test_an_address_is_taken_out_of_a_line(groups: dict[str, str], endpoint: Endpoint, address: Address) -> None:
    assert says_where(groups)
    assert captured(groups, "127.0.0.1") == (endpoint, address)


@pytest.mark.parametrize(
    "groups",
    [
        *({"port": text} for text in ("", "0", "65536", "9" * 5_000, "x", "\u0661")),
        *({"url": text} for text in ("", "localhost", "/v1")),
    ],
)
def test_what_is_no_port_is_no_address(groups: dict[str, str]) -> None:
    assert captured(groups, "127.0.0.1") is None


def test_a_host_alone_says_nothing() -> None:
    assert not says_where({"host": "localhost"})
    assert not names_address(r"(?<host>\S+)")


@pytest.mark.parametrize(
    ("pattern", "python", "names"),
    [
        (r"(?<port>\d+)", r"(?P<port>\d+)", True),
        (r"(?P<url>\S+)", r"(?P<url>\S+)", True),
        (r"(?<=on )(?<!x)\d+", r"(?<=on )(?<!x)\d+", False),
        (r"\(?<port>", r"\(?<port>", False),
        (r"[(?<port>]", r"[(?<port>]", False),
        (r"[^](?<port>]", r"[^](?<port>]", False),
        (r"[\](?<port>]", r"[\](?<port>]", False),
        (r"\\(?<port>a)", r"\\(?P<port>a)", True),
        (r"(?<name>a)", r"(?P<name>a)", False),
    ],
)
def test_a_named_group_may_be_spelt_as_elsewhere(pattern: str, python: str, names: bool) -> None:
    assert python_pattern(pattern) == python
    assert re.compile(python).pattern == python
    assert names_address(pattern) is names


# ── a service ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_is_ready_where_it_says_once_that_socket_is_its_own() -> None:
    world = World({"api": API})
    call = world.start("api")
    world.runs("api", None)
    world.prints("starting", service="api")
    assert world.awaiting == {}
    says(world, "https://localhost:8443/v1/")
    assert world.awaiting["api"].endpoint == Endpoint("localhost", 8_443)
    assert (world.state("api"), world.status("api").port) == ("starting", 8_443)
    world.probe("foreign", "api")
    assert world.state("api") == "starting", "another program has that port"
    world.probe(service="api")
    assert world.result(call).status.url == "https://localhost:8443/v1/"
    assert world.last(ServiceReady).port == 8_443
    assert not [effect for effect in world.effects if isinstance(effect, RememberPort)], "it was not our choice"


def test_lines_without_an_address_are_skipped_and_the_first_address_counts() -> None:
    world = World({"api": API})
    world.start("api")
    world.runs("api", None)
    says(world, "port")
    assert world.awaiting == {}
    says(world, "http://127.0.0.1:8000/")
    says(world, "http://127.0.0.1:9000/")
    assert world.awaiting["api"].endpoint.port == 8_000


def test_an_address_is_taken_only_out_of_a_line_that_has_ended() -> None:
    world = World({"api": API})
    world.start("api")
    world.runs("api", None)
    world.prints(service="api", partial="running on http://127.0.0.1:80")
    assert world.awaiting == {}
    says(world, "http://127.0.0.1:8000/")
    assert world.awaiting["api"].endpoint.port == 8_000


def test_a_program_that_was_told_a_port_and_takes_another_one_is_found_there() -> None:
    world = World({"api": {**API, "port": {}}})
    world.start("api")
    world.runs("api", 8_000)
    says(world, "http://127.0.0.1:8001/")
    world.ports["api"] = 8_001
    world.probe(service="api")
    assert world.status("api").url == "http://127.0.0.1:8001/"


def test_where_it_listens_instead_is_told() -> None:
    world = World({"api": API})
    world.start("api")
    world.runs("api", None)
    says(world, "http://127.0.0.1:8000/")
    world.probe("down", "api", "refused")
    world.wait(2)
    world.finds(("127.0.0.1", 9_000), service="api")
    assert world.last(ServiceWaiting).detail == "it listens on 127.0.0.1:9000; it said that it listens on 8000"


def test_a_host_without_a_port_makes_a_service_ready_as_any_line_does() -> None:
    world = World({"api": {**COMMAND, "ready": {"type": "log", "pattern": r"running on (?<host>\S+)"}}})
    world.start("api")
    world.runs("api", None)
    says(world, "localhost")
    assert (world.state("api"), world.status("api").url) == ("ready", None)


# ── others ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_depends_on_it_is_told_its_address_and_no_port_is_chosen() -> None:
    world = World({"web": WEB, "api": API})
    world.start("web")
    assert (world.choosing, set(world.preparing)) == ({}, {"api"})
    api_up(world, "http://127.0.0.1:8000/v1/")
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8000/v1/"}
    assert world.choosing == {}


def test_no_port_is_chosen_for_one_that_waits_itself() -> None:
    world = World({"web": WEB, "api": {**API, "dependsOn": ["db"]}, "db": COMMAND})
    world.start("web")
    assert (world.choosing, set(world.preparing)) == ({}, {"db"})
    world.runs("db", None)
    assert (world.choosing, set(world.preparing)) == ({}, {"api"})


def test_another_port_after_a_crash_restarts_who_was_told_the_old_one() -> None:
    world = World({"web": WEB, "api": API})
    world.start("web")
    api_up(world, "http://127.0.0.1:8000/")
    world.runs("web")
    world.probe(service="web")
    world.dies("api")
    world.tick()
    assert world.state("web") == "ready"
    world.runs("api", None)
    assert world.status("api").port is None, "nobody knows yet where it listens"
    says(world, "http://127.0.0.1:8001/")
    assert world.state("web") == "stopping"
    world.dies("web", code=0)
    assert world.last(ServiceExited).cause == "addressChanged"
    world.probe(service="api")
    assert world.last(ServiceRestarting).cause == "addressChanged"
    assert world.preparing["web"].known == {"services.api.url": "http://127.0.0.1:8001/"}


@pytest.mark.parametrize(
    ("services", "path", "said"),
    [
        ({"web": {**WEB, "dependsOn": []}, "api": API}, "$.web.env.API", "dependsOn has to name api"),
        ({"api": {**API, "env": {"ME": "{url}"}}}, "$.api.env.ME", "tells its address itself, once it runs"),
        ({"web": WEB, "api": {**COMMAND, "ready": {"type": "log", "pattern": "up"}}}, "$.web.env.API", "has no port"),
        ({"web": WEB, "api": {**COMMAND, "ready": {"type": "delay", "ms": 1}}}, "$.web.env.API", "has no port"),
    ],
)
def test_a_reference_that_could_not_be_filled_in_in_time_is_refused(
    services: dict[str, object], path: str, said: str
) -> None:
    with pytest.raises(InvalidParamsError, match=said) as refused:
        parse_services(services, "$")
    assert refused.value.data["path"] == path
