"""``script`` names the script of package.json that a dev server's service follows instead of ``dev``."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sidecar.config.services import AstroService, ViteService, parse_service
from sidecar.errors import ConfigurationError, InvalidParamsError
from sidecar.host.machine import EXECUTABLE_SUFFIX
from sidecar.services.launch import plan, port_config

SCRIPTS = {
    "dev": "vite --force",
    "app": "tsc --noEmit && vite web --mode app --config ../vite.app.js --port 3210",
    "api": "node api.js",
}

NODE = f"node{EXECUTABLE_SUFFIX}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "node_modules" / "vite"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"bin": {"vite": "vite.js"}}))
    (package / "vite.js").touch()
    (tmp_path / "package.json").write_text(json.dumps({"scripts": SCRIPTS}))
    node = tmp_path / NODE
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    return tmp_path


def service(project: Path, script: str | None) -> ViteService:
    return ViteService(root=str(project), script=script, node=str(project / NODE))


def test_the_named_script_is_heeded_with_its_steps_and_not_the_dev_script(project: Path) -> None:
    launch = plan("web", service(project, "app"))
    assert launch.argv[-5:] == ("--strictPort", "--mode", "app", "--config", "../vite.app.js")
    assert "web" in launch.argv
    assert "--force" not in launch.argv
    [step] = launch.before
    assert any("tsc --noEmit" in word for word in step.argv)
    assert "--force" in plan("web", service(project, None)).argv


def test_the_port_of_the_named_script_is_preferred(project: Path) -> None:
    port = port_config(service(project, "app"))
    assert port is not None
    assert port.preferred == 3210


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("gone", "there is no script gone in"),
        ("api", "the script api of"),
    ],
)
def test_a_script_that_starts_no_such_server_is_told_and_nothing_is_started(
    project: Path, script: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        plan("web", service(project, script))
    assert caught.value.message.endswith("Correct script.")


def test_a_script_of_another_framework_is_told(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="starts Vite"):
        plan("web", AstroService(root=str(project), script="app", node=str(project / NODE)))


@pytest.mark.parametrize("more", [{"args": []}, {"mode": "x"}, {"configFile": "x"}])
def test_a_service_says_in_one_way_only_how_it_is_started(more: dict[str, object]) -> None:
    with pytest.raises(InvalidParamsError) as caught:
        parse_service({"type": "vite", "script": "app", **more}, "$.web")
    assert caught.value.data["path"] == "$.web.script"


def test_the_field_is_on_the_wire(project: Path) -> None:
    assert parse_service({"type": "vite", "script": "app"}, "$") == ViteService(script="app")
    assert msgspec.to_builtins(ViteService(script="app")) == {"type": "vite", "script": "app"}
