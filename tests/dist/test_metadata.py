"""The manifests' metadata: one version, one licence, and the existing platforms."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from build.platforms import PLATFORMS
from build.version import PLACES, SHAPE, set_versions, version, versions

ROOT = Path(__file__).resolve().parents[2]
INTEGRATION = ROOT / "tauri-integration"
LICENCE = "MIT OR Apache-2.0"


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


@pytest.mark.parametrize(("path", "pattern"), PLACES)
def test_each_place_has_the_one_version(path: Path, pattern: str) -> None:
    assert set(versions((ROOT / path).read_text(encoding="utf-8"), pattern)) == {version()}


def copied(folder: Path) -> Path:
    for path, _ in PLACES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    return folder


def test_setting_the_version_changes_nothing_else(tmp_path: Path) -> None:
    root = copied(tmp_path)
    before = {path: (root / path).read_bytes() for path, _ in PLACES}
    set_versions(root, "98.7.6-rc.1")
    assert version(root) == "98.7.6-rc.1"
    assert read_json(root / "tauri-integration/plugin/package.json")["version"] == "98.7.6-rc.1"
    npm = read_json(root / "tauri-integration/npm/package.json")
    assert {npm["version"], *npm["optionalDependencies"].values()} == {"98.7.6-rc.1"}
    assert toml(root / "tauri-integration/plugin/Cargo.toml")["package"]["version"] == "98.7.6-rc.1"
    set_versions(root, version())
    assert {path: (root / path).read_bytes() for path in before} == before


def test_a_place_that_lost_its_version_is_named(tmp_path: Path) -> None:
    root = copied(tmp_path)
    (root / "tauri-integration/plugin/package.json").write_text("{}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"plugin/package\.json has no version"):
        set_versions(root, "1.2.3")


@pytest.mark.parametrize(("text", "good"), [("1.2.3", True), ("1.2.3-rc.1", True), ("1.2", False), ("v1.2.3", False)])
def test_a_version_is_one_that_every_registry_takes(text: str, good: bool) -> None:
    assert (SHAPE.fullmatch(text) is not None) == good


def test_the_changelog_names_the_version() -> None:
    assert f"\n## [{version()}]" in (INTEGRATION / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_manifest_has_the_licence() -> None:
    assert toml(ROOT / "pyproject.toml")["project"]["license"] == LICENCE
    assert toml(ROOT / "build" / "pypi_bin" / "pyproject.toml")["project"]["license"] == LICENCE
    for name in ("plugin", "plugin-build"):
        assert toml(INTEGRATION / name / "Cargo.toml")["package"]["license"] == LICENCE
    for name in ("npm", "plugin"):
        assert read_json(INTEGRATION / name / "package.json")["license"] == LICENCE
    assert LICENCE in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[-1]


def test_the_npm_package_asks_for_every_platform() -> None:
    wanted = {f"@tauri-sidecar/{each.npm}" for each in PLATFORMS.values()}
    assert set(read_json(INTEGRATION / "npm" / "package.json")["optionalDependencies"]) == wanted


def test_the_plugin_asks_for_the_rust_that_its_dependencies_need() -> None:
    manifest = INTEGRATION / "plugin" / "Cargo.toml"
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version=1", f"--manifest-path={manifest}"]
    host = "x86_64-unknown-linux-gnu"
    if shutil.which("cargo") is None:
        pytest.skip("no cargo on PATH (it comes with Rust)")
    done = subprocess.run([*command, f"--filter-platform={host}"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("cargo has not fetched the plugin's dependencies yet")
    packages = json.loads(done.stdout)["packages"]
    needed = [it["rust_version"] for it in packages if it["rust_version"] and it["name"] != "tauri-plugin-sidecar"]
    newest = max(needed, key=lambda text: [int(part) for part in text.split(".")])
    assert toml(manifest)["package"]["rust-version"] == newest
