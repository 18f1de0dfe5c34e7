"""The folder in which Tauri's own CLI runs a ``beforeDevCommand``: ``init`` must name the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.init import binary, phones
from sidecar.commands.init.plan import make_plan
from sidecar.tauri import project
from tests.commands.init.support import CONFIG, PACKAGE, ROOT, make
from tests.e2e.support import EXAMPLE

CLI = EXAMPLE / "node_modules" / ".bin" / "tauri"

pytestmark = [
    pytest.mark.vite,
    pytest.mark.skipif(sys.platform != "linux", reason="the test's commands need a POSIX shell"),
    pytest.mark.skipif(not CLI.exists(), reason="the example's packages are missing"),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="the CLI needs cargo"),
]


def run_before_dev_command(folder: Path, build: dict[str, Any]) -> None:
    """Let the CLI run it. The CLI waits for the command, which fails, and gives up before the build."""
    more = folder / "more.json"
    more.write_text(json.dumps({"build": {"beforeDevCommand": {**build, "wait": True}}}))
    words = [str(CLI), "dev", "--no-watch", "--config", str(more)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert "failed with exit code 3" in done.stdout + done.stderr


@pytest.mark.parametrize("given", [{}, {"cwd": ".."}, {"cwd": "../web"}, {"cwd": "."}])
def test_the_root_of_the_service_is_where_the_cli_runs_the_command(tmp_path: Path, given: dict[str, str]) -> None:
    command = {"script": "npx vite", **given}
    config = CONFIG.replace('"npm run dev"', json.dumps(command))
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config, "web/package.json": PACKAGE, "src-tauri/src/x": ""})
    run_before_dev_command(folder, {**given, "script": f"pwd > {tmp_path}/place; exit 3"})
    [edit] = [
        each
        for each in make_plan(folder, str(ROOT / "tauri-integration" / "plugin")).edits
        if each.path.name == "tauri.conf.json"
    ]
    web = project.parse_text(edit.path, edit.after.decode())["plugins"]["sidecar"]["services"]["web"]
    assert (folder / "src-tauri" / web["root"]).resolve() == Path((tmp_path / "place").read_text().strip())


def test_the_cli_runs_a_phone_s_command(tmp_path: Path) -> None:
    folder = make(tmp_path)
    place = binary.place_in(folder / "src-tauri", "binaries/test-sidecar")
    place.parent.mkdir()
    place.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/told\nexit 3\n')
    place.chmod(0o755)
    command = phones.command("http://localhost:1420", "binaries/test-sidecar")
    assert command is not None
    run_before_dev_command(folder, command)
    assert (tmp_path / "told").read_text() == "dev --port 1420 --strict-port\n"
