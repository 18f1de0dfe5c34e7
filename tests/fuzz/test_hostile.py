"""The largest files of a hostile project are read, or refused, in a time that grows with their length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("only POSIX can bound a process's time", allow_module_level=True)

from tests.fuzz.hostile import READERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("reader", READERS)
def test_no_text_takes_the_square_of_its_length(reader: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz.hostile", reader]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3_000:]}"
