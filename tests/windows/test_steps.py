"""The steps of a dev script before its server: cmd runs them with the quotes and operators of the line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from sidecar.host.windows import host as windows
from sidecar.services.dev_script import Step
from sidecar.services.launch import step_launch


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo one&& echo two %A%", ["one", "two 1"]),
        ('echo "a b"&& echo "c"', ['"a b"', '"c"']),
        ("told x", ["from the project x"]),
    ],
)
def test_a_step_of_a_script_is_run_by_cmd(line: str, said: list[str], tmp_path: Path) -> None:
    bins = tmp_path / "node_modules" / ".bin"
    bins.mkdir(parents=True)
    (bins / "told.cmd").write_text("@echo from the project %1\r\n", encoding="utf-8")
    made = step_launch(Step(line, {"A": "1"}), str(tmp_path), {})
    done = subprocess.run(
        windows.command_line(made.argv),
        cwd=made.cwd,
        env=os.environ | made.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [it.strip() for it in done.stdout.splitlines()] == said
