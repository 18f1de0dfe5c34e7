"""The folder that the one-file binary can make: the same sidecar, without unpacking and a bootloader process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("tested on Linux only, so far", allow_module_level=True)

from sidecar.host.linux import processes
from tests.support.client import Client
from tests.support.command import SIDECAR
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Freeze a file that contains the folder, as macOS's file always does."""
    out = tmp_path_factory.mktemp("file")
    command = [sys.executable, str(ROOT / "build" / "freeze.py"), "--with-folder", "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [made] = out.iterdir()
    return made


@pytest.fixture
def program(file: Path, tmp_path: Path) -> Path:
    # where an app of macOS has it
    there = tmp_path / "An App.app" / "Contents" / "Resources" / "sidecar"
    there.parent.mkdir(parents=True)
    assert unpack(file, there) == (0, "")
    return there / "sidecar"


def unpack(sidecar: str | Path, folder: Path) -> tuple[int, str]:
    """Run ``unpack``; return the exit code and the output."""
    done = subprocess.run([sidecar, "unpack", folder], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_folder_is_for_all_users_and_a_second_one_takes_its_place(file: Path, program: Path) -> None:
    folder = program.parent
    old = folder / "_internal" / "old"
    old.touch()
    assert unpack(file, folder) == (0, "")
    assert not old.exists()
    assert sorted(it.name for it in folder.parent.iterdir()) == [folder.name]
    assert sorted(it.name for it in folder.iterdir()) == ["_internal", "sidecar"]
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode & 0o777
        assert path.is_symlink() or mode == (0o755 if path.is_dir() or path == program else 0o644), path


def test_a_folder_of_somebody_else_is_left_alone(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sidecar").touch()
    (mine / "precious").touch()
    code, said = unpack(file, mine)
    assert code == 1
    assert "sidecar unpack did not make it" in said
    assert len(list(mine.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_said_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = unpack(file, tmp_path / "file" / "folder")
    assert code == 1
    assert "Not a directory" in said
    assert [it.name for it in tmp_path.iterdir()] == ["file"]


def test_a_sidecar_without_a_folder_in_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run([*SIDECAR, "unpack", tmp_path / "folder"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr
    assert "cannot be unpacked" in said


def test_a_folder_starts_unpacks_nothing_and_hands_nothing_of_itself_on(program: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    own = {"SIDECAR_STATE_DIR": str(tmp_path / "state"), "TMPDIR": str(unpacked), "LD_LIBRARY_PATH": "/somewhere/lib"}
    with subprocess.Popen(
        [program], env={**os.environ, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            client = Client(process.stdin.fileno(), process.stdout.fileno())
            hello = client.hello({"child": {"type": "command", "command": ["/bin/cat", "/proc/self/environ"]}})
            supervisor = processes.read_process(hello["pid"])
            assert supervisor is not None
            assert supervisor.ppid == process.pid
            assert list(unpacked.iterdir()) == []
            client.send("start", service="child")
            client.note("service/exited", service="child")
            text = "".join(line for note in client.notes("service/log") for line in note["lines"])
            process.stdin.close()
            assert process.wait(WAIT_S) == 3
        finally:
            process.kill()
    variables = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    assert variables["LD_LIBRARY_PATH"] == "/somewhere/lib"
    assert [name for name in variables if name.startswith(("_PYI", "_MEI")) or name.endswith("_ORIG")] == []
