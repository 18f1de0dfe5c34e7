"""An error for an unknown field also names the field that was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.services import parse_service
from sidecar.config.strict import convert_at, nearest
from sidecar.errors import InvalidParamsError
from sidecar.protocol.requests import Initialize, Start

COMMAND: dict[str, Any] = {"type": "command", "command": ["serve"], "port": {}}


def data_of(value: object) -> dict[str, Any]:
    with pytest.raises(InvalidParamsError) as caught:
        parse_service(value, "$.web")
    return caught.value.data


@pytest.mark.parametrize(
    ("value", "path", "field", "meant"),
    [
        ({"type": "vite", "rot": "."}, "$.web", "rot", "root"),
        ({"type": "vite", "config_file": "a"}, "$.web", "config_file", "configFile"),
        ({"type": "vite", "port": {"prefered": 1}}, "$.web.port", "prefered", "preferred"),
        ({**COMMAND, "ready": {"type": "http", "pth": "/"}}, "$.web.ready", "pth", "path"),
        ({**COMMAND, "restart": {"backoff": {"initial": 1}}}, "$.web.restart.backoff", "initial", "initialMs"),
        ({**COMMAND, "health": {"Restart": True}}, "$.web.health", "Restart", "restart"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest(value: object, path: str, field: str, meant: str) -> None:
    data = data_of(value)
    assert (data["path"], data["field"], data["nearest"]) == (path, field, meant)
    assert meant in data["known"]
    assert f"unknown field `{field}` (did you mean {meant}?) at {path}." in data["reason"]


def test_unknown_field_unlike_any_other_is_refused_with_the_list_of_all() -> None:
    data = data_of({**COMMAND, "health": {"zzz": 1}})
    assert "nearest" not in data
    assert data["known"] == ("intervalMs", "timeoutMs", "restart", "failures")
    assert "(there are intervalMs, timeoutMs, restart, failures)" in data["reason"]


@pytest.mark.parametrize(
    ("value", "path", "field", "known"),
    [
        ({"type": "command"}, "$.web", "command", "cwd"),
        ({}, "$.web", "type", None),
        ({**COMMAND, "ready": {"type": "log"}}, "$.web.ready", "pattern", "type"),
        ({**COMMAND, "ready": {}}, "$.web.ready", "type", None),
    ],
)
def test_a_missing_field_is_named(value: object, path: str, field: str, known: str | None) -> None:
    data = data_of(value)
    assert (data["path"], data["field"]) == (path, field)
    assert known is None or known in data["known"]
    assert f"missing required field `{field}`" in data["reason"]


def test_a_client_s_long_field_is_not_sent_back_whole() -> None:
    data = data_of({"type": "vite", "x" * 10_000: 1})
    assert data["field"] == "x" * 64
    assert len(data["reason"]) < 700


def test_the_fields_of_requests_are_named_the_same_way() -> None:
    with pytest.raises(InvalidParamsError) as caught:
        convert_at({"servce": "web"}, Start, "$.params")
    assert caught.value.data["nearest"] == "service"
    with pytest.raises(InvalidParamsError) as caught:
        convert_at({"protocolVersion": 1, "client": {}}, Initialize, "$.params")
    assert (caught.value.data["path"], caught.value.data["field"]) == ("$.params.client", "name")


def test_a_value_of_a_wrong_type_names_no_field() -> None:
    assert "field" not in data_of({"type": "vite", "port": {"preferred": "x"}})


def test_the_nearest_of_nothing_is_nothing() -> None:
    assert nearest("a", ()) is None
