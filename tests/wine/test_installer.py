"""The NSIS hooks under Wine: an installer replaces a running sidecar, and an uninstaller leaves no sidecar.exe."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)
if shutil.which("makensis") is None:
    pytest.skip("no makensis on PATH (apt-get install nsis)", allow_module_level=True)

from build import wine
from tests.support.command import BINARY

if BINARY is None:
    pytest.skip("installers replace frozen sidecars only", allow_module_level=True)
OLD: str = BINARY

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ROOT / "tauri-integration" / "plugin" / "installer-hooks.nsh"
SCRIPT = Path(__file__).with_name("installer.nsi")
FOLDER = Path(os.environ["SIDECAR_WINE"])
WAIT_S = 120.0
NEW = b"the new sidecar"
ASIDE = "ns*.tmp.sidecar"
EXIT_ABORTED = 2


def compile_installer(folder: Path, *defines: str, script: Path = SCRIPT) -> Path:
    """Make an installer that contains NEW as its sidecar."""
    (folder / "new").write_bytes(NEW)
    words = ["makensis", "-V2", "-WX", "-NOCD", f"-DNEW={folder / 'new'}", f"-DOUT={folder / 'installer.exe'}"]
    done = subprocess.run([*words, *defines, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installer.exe"


def start(program: Path, *words: str) -> int:
    """Run a program under Wine to its end."""
    command = [*wine.launch(), str(program), *words]
    return subprocess.run(
        command, env=wine.environment(FOLDER), stdin=subprocess.DEVNULL, timeout=WAIT_S, check=False
    ).returncode


def install(installer: Path, place: Path, *words: str) -> int:
    done = start(installer, *words, f"/D={windows_path(place)}")
    assert (place / "uninstall.exe").exists() == (done == 0), "it was installed elsewhere"
    return done


def windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")  # Wine's drive for the root of Linux's file system


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The installed app's folder, with the old sidecar."""
    place = tmp_path / "app"
    place.mkdir()
    shutil.copy(OLD, place / "sidecar.exe")
    return place


@contextmanager
def running(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the installed sidecar."""
    with subprocess.Popen(
        [*wine.launch(), str(place / "sidecar.exe"), "stdio"],
        env=wine.environment(FOLDER, SIDECAR_STATE_DIR=str(place.parent / "state")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as program:
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(b"no JSON\n")  # it answers with an error
            assert program.stdout.readline()
            yield program
        finally:
            program.kill()


def test_without_the_hooks_a_silent_installer_keeps_a_sidecar_that_runs(tmp_path: Path, place: Path) -> None:
    """If this fails, the hooks are no longer needed."""
    with running(place):
        assert install(compile_installer(tmp_path), place) == 0
        assert (place / "sidecar.exe").read_bytes() != NEW


def test_the_hooks_let_an_installer_replace_a_sidecar_that_runs(tmp_path: Path, place: Path) -> None:
    with running(place) as sidecar:
        assert install(compile_installer(tmp_path, f"-DHOOKS={HOOKS}"), place) == 0
        assert (place / "sidecar.exe").read_bytes() == NEW
        assert sidecar.poll() is None, "the installer ends no process by itself"
        assert len(list(place.glob(ASIDE))) == 1
    assert (place / "registers").read_text(encoding="ascii") == "kept too"
    assert install(tmp_path / "installer.exe", place) == 0
    assert list(place.glob(ASIDE)) == [], "the next installation clears away what the first could not"


def test_an_app_whose_user_refuses_the_update_keeps_its_sidecar(tmp_path: Path, place: Path) -> None:
    old = (place / "sidecar.exe").read_bytes()
    with running(place):
        assert install(compile_installer(tmp_path, f"-DHOOKS={HOOKS}"), place, "/REFUSE") == EXIT_ABORTED
        assert (place / "sidecar.exe").read_bytes() == old


def test_a_first_installation_leaves_nothing_beside_its_files(tmp_path: Path) -> None:
    place = tmp_path / "app"
    assert install(compile_installer(tmp_path, f"-DHOOKS={HOOKS}"), place) == 0
    assert {it.name for it in place.iterdir()} == {"registers", "sidecar.exe", "uninstall.exe"}
    assert start(place / "uninstall.exe", f"_?={windows_path(place)}") == 0
    assert {it.name for it in place.iterdir()} == {"uninstall.exe"}, "with _? it cannot delete itself"


def test_an_uninstaller_deletes_the_name_of_a_sidecar_that_runs(tmp_path: Path, place: Path) -> None:
    install(compile_installer(tmp_path, f"-DHOOKS={HOOKS}"), place)
    shutil.copy(OLD, place / "sidecar.exe")
    with running(place):
        assert start(place / "uninstall.exe", f"_?={windows_path(place)}") == 0
        assert not (place / "sidecar.exe").exists()


def test_an_app_with_hooks_of_its_own_inserts_ours(tmp_path: Path, place: Path) -> None:
    own = tmp_path / "own.nsh"
    macro = "!macro NSIS_HOOK_PREINSTALL\n!insertmacro SidecarBefore\n!macroend\n"
    own.write_text(f"{macro}!include {HOOKS}\n", encoding="utf-8")
    with running(place):
        assert install(compile_installer(tmp_path, f"-DHOOKS={own}"), place) == 0
        assert (place / "sidecar.exe").read_bytes() == NEW
