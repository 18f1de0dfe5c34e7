"""An East Asian Windows: text comes and goes in a code page for which the frozen binary has no Python codec."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine takes the code page from Linux's locale", allow_module_level=True)

from build import wine
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "windows" / "children" / "program.py"
FOLDER = Path(os.environ["SIDECAR_WINE"])
PYTHON = str(FOLDER / wine.PYTHON_FOLDER / "python.exe")
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"

LOCALE = "ja_JP.UTF-8"
CODE_PAGE = 932
WAIT_S = 120.0

SAID = "日本 ü"
"""The code page lacks the last letter."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment that makes Wine a Japanese Windows."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is missing")
    place = tmp_path / "locales"
    place.mkdir()
    subprocess.run(["localedef", "-i", "ja_JP", "-f", "UTF-8", str(place / LOCALE)], capture_output=True, check=False)
    if not (place / LOCALE).exists():
        pytest.skip("locale sources are missing (Debian package locales)")
    state = str(tmp_path / "state")
    return wine.environment(FOLDER, LOCPATH=str(place), LC_ALL=LOCALE, SIDECAR_STATE_DIR=state)


def run(env: dict[str, str], *command: str) -> bytes:
    """Run the command; return its stdout. Do not read stderr: Wine's services may keep it open."""
    done = subprocess.run(
        [*wine.launch(), *command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0
    return done.stdout


@pytest.mark.timeout(500)
def test_lines_are_written_in_the_code_page_and_messages_in_utf_8(env: dict[str, str]) -> None:
    sidecar = [BINARY] if BINARY else [PYTHON, "-c", MAIN, str(ROOT)]
    words = ["--", PYTHON, "-I", "-S", str(PROGRAM), f"print:{SAID}", "exit:0"]
    with wine.awake(FOLDER):
        found = run(env, PYTHON, "-c", "import ctypes; print(ctypes.windll.kernel32.GetACP())")
        assert int(found) == CODE_PAGE
        lines = run(env, *sidecar, "dev", *words).decode("cp932")
        messages = [json.loads(line) for line in run(env, *sidecar, "dev", "--json", *words).splitlines()]
    assert "| 日本 ?" in lines
    assert [SAID] in [it["params"]["lines"] for it in messages if it["method"] == "service/log"]
