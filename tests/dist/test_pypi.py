"""The wheels, installed by pip from files: both commands, sidecar init with the installed binary, and the metadata."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("uses Linux's paths of a virtual environment", allow_module_level=True)

from build.version import version
from sidecar.commands.init import binary
from tests.commands.init.support import make
from tests.dist.support import SITE, must, pip_install, run
from tests.support.command import BINARY


@pytest.fixture(scope="module")
def commands(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pip_install(dist, tmp_path_factory.mktemp("pip"))


@pytest.mark.parametrize("name", ["sidecar", "tauri-sidecar"])
def test_the_wheel_has_both_commands(commands: Path, tmp_path: Path, name: str) -> None:
    assert must(tmp_path, commands / name, "--version") == f"sidecar {version()}\n"


def test_pip_finds_every_requirement(commands: Path, tmp_path: Path) -> None:
    told = must(tmp_path, sys.executable, "-m", "pip", f"--python={commands / 'python'}", "check")
    assert told == "No broken requirements found.\n"


def test_the_installed_code_is_the_wheels(commands: Path, tmp_path: Path) -> None:
    place = must(tmp_path, commands / "python", "-c", "import sidecar; print(sidecar.__file__)")
    assert place.startswith(str(commands.parent))


def test_an_error_of_a_package_names_the_address_of_its_page(commands: Path, tmp_path: Path) -> None:
    done = run(tmp_path, commands / "sidecar", "dev", "missing")
    assert done.returncode == 1
    assert f"Docs: {SITE}errors/#projectnotfound\n" in done.stdout


def test_init_takes_the_installed_binary_and_writes_a_version(commands: Path, tmp_path: Path) -> None:
    app = make(tmp_path / "app")
    assert "a copy of the sidecar" in must(app, commands / "sidecar", "init", "--yes")
    assert binary.place_in(app / "src-tauri", "binaries/test-sidecar").read_bytes() == Path(BINARY or "").read_bytes()
    assert f'tauri-plugin-sidecar = "{version()}"' in (app / "src-tauri" / "Cargo.toml").read_text(encoding="utf-8")
    assert must(app, commands / "sidecar", "init", "--yes").startswith("Nothing to do: ")


def test_the_wheel_needs_the_binarys_wheel_of_the_same_version(dist: Path) -> None:
    [wheel] = (dist / "pypi").glob("tauri_sidecar-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    needed = metadata.get_all("Requires-Dist") or []
    assert f"tauri-sidecar-bin=={version()}" in needed
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert "Repository, https://example.com/a/b" in (metadata.get_all("Project-URL") or [])
    assert "](tauri-integration/" not in str(metadata.get_payload()), "PyPI shows the page without the repository"


def test_the_sdist_has_the_sources_and_nothing_of_the_machine_that_made_it(dist: Path) -> None:
    [sdist] = (dist / "pypi").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert {it.name.split("/")[1] for it in members} == {"PKG-INFO", "README.md", "pyproject.toml", "sidecar"}
    assert {(it.uid, it.gid, it.uname) for it in members} == {(0, 0, "")}
