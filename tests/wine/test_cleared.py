"""Of a run under Wine nothing is left, though Wine itself may know nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

from build import wine

WAIT_S = 30.0


def start(run_id: str, *words: str) -> subprocess.Popen[bytes]:
    """A process of that run, which waits for ever."""
    command = [sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()", *words]
    env = {**os.environ, wine.RUN: run_id}
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it runs: by now it has its own command line
    return process


def test_who_is_left_of_a_run_is_ended_and_nobody_else() -> None:
    with start("this") as left, start("other") as other, start("this", r"C:\Windows\System32\services.exe") as system:
        try:
            with wine.cleared("this"):
                pass
            assert left.wait(WAIT_S) == -9
            assert (other.poll(), system.poll()) == (None, None)
        finally:
            for process in (left, other, system):
                process.kill()  # not reaped yet, so the pid is its own
