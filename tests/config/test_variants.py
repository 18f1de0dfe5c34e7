"""One configuration has a development and a release variant, and both are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.services import SERVICE_TYPES, CommandService, DevServer, Service, ViteService
from sidecar.config.variants import in_variant, merged, only_in_a_checkout
from sidecar.config.wiring import parse_services
from sidecar.errors import InvalidParamsError
from sidecar.services.frameworks import BY_TYPE

ROOT = Path(__file__).parents[2]
CASES = json.loads((ROOT / "tests" / "variants.json").read_bytes())
"""Cases that the plugin's tests share: it must know a release's services before the sidecar runs (src/variants.rs)."""

API: dict[str, Any] = {
    "type": "command",
    "command": ["uvicorn", "--reload"],
    "cwd": "../api",
    "env": {"A": "1", "B": "2"},
    "envFile": ".env",
    "release": {"command": ["api/api"], "cwd": ".", "env": {"B": "3", "C": "4"}, "envFile": None},
}
WEB: dict[str, Any] = {"type": "vite"}


def both(services: dict[str, Any]) -> tuple[dict[str, Service], dict[str, Service]]:
    return parse_services(services, "$", "dev"), parse_services(services, "$", "release")


def fault_of(services: dict[str, Any], variant: Any = "dev") -> str:
    with pytest.raises(InvalidParamsError) as caught:
        parse_services(services, "$", variant)
    return f"{caught.value.data['path']}: {caught.value.problem}"


def test_a_release_patches_the_service() -> None:
    dev, release = both({"api": API})
    assert dev["api"] == CommandService(
        command=["uvicorn", "--reload"], cwd="../api", env={"A": "1", "B": "2"}, env_file=".env"
    )
    assert release["api"] == CommandService(command=["api/api"], env={"A": "1", "B": "3", "C": "4"})


def test_a_release_has_no_dev_servers_and_the_rest_as_it_is() -> None:
    plain = {"type": "command", "command": ["x"]}
    dev, release = both({"web": WEB, "docs": {"type": "astro"}, "api": plain})
    assert list(dev) == ["web", "docs", "api"]
    assert release == {"api": CommandService(command=["x"])}


def test_a_release_with_a_type_is_a_whole_service() -> None:
    dev, release = both({"web": {**WEB, "mode": "x", "release": {"type": "command", "command": ["serve"]}}})
    assert (dev["web"], release["web"]) == (ViteService(mode="x"), CommandService(command=["serve"]))


def test_a_variant_may_leave_a_service_out() -> None:
    plain = {"type": "command", "command": ["x"]}
    dev, release = both(
        {"a": {**plain, "release": False}, "b": {**plain, "dev": False}, "c": {**plain, "release": True}}
    )
    assert (list(dev), list(release)) == (["a", "c"], ["b", "c"])


@pytest.mark.parametrize(("field", "value"), [("dev", False), ("release", {}), ("release", None)])
def test_without_a_variant_a_service_that_has_two_is_refused(field: str, value: object) -> None:
    said = fault_of({"a": {"type": "command", "command": ["x"], field: value}}, None)
    assert said.startswith(f"$.a.{field}: ")
    assert "only beside variant (dev or release)" in said


@pytest.mark.parametrize("variant", ["dev", "release"])
@pytest.mark.parametrize(
    ("services", "place"),
    [
        ({"api": {**API, "release": {"command": []}}}, "$.api.release.command"),
        ({"api": {**API, "release": {"comand": ["x"]}}}, "$.api.release"),
        ({"api": {**API, "release": {"type": "command"}}}, "$.api.release"),
        ({"api": {**API, "release": {"env": {"X": "{port}"}}}}, "$.api.release.port"),
        ({"api": {**API, "release": "no"}}, "$.api.release"),
        ({"api": {**API, "dev": "no"}}, "$.api.dev"),
        ({"api": {**API, "command": []}}, "$.api.command"),
        ({"web": {**WEB, "release": True}}, "$.web.release"),
        ({"web": {**WEB, "release": {"root": "x"}}}, "$.web.release"),
        ({"web": {**WEB, "release": {"type": "astro"}}}, "$.web.release"),
        ({"web": WEB, "api": {**API, "dependsOn": ["web"]}}, "$.api.release.dependsOn[0]"),
        ({"web": WEB, "api": {**API, "env": {"W": "{services.web.url}"}}}, "$.api.release.env.W"),
        ({"web": WEB, "api": {"type": "command", "command": ["x"], "dependsOn": ["web"]}}, "$.api.dependsOn[0]"),
        ({"db": {**API, "dev": False}, "api": {**API, "dependsOn": ["db"]}}, "$.api.dependsOn[0]"),
    ],
)
def test_both_variants_are_checked_at_each_start(services: dict[str, Any], place: str, variant: str) -> None:
    assert fault_of(services, variant).startswith(f"{place}: ")


def test_a_service_that_a_variant_leaves_out_is_said_to_be_so() -> None:
    said = fault_of({"web": WEB, "api": {**API, "dependsOn": ["web"]}})
    assert "'web' names a service that a release does not have" in said


def test_a_release_may_depend_on_less() -> None:
    api = {**API, "dependsOn": ["web"], "release": {"dependsOn": []}}
    _, release = both({"web": WEB, "api": api})
    assert release["api"].depends_on == []


@pytest.mark.parametrize("case", CASES["patches"])
def test_a_patch_is_merged_as_the_rfc_says(case: dict[str, Any]) -> None:
    assert merged(case["base"], case["patch"]) == case["made"]


@pytest.mark.parametrize("case", CASES["services"])
def test_a_service_is_in_both_variants_what_the_plugin_makes_of_it(case: dict[str, Any]) -> None:
    assert in_variant(case["service"], "dev", "$") == case["dev"]
    assert in_variant(case["service"], "release", "$") == case["release"]


def test_the_plugin_knows_each_dev_servers_own_port() -> None:
    ports = json.loads((ROOT / "tauri-integration" / "plugin" / "src" / "dev-servers.json").read_bytes())
    assert ports == {row.type: row.port for row in BY_TYPE.values()}


def test_every_type_but_command_and_task_is_a_dev_server_for_the_plugin() -> None:
    assert {"command", "task"} == {name for name, it in SERVICE_TYPES.items() if not issubclass(it, DevServer)}


@pytest.mark.parametrize("case", CASES["checkouts"], ids=lambda case: str(case["service"]["command"]))
def test_what_only_a_checkout_has_is_found_in_a_release(case: dict[str, Any]) -> None:
    assert only_in_a_checkout(case["service"]) == case["found"]
