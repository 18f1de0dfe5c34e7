"""A service that is a real PyInstaller one-file program: after a kill with the app it leaves no folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds and control groups", allow_module_level=True)

import signal

from tests.faults.cell import Cell
from tests.support.command import Message
from tests.support.waiting import until

BACKEND = """
import signal, sys
print("unpacked into", sys._MEIPASS, flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a one-file program as the guide describes it."""
    folder = tmp_path_factory.mktemp("backend")
    (folder / "backend.py").write_text(BACKEND)
    command = [sys.executable, "-m", "PyInstaller", "--onefile", "--log-level=ERROR", "backend.py"]
    env = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(folder / "config")}
    subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=True)
    return folder / "dist" / "backend"


@pytest.mark.parametrize("victims", [("app",), ("app", "bootloader"), ("supervisor",)])
def test_its_folder_goes_with_the_app_and_ours_does_too(
    tmp_path: Path, backend: Path, victims: tuple[str, ...]
) -> None:
    service: Message = {
        "type": "command",
        "command": [str(backend)],
        "ready": {"type": "log", "pattern": "unpacked into"},
        "readyTimeoutMs": 120_000,
    }
    with Cell(tmp_path, (), services={"api": service}, contained=True) as cell:
        cell.client.start_all(cell.services)
        [line] = cell.client.note("service/log", service="api")["lines"]
        folder = str(line).removeprefix("unpacked into ")
        [record] = (cell.state / "runs").glob("*.json")
        until(
            lambda: [it["path"] for it in json.loads(record.read_bytes())["unpacked"]] == [folder],
            "the folder, in the run's record",
        )
        assert len(list(cell.unpacked.glob("_MEI*"))) == 2
        cell.strike(*((victim, signal.SIGKILL) for victim in victims))
        cell.assert_nothing_left_alive()
        until(lambda: not list(cell.unpacked.glob("_MEI*")), "the end of both folders")
        until(lambda: not list((cell.state / "runs").glob("*.json")), "the end of the run's record")
