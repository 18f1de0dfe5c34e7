"""``sidecar dev`` takes its services from one source, which the first line names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.dev.serve import choose_services
from sidecar.config.services import CommandService, ViteService
from sidecar.errors import ConfigurationError

API: dict[str, Any] = {"type": "command", "command": ["serve"], "cwd": "api", "release": {"command": ["api"]}}
WEB: dict[str, Any] = {"type": "vite"}


def write(file: Path, value: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def tauri(folder: Path, services: object) -> Path:
    return write(folder / "src-tauri" / "tauri.conf.json", {"plugins": {"sidecar": {"services": services}}})


def chosen(folder: Path, *program: str, config: str | None = None) -> tuple[str, dict[str, Any], str]:
    sources: list[str] = []
    page, services = choose_services(
        str(folder), list(program), None, None, colour=False, config=config, tell_source=sources.append
    )
    return page, dict(services), " ".join(sources)


def test_sidecar_json_names_the_services_and_its_paths_are_its_folder_s(tmp_path: Path) -> None:
    file = write(tmp_path / "sidecar.json", {"$schema": "x", "services": {"api": API, "web": WEB}})
    page, services, source = chosen(tmp_path)
    assert page == "web"
    assert services == {
        "api": CommandService(command=["serve"], cwd=str(tmp_path / "api")),
        "web": ViteService(root=str(tmp_path)),
    }
    assert source == str(file)


def test_the_page_may_be_named(tmp_path: Path) -> None:
    write(tmp_path / "sidecar.json", {"page": "api", "services": {"api": API, "web": WEB}})
    assert chosen(tmp_path)[0] == "api"


def test_a_file_of_any_name_comes_before_all_others(tmp_path: Path) -> None:
    tauri(tmp_path, {"tauri": WEB})
    write(tmp_path / "sidecar.json", {"services": {"own": WEB}})
    file = write(tmp_path / "other" / "my.json", {"services": {"mine": WEB}})
    page, services, source = chosen(tmp_path, config=str(file))
    assert (page, list(services), source) == ("mine", ["mine"], str(file))
    assert services["mine"].root == str(file.parent)


def test_the_tauri_configuration_is_taken_where_there_is_no_file(tmp_path: Path) -> None:
    file = tauri(tmp_path, {"web": WEB})
    page, _, source = chosen(tmp_path)
    assert (page, source) == ("web", f"plugins.sidecar of {file}")


def test_a_program_comes_before_every_file(tmp_path: Path) -> None:
    write(tmp_path / "sidecar.json", {"services": {"own": WEB}})
    page, services, source = chosen(tmp_path, "python3", "server.py")
    assert (page, list(services), source) == ("python3", ["python3"], "")


def test_what_no_file_says_is_detected_and_told_so(tmp_path: Path) -> None:
    write(tmp_path / "package.json", {"devDependencies": {"vite": "7"}})
    page, _, source = chosen(tmp_path)
    assert (page, source) == ("vite", "detected")


def test_a_file_beside_a_tauri_app_without_services_is_taken(tmp_path: Path) -> None:
    tauri(tmp_path, {})
    write(tmp_path / "sidecar.json", {"services": {"own": WEB}})
    assert chosen(tmp_path)[0] == "own"


def test_two_files_that_both_name_services_are_refused_and_named(tmp_path: Path) -> None:
    conf = tauri(tmp_path, {"web": WEB})
    own = write(tmp_path / "sidecar.json", {"services": {"own": WEB}})
    with pytest.raises(ConfigurationError) as caught:
        chosen(tmp_path)
    assert str(conf) in caught.value.message
    assert str(own) in caught.value.message
    assert "--config" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"servces": {}}', "unknown field `servces` (did you mean services?) at $."),
        ('{"services": {"web": {"type": "vite", "rot": "."}}}', "at $.services.web."),
        ('{"services": {"web": {"type": "vite", "release": true}}}', "at $.services.web.release."),
        ('{"page": "x", "services": {}}', "There is no service 'x' in services at $.page."),
        ('{"services": {"m": {"type": "task", "command": ["x"]}}}', "has only tasks"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        chosen(tmp_path)
    assert said in caught.value.message
    assert str(file) in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"my\.json cannot be read"):
        chosen(tmp_path, config=str(tmp_path / "my.json"))
