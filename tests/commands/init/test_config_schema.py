"""The plugin's schema of plugins.sidecar accepts and refuses the same configurations as the code."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sidecar.commands.schema import config_schema, file_schema
from sidecar.config.wiring import parse_services
from sidecar.errors import InvalidParamsError
from sidecar.tauri.section import PLACE, parse_section
from tests.commands.init.support import ROOT
from tests.support.command import MODULE

PLUGIN = ROOT / "tauri-integration" / "plugin"
WEB = {"type": "vite", "root": ".."}
API = {"type": "command", "command": ["node", "api.js", "{port}"], "port": {}}


def web(**more: Any) -> dict[str, Any]:
    return {"services": {"web": {**WEB, **more}}}


def api(**more: Any) -> dict[str, Any]:
    return {"services": {"api": {**API, **more}}}


GOOD: list[dict[str, Any]] = [
    {},
    {"services": {}},
    web(),
    api(),
    {"services": {"web": WEB, "api": API}, "page": "web"},
    {"page": None},
    web(args=["--force"], mode="staging", configFile="v.ts", node="/usr/bin/node", env={"A": "b"}),
    web(port={"preferred": 1420, "host": "::1", "env": "PORT", "sticky": False}),
    web(health={"intervalMs": 0}, stop={"signal": "SIGINT", "timeoutMs": 1, "appDeathGraceMs": 5}),
    web(restart={"policy": "always", "backoff": {"factor": 1.5, "jitter": 0}, "limit": 0}),
    api(ready={"type": "http", "path": "/x", "status": 204}),
    api(ready={"type": "tcp"}),
    api(ready={"type": "log", "pattern": "^up$"}),
    api(ready={"type": "delay", "ms": 5}),
    api(cwd="api", ready=None, port={"preferred": 1}),
]
BAD: list[Any] = [
    [],
    {"servces": {}},
    {"services": []},
    {"services": {"": WEB}},
    {"services": {"x" * 65: WEB}},
    {"services": {"web": {}}},
    {"services": {"web": {"type": "vit"}}},
    {"page": 1},
    {"window": "main"},
    web(rot=".."),
    web(root=""),
    web(root="a\0b"),
    web(port={"preferred": 0}),
    web(port={"preferred": 65536}),
    web(port={"preferred": "5173"}),
    web(port={"env": "A=B"}),
    web(env={"A": 1}),
    web(env={"A=": "b"}),
    web(command=["x"]),
    web(stop={"signal": "SIGSTOP"}),
    web(restart={"policy": "sometimes"}),
    web(restart={"backoff": {"factor": 0.5}}),
    web(health={"failures": 0}),
    web(readyTimeoutMs=1.5),
    api(command=[]),
    api(command="node api.js"),
    api(ready={"type": "http", "path": "x"}),
    api(ready={"type": "http", "status": 99}),
    api(ready={"type": "delay"}),
    api(ready={"type": "udp"}),
]
BEYOND: list[dict[str, Any]] = [
    {"page": "web"},
    {"services": {"a": WEB, "b": WEB}},
    {"services": {"a\n": WEB}},
    api(command=["", "x"]),
    api(port=None),
    api(ready={"type": "log", "pattern": "("}),
]
"""Faults that a schema cannot detect: conflicts between fields, and Python's own rules."""


@cache
def document() -> Any:
    return json.loads(config_schema())


@cache
def validator() -> Draft7Validator:
    return Draft7Validator(document())


def takes(section: Any) -> bool:
    """Return whether the code accepts it."""
    try:
        parse_services(parse_section(section).services, f"{PLACE}.services", "dev")
    except InvalidParamsError:
        return False
    return True


@pytest.mark.parametrize(
    ("option", "file"), [("--config", "sidecar.schema.json"), ("--file", "sidecar-file.schema.json")]
)
def test_the_plugin_ships_what_the_command_prints(option: str, file: str) -> None:
    words = [sys.executable, *MODULE, "schema", option]
    printed = subprocess.run(words, capture_output=True, check=True).stdout
    shipped = (PLUGIN / file).read_bytes()
    assert shipped == printed, f"renew it: python -m sidecar schema {option} > tauri-integration/plugin/{file}"
    assert file in json.loads((PLUGIN / "package.json").read_text())["files"]


def file_of(section: Any) -> Any:
    """Return the same as a ``sidecar.json``. A missing field must also be missing there."""
    return {"$schema": "x", **section} if isinstance(section, dict) else section


@pytest.mark.parametrize("section", [*GOOD, *BAD], ids=json.dumps)
def test_a_sidecar_json_is_taken_and_refused_by_its_schema_as_a_section_is(section: Any) -> None:
    validator = Draft7Validator(json.loads(file_schema()))
    assert bool(list(validator.iter_errors(file_of(section)))) == (section in BAD)


def test_a_sidecar_json_has_no_other_fields() -> None:
    validator = Draft7Validator(json.loads(file_schema()))
    assert list(validator.iter_errors({"$shema": "x", "services": {}}))
    assert not list(Draft7Validator(json.loads(file_schema())).iter_errors({"services": {"web": WEB}}))


def test_it_is_a_schema_of_the_draft_that_it_names() -> None:
    Draft7Validator.check_schema(document())
    assert document()["$schema"] == Draft7Validator.META_SCHEMA["$schema"]


@pytest.mark.parametrize("section", GOOD, ids=json.dumps)
def test_a_good_section_is_taken_by_both(section: Any) -> None:
    assert takes(section)
    assert not list(validator().iter_errors(section))


@pytest.mark.parametrize("section", BAD, ids=json.dumps)
def test_a_bad_section_is_refused_by_both(section: Any) -> None:
    assert not takes(section)
    assert list(validator().iter_errors(section))


@pytest.mark.parametrize("section", BEYOND, ids=json.dumps)
def test_what_a_schema_cannot_say_is_refused_by_the_code(section: Any) -> None:
    assert not takes(section)
    assert not list(validator().iter_errors(section))


def test_every_default_in_it_is_one_that_the_code_takes() -> None:
    for name in ("services", "page"):
        assert takes({name: document()["properties"][name]["default"]})


def test_for_an_editor_tauri_s_schema_and_the_plugin_s_stand_in_one() -> None:
    both = json.loads((PLUGIN / "tauri.conf.schema.json").read_text())
    assert both["allOf"] == [{"$ref": "https://schema.tauri.app/config/2"}]
    ours = both["properties"]["plugins"]["properties"]["sidecar"]["$ref"]
    assert (PLUGIN / ours).is_file()
    package = json.loads((PLUGIN / "package.json").read_text())
    assert {ours, "tauri.conf.schema.json"} <= set(package["files"])
