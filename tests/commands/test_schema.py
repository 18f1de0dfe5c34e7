"""The JSON schema accepts what the code accepts and sends, and references every type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from sidecar.commands.schema import protocol_schema
from sidecar.config.services import SERVICE_TYPES, parse_service
from sidecar.errors import ERROR_CODES, InvalidParamsError
from sidecar.protocol.messages import NOTIFICATIONS, State
from sidecar.protocol.requests import METHODS
from tests.protocol.conversations import FILES, Entry, is_input, read
from tests.support.command import MODULE

REFUSED = {-32600, -32601, -32602}
BEYOND_A_SCHEMA = {
    "$.id",  # it is in use
    "$.params.protocolVersion",  # a number, but not ours
    "$.params.services.web.command[0]",
    "$.params.services.web.port",  # needed only beside other fields
    "$.params.services.web.ready.pattern",
    "$.params.service",  # it has no token
    "$.params.services.web.env.A",  # it refers to nothing
    "$.params.services.web.args[0]",
    "$.params.services.api.port",
    "$.params.services.web.dependsOn[0]",  # there is none, or it leads back
    "$.params.services.api.dev",  # it is told of no variant
    "$.params.services.api.release",
    "$.params.services.web.release",
    "$.params.services.api.release.dependsOn[0]",
    "$.params.origins.wbe",  # it names no service
    "$.params.services.web.env.VITE_API",  # it refers to what is not known in time
}
"""Places of faults that a schema cannot detect."""


@cache
def document() -> Any:
    return json.loads(protocol_schema())


def validator(name: str | None = None, *, closed: bool = False) -> Draft202012Validator:
    """Return a validator for one type of the document, or for all. ``closed`` refuses unknown members."""
    whole = _closed(document()) if closed else document()
    return Draft202012Validator({**whole, "oneOf": [{"$ref": f"#/$defs/{name}"}]} if name else whole)


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: _closed(each) for key, each in node.items()}
    return {"additionalProperties": False, **made} if "title" in node and "properties" in node else made


def lines(side: str) -> Iterator[tuple[str, Any]]:
    for file in FILES:
        for entry in read(file):
            if entry.get("from") == side and "line" in entry:
                yield file.stem, entry["line"]


def answers_to(entries: list[Entry], at: int) -> list[Any]:
    """Return the server's lines up to the next input."""
    found = []
    for entry in entries[at + 1 :]:
        if is_input(entry):
            break
        if entry.get("from") == "server":
            found.append(entry["line"])
    return found


# ── the document ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_is_a_schema_of_2020_12_laid_out_for_people() -> None:
    Draft202012Validator.check_schema(document())
    assert document()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    text = protocol_schema()
    assert text.endswith("}\n")
    assert text.splitlines()[1].startswith('  "')


