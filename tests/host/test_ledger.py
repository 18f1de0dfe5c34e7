"""The run's record while it runs: what it tells of services, and that nobody waits for it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("start times from /proc", allow_module_level=True)

from sidecar.host import drafts, records
from sidecar.host import ledger as module
from sidecar.host.linux import tree as processes
from sidecar.host.records import Identity, RunRecord, ServiceRecord
from sidecar.wire.messages import ServiceState, State

RECORD = RunRecord(run_id="a" * 32, boot_id="b", owners=(Identity(1, 2),))
WAIT_S = 30.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(records.STATE_DIR, str(tmp_path / "state"))
    return records.run_path(RECORD.run_id)


def read() -> RunRecord:
    ((_, record),) = records.read_runs()
    assert record is not None
    return record


def identify(pid: int) -> Identity | None:
    process = processes.read_process(pid)
    return None if process is None else Identity(process.pid, process.start)


class Kept:
    """A ledger with its thread; ``written`` tells of each write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: bool = False) -> None:
        self.written = threading.Semaphore(0)
        self.fail = fail
        self.ledger = module.Ledger(identify)
        monkeypatch.setattr(module, "write_run", self._write)
        self.thread = threading.Thread(target=self.ledger.keep)
        self.thread.start()

    def _write(self, path: str, record: RunRecord) -> None:
        try:
            if self.fail:
                raise OSError(28, "No space left on device")
            records.write_run(path, record)
        finally:
            self.written.release()

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.written.acquire(timeout=WAIT_S)

    def close(self) -> None:
        self.ledger.close()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def test_what_the_client_is_told_of_a_service_is_in_the_record_with_the_start_of_its_program(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(monkeypatch)
    kept.ledger.begin(path, RECORD)
    kept.wait()
    kept.ledger.note(ServiceState("web", "ready", "localhost", 5173, os.getpid()))
    kept.wait()
    assert read().services == {
        "web": ServiceRecord(state="ready", host="localhost", port=5173, process=identify(os.getpid()))
    }
    kept.ledger.note(ServiceState("web", "stopped"))
    kept.wait()
    assert read().services == {"web": ServiceRecord(state="stopped")}
    kept.close()


def test_what_is_told_before_the_record_is_begun_is_in_its_first_version(path: str) -> None:
    ledger = module.Ledger(identify)
    ledger.note(ServiceState("web", "starting"))
    ledger.begin(path, RECORD)
    assert read().services == {"web": ServiceRecord(state="starting")}
    ledger.close()


def test_a_pid_that_is_gone_already_is_not_written_down(path: str) -> None:
    ledger = module.Ledger(identify)
    ledger.note(ServiceState("web", "ready", pid=4_194_305))
    ledger.begin(path, RECORD)
    assert read().services["web"].process is None
    ledger.close()


def test_a_program_keeps_the_start_that_was_read_first(path: str) -> None:
    """Once it is reaped the pid may be another's, which must not be taken for it."""
    looks = iter([identify(os.getpid()), None])
    ledger = module.Ledger(lambda _: next(looks))
    ledger.note(ServiceState("web", "starting", pid=os.getpid()))
    ledger.note(ServiceState("web", "stopping", pid=os.getpid()))
    ledger.begin(path, RECORD)
    assert read().services["web"].process == identify(os.getpid())
    ledger.close()


def test_after_the_end_nothing_is_left_and_nothing_is_written_any_more(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(monkeypatch)
    kept.ledger.begin(path, RECORD)
    kept.wait()
    Path(drafts.draft_of(path)).write_text("half")
    kept.close()
    kept.ledger.note(ServiceState("web", "ready"))
    kept.ledger.begin(path, RECORD)
    assert list(Path(path).parent.iterdir()) == []


def test_one_that_was_never_begun_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    kept.ledger.note(ServiceState("web", "ready"))
    kept.close()


def test_a_disk_that_hangs_is_not_waited_for_at_the_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    hangs, goes_on = threading.Event(), threading.Event()
    ledger = module.Ledger(identify)
    ledger.begin(path, RECORD)

    def hang(path: str, record: RunRecord) -> None:
        hangs.set()
        assert goes_on.wait(WAIT_S)

    monkeypatch.setattr(module, "write_run", hang)
    thread = threading.Thread(target=ledger.keep)
    thread.start()
    try:
        ledger.note(ServiceState("web", "ready"))
        assert hangs.wait(WAIT_S)
        ledger.close()
        assert Path(path).exists(), "the guard removes it"
    finally:
        goes_on.set()
        thread.join(WAIT_S)


def test_a_write_that_fails_is_said_once_and_the_next_is_tried(
    path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(monkeypatch)
    kept.ledger.begin(path, RECORD)
    kept.wait()
    kept.fail = True
    states: tuple[State, State] = ("starting", "ready")
    for state in states:
        kept.ledger.note(ServiceState("web", state))
        kept.wait()
    kept.fail = False
    kept.ledger.note(ServiceState("web", "unhealthy"))
    kept.wait()
    kept.close()
    assert capfd.readouterr().err.count("out of date") == 1


# ── a process behind a descriptor ─────────────────────────────────────────────────────────────────────────────────────


def test_a_pidfd_tells_whose_it_is_until_that_is_gone() -> None:
    import subprocess

    with subprocess.Popen(["sleep", "100"]) as child:
        pidfd = os.pidfd_open(child.pid)
        try:
            found = processes.behind(pidfd)
            assert found is not None
            assert (found.pid, found.ppid) == (child.pid, os.getpid())
        finally:
            child.kill()
            child.wait()
            assert processes.behind(pidfd) is None
            os.close(pidfd)


def test_a_descriptor_that_is_none_tells_nothing() -> None:
    with open(os.devnull, "rb") as file:
        assert processes.behind(file.fileno()) is None
    assert processes.behind(1 << 20) is None
