"""A thread that dies of an exception ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.exit_codes import EXIT_INTERNAL

ROOT = Path(__file__).resolve().parents[1]
WAIT_S = 60

SCRIPT = """
import _thread, sys, threading
sys.path.insert(0, {root!r})  # an embedded Python, as under Wine, does not look here by itself
from sidecar import threads

threads.end_with_any_thread()
{end}
threading.Event().wait()
"""

ENDS = {
    "in its work": "threads.start_thread('reader', lambda: 1 / 0)",
    "before it came to its work": "_thread.start_new_thread(lambda: 1 / 0, ())",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_half_a_supervisor_never_keeps_running(end: str) -> None:
    faulty = [sys.executable, "-c", SCRIPT.format(root=str(ROOT), end=end)]
    ran = subprocess.run(faulty, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ran.returncode == EXIT_INTERNAL
    assert "ZeroDivisionError" in ran.stderr