def test_the_document_is_the_same_in_every_process() -> None:
    made = {
        subprocess.run(
            [sys.executable, *MODULE, "schema"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("1", "2", "3")
    }
    assert made == {protocol_schema()}


def test_every_reference_resolves_and_every_type_is_reachable() -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, each in node.items():
                yield from [each] if key == "$ref" else references(each)
        elif isinstance(node, list):
            for each in node:
                yield from references(each)

    types = document()["$defs"]
    seen: set[str] = set()
    waiting = list(references(document()["oneOf"]))
    while waiting:
        name = waiting.pop().removeprefix("#/$defs/")
        if name not in seen:
            seen.add(name)
            waiting += references(types[name])
    assert seen == set(types)


def test_a_program_finds_every_method_notification_error_and_state() -> None:
    table, types = document()["x-protocol"], document()["$defs"]

    def found(reference: str) -> Any:
        return types[reference.removeprefix("#/$defs/")]

    assert list(table["methods"]) == list(METHODS)
    for method, places in table["methods"].items():
        assert found(places["request"])["properties"]["method"] == {"enum": [method]}
        assert found(places["request"])["properties"]["params"] == {"$ref": places["params"]}
        assert found(places["answer"])["properties"]["result"] == {"$ref": places["result"]}
        assert found(places["params"])["description"]
    assert list(table["notifications"]) == [kind.method for kind in NOTIFICATIONS]
    for method, places in table["notifications"].items():
        assert found(places["line"])["properties"]["method"] == {"enum": [method]}
        assert found(places["line"])["properties"]["params"] == {"$ref": places["params"]}
    assert table["errors"] == {str(code): kind for code, kind in ERROR_CODES.items()}
    codes = types["Failure"]["properties"]["code"]["oneOf"]
    assert {each["const"]: each["title"] for each in codes} == ERROR_CODES
    assert all(each["description"] for each in codes)
    assert sorted(types["State"]["enum"]) == sorted(get_args(State))


def test_services_are_the_union_of_the_types_that_the_code_parses() -> None:
    services = document()["$defs"]["Initialize"]["properties"]["services"]
    assert services["additionalProperties"] == {"$ref": "#/$defs/Service"}
    assert set(document()["$defs"]["Service"]["discriminator"]["mapping"]) == set(SERVICE_TYPES)


# ── the golden conversations ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_line_of_the_sidecar_is_in_the_schema_with_all_its_members(file: Path) -> None:
    whole, server = validator(), validator("ServerMessage", closed=True)
    for entry in read(file):
        if entry.get("from") == "server":
            whole.validate(entry["line"])
            server.validate(entry["line"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_schema_takes_a_line_of_the_client_where_the_sidecar_does(file: Path) -> None:
    client = validator("ClientMessage")
    entries = read(file)
    for at, entry in enumerate(entries):
        if entry.get("from") != "client" or "line" not in entry:
            continue
        errors = [
            line.get("error") or line["params"]["error"]
            for line in answers_to(entries, at)
            if "error" in line or line.get("method") == "supervisor/error"
        ]
        refused = [error for error in errors if error["code"] in REFUSED]
        places = {error["data"]["path"] for error in refused}
        if places & BEYOND_A_SCHEMA and client.is_valid(entry["line"]):
            continue
        assert client.is_valid(entry["line"]) is not bool(refused), (entry["line"], errors)


def test_each_result_has_the_shape_that_the_table_names_for_its_method() -> None:
    shapes = {method: places["result"] for method, places in document()["x-protocol"]["methods"].items()}
    checked = set()
    for file in FILES:
        entries = read(file)
        asked = {
            entry["line"]["id"]: entry["line"]["method"]
            for entry in entries
            if entry.get("from") == "client" and isinstance(entry.get("line"), dict) and entry["line"].get("method")
            if isinstance(entry["line"].get("id"), str | int)
        }
        if file.stem in ("bad_input", "duplicate_ids"):
            continue  # an id is used more than once there
        for entry in entries:
            if entry.get("from") == "server" and "result" in entry["line"]:
                method = asked[entry["line"]["id"]]
                validator(shapes[method].removeprefix("#/$defs/"), closed=True).validate(entry["line"]["result"])
                checked.add(method)
    assert checked == set(METHODS)


# ── services ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SERVICES: list[Any] = [
    {"type": "vite"},
    {"type": "vite", "root": "a", "args": ["--force"], "mode": "test", "configFile": "c.ts", "node": "/usr/bin/node"},
    {"type": "vite", "env": {"A": ""}, "port": {"preferred": 1, "host": "::1", "env": "P", "sticky": False}},
    {"type": "vite", "port": {"preferred": None}, "mode": None},
    {"type": "vite", "health": {"intervalMs": 0, "timeoutMs": 1, "failures": 1}, "readyTimeoutMs": 1},
    {"type": "vite", "restart": {"policy": "never", "backoff": {"factor": 1, "jitter": 0}, "limit": 0}},
    {"type": "vite", "stop": {"signal": "SIGKILL", "timeoutMs": 0, "appDeathGraceMs": 86_400_000}},
    {"type": "command", "command": ["serve"]},
    {"type": "command", "command": ["serve", ""], "cwd": "x", "ready": {"type": "delay", "ms": 0}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "http", "path": "/a?b", "status": 204}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "tcp"}},
    {"type": "command", "command": ["serve"], "ready": {"type": "log", "pattern": "x"}},
    None,
    [],
    {},
    {"type": "Vite"},
    {"type": "vite", "command": ["serve"]},
    {"type": "vite", "root": ""},
    {"type": "vite", "root": "a\0b"},
    {"type": "vite", "args": "--force"},
    {"type": "vite", "env": {"": "x"}},
    {"type": "vite", "env": {"A=B": "x"}},
    {"type": "vite", "env": {"A": "\0"}},
    {"type": "vite", "env": {"A": None}},
    {"type": "vite", "env": {"A\0": "x"}},
    {"type": "vite", "port": {"preferred": 0}},
    {"type": "vite", "port": {"preferred": 65_536}},
    {"type": "vite", "port": {"preferred": "5173"}},
    {"type": "vite", "port": {"preferred": True}},
    {"type": "vite", "port": 5173},
    {"type": "vite", "port": None},
    {"type": "vite", "readyTimeoutMs": 0},
    {"type": "vite", "readyTimeoutMs": 1.5},
    {"type": "vite", "ready_timeout_ms": 1},
    {"type": "vite", "health": {"failures": 0}},
    {"type": "vite", "restart": {"policy": "on-failure"}},
    {"type": "vite", "restart": {"backoff": {"factor": 0.9}}},
    {"type": "vite", "restart": {"backoff": {"jitter": 1.1}}},
    {"type": "vite", "stop": {"signal": "TERM"}},
    {"type": "vite", "stop": {"signal": 15}},
    {"type": "command"},
    {"type": "command", "command": []},
    {"type": "command", "command": "serve"},
    {"type": "command", "command": [1]},
    {"type": "command", "command": ["serve"], "root": "."},
    {"type": "command", "command": ["serve"], "ready": {}},
    {"type": "command", "command": ["serve"], "ready": {"type": "delay"}},
    {"type": "command", "command": ["serve"], "ready": {"type": "delay", "ms": -1}},
    {"type": "command", "command": ["serve"], "ready": {"type": "tcp", "path": "/"}},
    {"type": "command", "command": ["serve"], "ready": {"type": "log", "pattern": ""}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "http", "path": "a"}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "http", "path": "/a b"}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "http", "path": "/a\n"}},
    {"type": "command", "command": ["serve"], "port": {}, "ready": {"type": "http", "status": 99}},
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: json.dumps(service)[:70])
def test_schema_and_code_agree_on_which_services_there_are(service: Any) -> None:
    try:
        parse_service(service, "$")
        taken = True
    except InvalidParamsError:
        taken = False
    assert validator("Service").is_valid(service) is taken
