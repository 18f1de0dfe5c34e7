"""Difficult paths: longer than MAX_PATH, and with a lower-case drive letter."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from sidecar.config.services import ViteService
from sidecar.core.events import Launch
from sidecar.errors import ProcessSpawnFailedError
from sidecar.host.windows import host as windows
from sidecar.services import launch
from tests.windows.support import PYTHON, Direct

MAX_PATH = 260


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder whose path is longer than MAX_PATH."""
    folder = tmp_path.joinpath(*["Ümläute und Leerzeichen 日本 " + "x" * 30 + " y"] * 5)
    assert len(str(folder)) > MAX_PATH
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("this Windows does not allow long paths (LongPathsEnabled)")
    return folder


def test_a_program_in_a_long_path_is_run_and_a_state_folder_there_is_used(deep: Path, tmp_path: Path) -> None:
    script = deep / "program.py"
    script.write_text("print(ascii(__file__))", encoding="utf-8")
    with Direct(tmp_path, env={"SIDECAR_STATE_DIR": str(deep / "state")}) as it:
        it.client.hello({"it": {"type": "command", "command": [*PYTHON, str(script)]}})
        it.client.send("start", service="it")
        it.client.printed("it", ascii(str(script)))
        # only *.json, as a temporary file exists while the record is rewritten
        assert len(list((deep / "state" / "runs").glob("*.json"))) == 1


def test_too_long_working_folder_is_refused_with_advice(deep: Path) -> None:
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: None)
    with pytest.raises(ProcessSpawnFailedError, match="Move the project nearer"):
        host.spawn("it", Launch((*PYTHON, "-c", ""), str(deep), {}))


def test_a_project_is_the_same_however_its_drive_is_written(tmp_path: Path) -> None:
    """Else its remembered port would be lost, and Vite would load one file as two modules."""
    (tmp_path / "package.json").write_text("{}")
    entry = tmp_path / "node_modules" / "vite" / "bin" / "vite.js"
    entry.parent.mkdir(parents=True)
    entry.touch()
    (entry.parents[1] / "package.json").write_text('{"bin": "bin/vite.js"}')
    text = str(tmp_path)
    drives = text[0].lower(), text[0].upper()
    spellings = [ViteService(root=drive + text[1:], node=sys.executable) for drive in drives]
    assert len({launch.project_key("web", it) for it in spellings}) == 1
    planned = [launch.plan("web", it) for it in spellings]
    assert planned[0] == planned[1]
    assert planned[0].cwd[0].isupper()
    assert os.path.splitdrive(planned[0].argv[-6])[0].isupper(), planned[0].argv
