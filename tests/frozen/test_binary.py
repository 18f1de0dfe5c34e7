"""The binary itself: its size, its content, and what its children inherit."""

from __future__ import annotations

import ast
import io
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("tested on Linux only, so far", allow_module_level=True)

from PyInstaller.archive.readers import CArchiveReader  # type: ignore[import-untyped]

from tests.faults.direct import Direct, program
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 8_000_000


def test_it_is_small() -> None:
    assert Path(BINARY or "").stat().st_size <= MOST_BYTES


def test_two_builds_of_one_commit_are_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "build" / "freeze.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [again] = tmp_path.iterdir()
    assert again.read_bytes() == Path(BINARY or "").read_bytes()


@pytest.mark.parametrize("before", [None, "/somewhere/lib"])
def test_nothing_of_the_bundle_reaches_a_child(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    if before is not None:
        monkeypatch.setenv("LD_LIBRARY_PATH", before)
    with Direct(tmp_path) as it:
        it.client.hello({"child": {"type": "command", "command": ["/bin/cat", "/proc/self/environ"]}})
        it.client.send("start", service="child")
        it.client.note("service/exited", service="child")
        text = "".join(line for note in it.client.notes("service/log") for line in note["lines"])
    variables = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    assert variables["SIDECAR_SERVICE"] == "child"
    assert variables.get("LD_LIBRARY_PATH") == before
    assert [name for name in variables if name.startswith(("_PYI", "_MEI")) or name.endswith("_ORIG")] == []
    assert variables["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("locale", [("ja_JP", "EUC-JP"), ("zh_CN", "GBK"), ("C", "")], ids=["EUC-JP", "GBK", "C"])
def test_it_runs_in_a_locale_whose_codec_it_lacks_and_names_are_utf_8(
    locale: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language, charset = locale
    if charset:
        monkeypatch.setenv("LOCPATH", str(tmp_path))
        make = ["localedef", "-i", language, "-f", charset, str(tmp_path / f"{language}.{charset}")]
        if shutil.which(make[0]) is None or subprocess.run(make, capture_output=True, check=False).returncode != 0:
            pytest.skip("localedef or the sources of this locale are missing")
        language = f"{language}.{charset}"
    monkeypatch.setenv("LC_ALL", language)
    folder = tmp_path / "日本"
    folder.mkdir()
    with Direct(tmp_path) as it:
        it.client.hello({"child": {"type": "command", "command": ["/bin/pwd"], "cwd": str(folder)}})
        it.client.send("start", service="child")
        it.client.note("service/exited", service="child")
        [said] = [line for note in it.client.notes("service/log") for line in note["lines"]]
    assert said == str(folder)


@pytest.mark.parametrize(
    "command", [["strip"], ["patchelf", "--set-rpath", "$ORIGIN/../lib"]], ids=["strip", "patchelf"]
)
def test_it_survives_what_packagers_do_to_programs(command: list[str], tmp_path: Path) -> None:
    """Its modules are a section of the ELF file, so strip and patchelf keep them."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    copy = shutil.copy(BINARY or "", tmp_path / "copy")
    subprocess.run([*command, copy], check=True)
    assert subprocess.run([copy, "--version"], capture_output=True, text=True, check=True).stdout.startswith("sidecar ")


def test_it_runs_where_there_is_no_python(tmp_path: Path) -> None:
    done = subprocess.run(
        [BINARY or "", "--version"], env={"PATH": "/nowhere"}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sidecar ")


def test_every_module_that_a_service_needs_is_in_it(tmp_path: Path) -> None:
    """A look-up of a port's holder, a health check and a log pattern all import modules late."""
    service = program("print:hello", "hold", ready={"type": "log", "pattern": "^hel+o$"})
    with Direct(tmp_path) as it:
        it.client.hello({"it": service})
        it.client.call("start", service="it")
        assert it.client.status("it")["state"] == "ready"
        it.client.call("shutdown")
        assert it.exit_code() == 0
    assert it.stderr.read_bytes() == b""


def imports_of(source: Path) -> set[str]:
    """Return the modules that a file of ours imports, at its top or late, except those for types only."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(it.name for it in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            look(child)

    look(ast.parse(source.read_text(encoding="utf-8")))
    return found


def test_what_any_module_of_ours_imports_is_in_it() -> None:
    """Most modules are imported late, by the command that needs them, so other tests may not notice a missing one."""
    archive = CArchiveReader(BINARY or "")
    [packed] = (name for name in archive.toc if name.startswith("PYZ"))
    modules = set(archive.open_embedded_archive(packed).toc)
    with zipfile.ZipFile(io.BytesIO(archive.extract("base_library.zip"))) as base:  # imported by Python's own start
        modules |= {name.split(".pyc")[0].replace("/", ".").removesuffix(".__init__") for name in base.namelist()}
    compiled = [name.split(".cpython")[0] for name in archive.toc if ".cpython" in name]
    modules |= {name.split("lib-dynload/")[-1].replace("/", ".") for name in compiled}
    modules |= {*archive.toc, *sys.builtin_module_names}  # the bootloader itself has struct
    groups = tomllib.loads((ROOT / "build" / "left-out.toml").read_text(encoding="utf-8"))
    dispensable = set(groups["terminal"]["modules"])  # optional: drawing works without them
    ours = [name for name in modules if name.partition(".")[0] == "sidecar"]
    assert len(ours) > 50
    missing: dict[str, list[str]] = {}
    for name in ours:
        place = ROOT / name.replace(".", "/")
        source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        for module in imports_of(source) - modules:
            if (
                module.partition(".")[0] not in dispensable and find_spec(module) is not None
            ):  # other modules belong to other systems
                missing.setdefault(module, []).append(name)
    assert missing == {}
