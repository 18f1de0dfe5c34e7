"""The record of a running sidecar: what it says about services, and that writing it blocks nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("start times from /proc", allow_module_level=True)

from sidecar.host.linux import processes
from sidecar.protocol.messages import ServiceState, State
from sidecar.state import atomic, run_record
from sidecar.state import record_writer as module
from sidecar.state.run_record import Identity, RunRecord, ServiceRecord, UnpackedFolder
from tests.support.waiting import WAIT_S

RECORD = RunRecord(run_id="a" * 32, boot_id="b", owners=(Identity(1, 2),))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(run_record.STATE_DIR, str(tmp_path / "state"))
    return run_record.run_path(RECORD.run_id)


def read() -> RunRecord:
    ((_, record),) = run_record.read_runs()
    assert record is not None
    return record


def identify(pid: int) -> Identity | None:
    process = processes.read_process(pid)
    return None if process is None else Identity(process.pid, process.start)


def tend_nothing(
    services: Mapping[str, ServiceRecord], *, looking: bool
) -> tuple[tuple[UnpackedFolder, ...], float | None]:
    """Find no folders."""
    del services, looking
    return (), None


class Kept:
    """A record writer with its thread. ``written`` gets an item at each write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: bool = False, tend: module.Tend = tend_nothing) -> None:
        self.written = threading.Semaphore(0)
        self.fail = fail
        self.record_writer = module.RecordWriter(identify, tend)
        monkeypatch.setattr(module, "CLOSE_S", WAIT_S)
        monkeypatch.setattr(module, "write_run", self._write)
        self.thread = threading.Thread(target=self.record_writer.keep)
        self.thread.start()

    def _write(self, path: str, record: RunRecord) -> None:
        try:
            if self.fail:
                raise OSError(28, "No space left on device")
            run_record.write_run(path, record)
        finally:
            self.written.release()

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.written.acquire(timeout=WAIT_S)

    def close(self, *, guarded: bool = False) -> None:
        self.record_writer.close(guarded=guarded)
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def test_record_has_what_the_client_is_told_and_the_programs_start(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    kept.record_writer.begin(path, RECORD)
    kept.wait()
    kept.record_writer.note(ServiceState("web", "ready", "localhost", 5173, os.getpid()))
    kept.wait()
    assert read().services == {
        "web": ServiceRecord(state="ready", host="localhost", port=5173, process=identify(os.getpid()))
    }
    kept.record_writer.note(ServiceState("web", "stopped"))
    kept.wait()
    assert read().services == {"web": ServiceRecord(state="stopped")}
    kept.close()


def test_what_is_told_before_the_record_is_begun_is_in_its_first_version(path: str) -> None:
    record_writer = module.RecordWriter(identify, tend_nothing)
    record_writer.note(ServiceState("web", "starting"))
    record_writer.begin(path, RECORD)
    assert read().services == {"web": ServiceRecord(state="starting")}
    record_writer.close()


def test_a_pid_that_is_gone_already_is_not_written_down(path: str) -> None:
    record_writer = module.RecordWriter(identify, tend_nothing)
    record_writer.note(ServiceState("web", "ready", pid=4_194_305))
    record_writer.begin(path, RECORD)
    assert read().services["web"].process is None
    record_writer.close()


def test_a_program_keeps_the_start_that_was_read_first(path: str) -> None:
    """After it is reaped, its pid may be reused. The new process must not be recorded as the service's."""
    looks = iter([identify(os.getpid()), None])
    record_writer = module.RecordWriter(lambda _: next(looks), tend_nothing)
    record_writer.note(ServiceState("web", "starting", pid=os.getpid()))
    record_writer.note(ServiceState("web", "stopping", pid=os.getpid()))
    record_writer.begin(path, RECORD)
    assert read().services["web"].process == identify(os.getpid())
    record_writer.close()


def test_after_the_end_nothing_is_left_and_nothing_is_written_any_more(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(monkeypatch)
    kept.record_writer.begin(path, RECORD)
    kept.wait()
    Path(atomic.draft_of(path)).write_text("half")
    kept.close()
    kept.record_writer.note(ServiceState("web", "ready"))
    kept.record_writer.begin(path, RECORD)
    assert list(Path(path).parent.iterdir()) == []


def with_a_folder(path: str, monkeypatch: pytest.MonkeyPatch, tend: module.Tend) -> Kept:
    """Start a run and its service, and wait until the service and its folder are recorded."""
    kept = Kept(monkeypatch, tend=tend)
    kept.record_writer.begin(path, RECORD)
    kept.wait()
    kept.record_writer.note(ServiceState("api", "ready", pid=os.getpid()))
    kept.wait(2)
    return kept


def test_a_guarded_end_waits_for_no_folder(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = UnpackedFolder("/tmp/_MEIabc", "1:2")
    turns: list[bool] = []

    def tend(services: object, *, looking: bool) -> tuple[tuple[UnpackedFolder, ...], None]:
        del services
        turns.append(looking)
        return (folder,), None

    kept = with_a_folder(path, monkeypatch, tend)
    assert read().unpacked == (folder,)
    kept.close(guarded=True)
    assert not Path(path).exists()
    assert turns[-1] is False, "at the end no search may run"


def test_without_a_guard_folders_go_before_the_record_does(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = UnpackedFolder("/tmp/_MEIabc", "1:2")

    def tend(services: Mapping[str, ServiceRecord], *, looking: bool) -> tuple[tuple[UnpackedFolder, ...], None]:
        if not services:
            assert Path(path).exists()
            return (), None
        assert looking
        return (folder,), None

    kept = with_a_folder(path, monkeypatch, tend)
    kept.close()
    assert not Path(path).exists()


def test_the_thread_turns_again_after_the_time_that_tending_asks_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = threading.Semaphore(0)

    def tend(services: object, *, looking: bool) -> tuple[tuple[UnpackedFolder, ...], float]:
        del services, looking
        turned.release()
        return (), 0.01

    kept = Kept(monkeypatch, tend=tend)
    kept.record_writer.begin(path, RECORD)
    kept.wait()
    kept.record_writer.note(ServiceState("api", "starting"))
    kept.wait()
    for _ in range(3):
        assert turned.acquire(timeout=WAIT_S)
    assert not kept.written.acquire(blocking=False), "nothing has changed"
    kept.close()


def test_one_that_was_never_begun_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    kept.record_writer.note(ServiceState("web", "ready"))
    kept.close()


def test_a_disk_that_hangs_is_not_waited_for_at_the_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    hangs, goes_on = threading.Event(), threading.Event()
    record_writer = module.RecordWriter(identify, tend_nothing)
    record_writer.begin(path, RECORD)

    def hang(path: str, record: RunRecord) -> None:
        hangs.set()
        assert goes_on.wait(WAIT_S)

    monkeypatch.setattr(module, "write_run", hang)
    thread = threading.Thread(target=record_writer.keep)
    thread.start()
    try:
        record_writer.note(ServiceState("web", "ready"))
        assert hangs.wait(WAIT_S)
        record_writer.close()
        assert Path(path).exists(), "the guard removes it"
    finally:
        goes_on.set()
        thread.join(WAIT_S)


def test_a_write_that_fails_is_said_once_and_the_next_is_tried(
    path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(monkeypatch)
    kept.record_writer.begin(path, RECORD)
    kept.wait()
    kept.fail = True
    states: tuple[State, State] = ("starting", "ready")
    for state in states:
        kept.record_writer.note(ServiceState("web", state))
        kept.wait()
    kept.fail = False
    kept.record_writer.note(ServiceState("web", "unhealthy"))
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
