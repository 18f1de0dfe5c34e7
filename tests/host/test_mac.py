"""Tests for a real Mac: ``ps``, ``doctor`` and job control on its own process table, kqueue and lsof."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "darwin":
    pytest.skip("macOS itself", allow_module_level=True)

from sidecar.host import look_at, survey
from sidecar.state import run_record


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(run_record.STATE_DIR, str(tmp_path / "state"))


def test_all_layers_hold() -> None:
    assert [it.name for it in survey("doctor").find_layers() if not it.holds] == []


def test_an_overview_of_no_run_is_empty() -> None:
    found = survey("ps").overview()
    assert (found.runs, found.dead, found.problems) == ((), 0, ())


def test_who_has_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        holder = survey("doctor").holder_of(listener.getsockname()[1])
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_stopped_process_is_seen_to_be_stopped_and_its_parent_is_known() -> None:
    with subprocess.Popen(["/bin/sleep", "100"]) as child:
        try:
            before = look_at(child.pid)
            os.kill(child.pid, signal.SIGSTOP)
            assert os.waitpid(child.pid, os.WUNTRACED)[1] != 0
            after = look_at(child.pid)
        finally:
            child.kill()
    assert before is not None
    assert after is not None
    assert (before.ppid, before.stopped, after.stopped) == (os.getpid(), False, True)
