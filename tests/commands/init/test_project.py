"""A Tauri configuration is read as Tauri reads it, and its plugins.sidecar as the plugin does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.services import CommandService, PortConfig, ViteService
from sidecar.core.readiness import matches
from sidecar.tauri import project
from sidecar.tauri.project import PLATFORM_FILES, TauriConfigError, find, merge_patch, parse_text, read
from sidecar.tauri.section import Section, parse_section, read_services

PLATFORM = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_project_is_found_in_its_folder_and_in_src_tauri_below(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    inner = put(tmp_path / "src-tauri", **{"Tauri.toml": ""})
    assert find(tmp_path) == inner
    assert find(inner) == inner


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tauri.conf.json", '{"productName": "x"}'),
        ("tauri.conf.json", "// JSON5 is taken here, too\n{productName: 'x'}"),
        ("tauri.conf.json5", "\ufeff{productName: 'x',}"),
        ("Tauri.toml", 'productName = "x"\r\n'),
    ],
)
def test_each_format_is_read(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, **{name: text})
    assert read(tmp_path) == project.Project(tmp_path, {"productName": "x"}, (tmp_path / name,))


def test_of_several_main_files_tauri_s_first_one_counts(tmp_path: Path) -> None:
    put(tmp_path, **{"Tauri.toml": "n = 3", "tauri.conf.json5": "{n: 2}", "tauri.conf.json": '{"n": 1}'})
    assert read(tmp_path).config == {"n": 1}
    (tmp_path / "tauri.conf.json").unlink()
    assert read(tmp_path).config == {"n": 2}


@pytest.mark.parametrize("name", PLATFORM_FILES)
def test_the_platform_s_file_is_merged_over_the_main_one(tmp_path: Path, name: str) -> None:
    assert PLATFORM in name
    other = "linux" if PLATFORM != "linux" else "windows"
    patch = "[a]\nb = 2" if name.endswith("toml") else '{"a": {"b": 2, "gone": null}}'
    put(tmp_path, **{"tauri.conf.json": '{"a": {"b": 1, "c": 1}}', name: patch, f"tauri.{other}.conf.json": "nothing"})
    found = read(tmp_path)
    assert found.config == {"a": {"b": 2, "c": 1}}
    assert found.files == (tmp_path / "tauri.conf.json", tmp_path / name)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1}, {"a": None}, {}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 1}, [1], [1]),
    ],
)
def test_a_merge_patch_is_rfc_7396_s(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("name", "text", "place", "reason"),
    [
        ("tauri.conf.json", '{\n  "a": 1,,\n}', "2:10", "a key is missing"),
        ("tauri.conf.json5", "{\n  a: [\n", "2:6", "the array is never closed"),
        ("tauri.conf.json", "[]", "1:1", "the file has to be one object"),
        ("Tauri.toml", "a = 1\nb = \n", "2:5", "Invalid value"),
        ("Tauri.toml", "a = [1,", "1:1", ""),
        ("Tauri.toml", "a = 1\na = 2\n", "2:6", "Cannot overwrite a value"),
    ],
)
def test_a_bad_file_is_told_with_line_and_column(tmp_path: Path, name: str, text: str, place: str, reason: str) -> None:
    put(tmp_path, **{name: text})
    with pytest.raises(TauriConfigError) as caught:
        read(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / name}:{place}: {reason}")
    assert caught.value.message.endswith("Correct the file there and try again.")


def test_a_file_that_is_no_text_or_too_large_or_not_ours_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tauri.conf.json"
    file.write_bytes(b'{\n"a": "\xff"}')
    with pytest.raises(TauriConfigError, match=r":2:1: this is not UTF-8"):
        read(tmp_path)
    file.write_bytes(b" " * (project.FILE_BYTES_MOST + 1))
    with pytest.raises(TauriConfigError, match="no configuration is"):
        read(tmp_path)
    with pytest.raises(TauriConfigError, match="cannot be read"):
        project.read_text(tmp_path)


# ── plugins.sidecar ───────────────────────────────────────────────────────────────────────────────────────────────────


def services(folder: Path, section: Any) -> Any:
    put(folder, **{"tauri.conf.json": json.dumps({"plugins": {"sidecar": section}})})
    return read_services(read(folder), matches)


def test_without_the_section_there_is_nothing_to_start(tmp_path: Path) -> None:
    for text in ("{}", '{"plugins": {}}', '{"plugins": {"sidecar": null}}', '{"plugins": {"sidecar": {}}}'):
        found = read_services(read(put(tmp_path, **{"tauri.conf.json": text})), matches)
        assert (found.page, found.services) == (None, {})


def test_all_services_are_there_with_folders_that_hold_anywhere(tmp_path: Path) -> None:
    inner = tmp_path / "src-tauri"
    found = services(
        inner,
        {
            "services": {
                "api": {"type": "command", "command": ["x"], "cwd": "api"},
                "web": {"type": "vite", "root": "..", "port": {"preferred": 1420}},
                "far": {"type": "command", "command": ["x"], "cwd": os.path.abspath(os.sep)},
            }
        },
    )
    assert found.page == "web"
    assert found.services == {
        "api": CommandService(command=["x"], cwd=str(inner / "api")),
        "web": ViteService(root=str(tmp_path), port=PortConfig(preferred=1420)),
        "far": CommandService(command=["x"], cwd=os.path.abspath(os.sep)),
    }


def test_the_section_has_the_plugin_s_defaults() -> None:
    assert parse_section({}) == Section(services={}, page=None)


def test_an_env_file_is_relative_to_the_configuration_s_folder(tmp_path: Path) -> None:
    found = services(tmp_path, {"services": {"api": {"type": "command", "command": ["x"], "envFile": "../.env"}}})
    env_file = found.services["api"].env_file
    assert env_file is not None
    assert Path(env_file).is_absolute()
    assert Path(env_file).name == ".env"


def test_of_two_vites_the_named_one_has_the_page(tmp_path: Path) -> None:
    two = {"a": {"type": "vite"}, "b": {"type": "vite"}}
    assert services(tmp_path, {"services": two, "page": "b"}).page == "b"


@pytest.mark.parametrize(
    ("section", "place", "reason"),
    [
        ({"servces": {}}, "$.plugins.sidecar", "unknown field `servces`"),
        (
            {"page": "m", "services": {"m": {"type": "task", "command": ["x"]}}},
            "$.plugins.sidecar.page",
            "m is a task, which shows no page",
        ),
        ({"services": []}, "$.plugins.sidecar.services", "Expected `object`"),
        ({"services": None}, "$.plugins.sidecar.services", "Expected `object`"),
        ({"page": 1}, "$.plugins.sidecar.page", "Expected `str"),
        ({"window": "main"}, "$.plugins.sidecar", "unknown field `window`"),
        ({"page": 1}, "$.plugins.sidecar.page", "Expected `str | null`"),
        ({"page": "web"}, "$.plugins.sidecar.page", "There is no service 'web' in services"),
        (
            {"services": {"a": {"type": "vite"}, "b": {"type": "vite"}}},
            "$.plugins.sidecar.page",
            "more than one dev server",
        ),
        ({"services": {"": {}}}, '$.plugins.sidecar.services[""]', "1 to 64 printable characters"),
        ({"services": {"web": {"type": "vit"}}}, "$.plugins.sidecar.services.web.type", "Invalid value 'vit'"),
        (
            {"services": {"web": {"type": "vite", "port": {"preferred": 0}}}},
            "$.plugins.sidecar.services.web.port.preferred",
            "Expected `int` >= 1",
        ),
        ([], "$.plugins.sidecar", "Expected `object`"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(tmp_path: Path, section: Any, place: str, reason: str) -> None:
    with pytest.raises(TauriConfigError) as caught:
        services(tmp_path, section)
    assert reason in caught.value.message
    assert caught.value.message.startswith(f"{tmp_path / 'tauri.conf.json'}: ")
    assert caught.value.data["path"] == place
    assert "send the request" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a = " + "[" * 5_000 + "]" * 5_000, "nested too deeply"), ("a = " + "9" * 5_000, "too many digits")],
)
def test_a_toml_that_python_cannot_read_is_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(TauriConfigError, match=reason):
        parse_text(tmp_path / "Tauri.toml", text)
