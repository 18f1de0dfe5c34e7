"""``sidecar doctor`` on declared services: references, order and both variants are checked, and nothing is started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the command's tests are Linux's", allow_module_level=True)

from tests.commands.support import told
from tests.commands.test_doctor import fake_node, fake_project, finding


@pytest.fixture
def node(tmp_path: Path) -> str:
    return fake_node(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return fake_project(tmp_path / "project")


def declare(project: Path, services: dict[str, Any]) -> None:
    (project / "sidecar.json").write_text(json.dumps({"services": services}))


@pytest.fixture
def backend(project: Path) -> dict[str, Any]:
    """Declare a page that depends on an API that depends on a migration, and make their folders."""
    (project / "api").mkdir()
    (project / "api" / "run.sh").write_text(f"touch {project}/ran")
    task = {"type": "task", "cwd": "api", "command": ["sh", "run.sh"]}
    api = {
        "type": "command",
        "cwd": "api",
        "command": ["sh", "run.sh", "{port}"],
        "port": {},
        "dependsOn": ["migrate"],
        "env": {"CORS": "{services.web.origin}"},
        "release": {"command": ["api/api", "{port}"], "cwd": ".", "env": {"CORS": "tauri://localhost"}},
    }
    return {"web": {"type": "vite", "dependsOn": ["api"]}, "api": api, "migrate": task}


def test_declared_services_are_told_in_order_and_none_is_started(
    tmp_path: Path, project: Path, node: str, backend: dict[str, Any]
) -> None:
    declare(project, backend)
    report = told(tmp_path, "doctor", str(project), PATH=f"{node}:/usr/bin:/bin")
    assert finding(report, "services")["found"] == f"3 in {project}/sidecar.json; the page is web's"
    assert finding(report, "order")["found"] == "migrate; then api; then web"
    assert finding(report, "api")["found"] == "command: sh run.sh {port}; it refers to web"
    assert finding(report, "web")["found"] == f"vite in {project}"
    assert finding(report, "release")["found"] == "it has api, migrate (task)"
    assert not (project / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dependsOn": ["migrte"]}, "names no service (did you mean migrate?)"),
        ({"dependsOn": ["web"]}, "depend on each other: web → api → web"),
        ({"env": {"CORS": "{services.web.origins}"}}, "names no field of a service (did you mean origin?)"),
        ({"release": {"dependsOn": ["web"]}}, "names a service that a release does not have"),
    ],
)
def test_a_fault_of_either_variant_is_bad(
    tmp_path: Path, project: Path, node: str, backend: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    declare(project, {**backend, "api": {**backend["api"], **change}})
    found = finding(told(tmp_path, "doctor", str(project), code=1, PATH=node), "services")
    assert (found["verdict"], found["advice"]) == ("bad", "Correct that field and try again.")
    assert said in found["found"]


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        ({"cwd": "apo"}, "bad", "apo does not exist"),
        ({"cwd": "/usr/bin"}, "note", "/usr/bin is outside of the project"),
        ({"envFile": "api/.env"}, "bad", "there is no"),
        ({"command": ["no-such-program"]}, "note", "no-such-program is not on PATH"),
        ({"command": [".venv/bin/python"]}, "bad", "there is no .venv/bin/python in"),
    ],
)
def test_what_a_service_lacks_is_told(
    tmp_path: Path, project: Path, node: str, backend: dict[str, Any], change: dict[str, Any], verdict: str, said: str
) -> None:
    declare(project, {**backend, "api": {**backend["api"], **change}})
    report = told(tmp_path, "doctor", str(project), code=verdict == "bad", PATH=f"{node}:/usr/bin:/bin")
    found = finding(report, "api")
    assert (found["verdict"], bool(found["advice"])) == (verdict, True)
    assert said in found["found"]


@pytest.mark.parametrize("words", [["sh", "run.sh", "--reload"], [".venv/bin/python", "-m", "api"]])
def test_what_is_development_s_only_in_a_release_is_noted(
    tmp_path: Path, project: Path, node: str, backend: dict[str, Any], words: list[str]
) -> None:
    declare(project, {**backend, "api": {**backend["api"], "release": {"command": words, "env": {"CORS": None}}}})
    report = told(tmp_path, "doctor", str(project), PATH=f"{node}:/usr/bin:/bin")
    found = [it for it in report["findings"] if it["subject"] == "release"]
    assert [it["verdict"] for it in found] == ["ok", "note"]
    odd = {"--reload", ".venv/bin/python"} & set(words)
    assert found[1]["found"] == f"api would be started there with {odd.pop()}, as in development"


def test_a_backend_alone_is_a_project_and_needs_no_node(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    declare(tmp_path / "backend", {"api": {"type": "command", "command": ["sh"]}})
    report = told(tmp_path, "doctor", str(tmp_path / "backend"), PATH="/usr/bin:/bin")
    subjects = [it["subject"] for it in report["findings"]]
    assert {"services", "api", "release"} <= set(subjects)
    assert not {"node", "project", "order"} & set(subjects)
