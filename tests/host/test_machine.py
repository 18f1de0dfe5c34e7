"""The name of the machine that a binary is made for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.commands.init import binary
from sidecar.host import machine


@pytest.mark.skipif(sys.platform == "win32", reason="tests POSIX names only")
@pytest.mark.parametrize(("said", "name"), [("arm64", "aarch64"), ("x86_64", "x86_64"), ("aarch64", "aarch64")])
def test_posix_binaries_are_named_by_what_runs(said: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=said))
    assert machine.architecture() == name
    assert machine.target().startswith(f"{name}-")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("x86_64-unknown-linux-musl", "x86_64-unknown-linux-musl"),
        ("aarch64-apple-darwin", "x86_64-"),
        ("", "x86_64-"),
    ],
    ids=["the same architecture", "another one", "no rustc"],
)
def test_rustcs_name_counts_only_for_pythons_architecture(
    asked: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Rosetta, PyInstaller makes an x86_64 program, whatever rustc targets."""
    monkeypatch.setattr(machine, "architecture", lambda: "x86_64")
    monkeypatch.setattr(binary, "on_path", lambda *_: "/rustc")
    monkeypatch.setattr(binary, "_ask", lambda _: asked)
    assert binary.own_tuple().startswith(name)


def test_a_binary_for_another_machine_is_not_copied_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(Path("/tmp/_MEI000001abcdef")), raising=False)
    monkeypatch.setattr(binary, "host_tuple", lambda: "aarch64-apple-darwin")
    monkeypatch.setattr(machine, "architecture", lambda: "aarch64")
    assert binary.own_binary() == Path(sys.executable)
    monkeypatch.setattr(machine, "architecture", lambda: "x86_64")
    assert binary.own_binary() is None


@pytest.mark.skipif(sys.platform == "win32", reason="the fake rustc is a shell script")
def test_freeze_names_what_it_makes_by_this_python(tmp_path: Path) -> None:
    """No real freeze: only the name is checked, with a rustc of another machine first on PATH."""
    rustc = tmp_path / "rustc"
    rustc.write_text("#!/bin/sh\necho sparc64-unknown-netbsd\n")
    rustc.chmod(0o755)
    code = "import freeze; print(freeze.own_tuple())"
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "build"}
    root = Path(__file__).resolve().parents[2]
    said = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == machine.target()
