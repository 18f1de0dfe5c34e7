"""Services that are declared together: references must name existing services, and dependencies have no cycle."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.wiring import parse_services
from sidecar.errors import InvalidParamsError

COMMAND: dict[str, Any] = {"type": "command", "command": ["serve"]}
LISTENS: dict[str, Any] = {**COMMAND, "port": {}}


def fault_of(services: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(InvalidParamsError) as caught:
        parse_services(services, "$")
    return caught.value.data


def needs(*names: str) -> dict[str, Any]:
    return {**COMMAND, "dependsOn": list(names)}


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ("{services.apy.url}", "$.web.env.A"),
        ("{services.api.uri}", "$.web.env.A"),
        ("{services.api}", "$.web.env.A"),
        ("{services.}", "$.web.env.A"),
        ("{services.db.port}", "$.web.env.A"),
        ("{services.web.port}", "$.web.env.A"),
        ("{services.token.x}", "$.web.env.A"),
    ],
)
def test_a_reference_to_nothing_is_named_by_its_place(env: str, place: str) -> None:
    services = {"web": {"type": "vite", "env": {"A": env}}, "api": LISTENS, "db": COMMAND}
    assert fault_of(services)["path"] == place


def test_what_was_probably_meant_is_named() -> None:
    web = {"type": "vite", "env": {"A": "{services.apy.url}"}}
    assert fault_of({"web": web, "api": LISTENS})["nearest"] == "api"
    web = {"type": "vite", "env": {"A": "{services.api.hst}"}}
    assert fault_of({"web": web, "api": LISTENS})["nearest"] == "host"


@pytest.mark.parametrize(
    ("service", "place"),
    [
        ({**COMMAND, "command": ["serve", "{token}"]}, "$.web.command[1]"),
        ({"type": "vite", "args": ["--force", "{services.api.token}"]}, "$.web.args[1]"),
    ],
)
def test_a_token_in_a_command_line_is_refused(service: dict[str, Any], place: str) -> None:
    assert fault_of({"web": service, "api": LISTENS})["path"] == place


def test_a_client_s_long_reference_is_not_sent_back_whole() -> None:
    web = {"type": "vite", "env": {"A": f"{{services.{'x' * 10_000}.url}}"}}
    assert len(fault_of({"web": web})["reason"]) < 500


def test_names_may_have_dots_and_blanks() -> None:
    services = {"my api.v2": LISTENS, "web": {"type": "vite", "env": {"A": "{services.my api.v2.url}"}}}
    assert list(parse_services(services, "$")) == ["my api.v2", "web"]


def test_a_dependency_that_does_not_exist_is_named_by_its_place() -> None:
    data = fault_of({"web": needs("db", "apy"), "api": COMMAND, "db": COMMAND})
    assert (data["path"], data["nearest"]) == ("$.web.dependsOn[1]", "api")


@pytest.mark.parametrize(
    ("services", "place", "cycle"),
    [
        ({"a": needs("a")}, "$.a.dependsOn[0]", ["a", "a"]),
        ({"a": needs("b"), "b": needs("c", "a"), "c": COMMAND}, "$.a.dependsOn[0]", ["a", "b", "a"]),
        ({"x": needs("a"), "a": needs("c", "b"), "b": needs("a"), "c": COMMAND}, "$.a.dependsOn[1]", ["a", "b", "a"]),
    ],
)
def test_services_that_wait_for_each_other_are_named(services: dict[str, Any], place: str, cycle: list[str]) -> None:
    data = fault_of(services)
    assert (data["path"], data["cycle"]) == (place, cycle)


def test_a_diamond_and_a_dependency_that_is_named_twice_are_no_cycle() -> None:
    services = {"web": needs("api", "auth", "api"), "api": needs("db"), "auth": needs("db"), "db": COMMAND}
    assert len(parse_services(services, "$")) == 4
