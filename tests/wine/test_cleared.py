"""After a run under Wine all its processes are killed, even those that Wine itself has lost."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

from build import wine
from tests.support.waiting import WAIT_S


def start(run_id: str, *words: str) -> subprocess.Popen[bytes]:
    """Start a process of that run that waits for ever."""
    command = [sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()", *words]
    env = {**os.environ, wine.RUN: run_id}
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # after its exec it has its own command line
    return process


def test_only_processes_of_the_run_are_killed() -> None:
    with ExitStack() as stack:
        left = start("this"), start("this", r"C:\Windows\System32\conhost.exe")
        others = start("other"), start("this", r"C:\Windows\System32\services.exe")
        for process in (*left, *others):
            stack.enter_context(process)
            stack.callback(process.kill)  # not reaped yet, so the pid is not reused
        with wine.cleared("this"):
            pass
        assert [it.wait(WAIT_S) for it in left] == [-9, -9]
        assert [it.poll() for it in others] == [None, None]


def test_a_process_that_keeps_the_output_open_does_not_block_a_run(capfd: pytest.CaptureFixture[str]) -> None:
    command = (
        'import subprocess, sys; subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]); print(7)'
    )
    assert wine.show([sys.executable, "-c", command], os.environ) == 0
    assert capfd.readouterr().out == "7\n"
