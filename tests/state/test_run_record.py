"""Files that are kept between runs: private to this user, written atomically, and never through a link."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import platformdirs
import pytest

from sidecar.state import atomic, run_record
from sidecar.state.run_record import Identity, RunRecord
from tests.support.waiting import WAIT_S

if sys.platform == "win32":
    pytest.skip("modes and owners of files", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]

RECORD = RunRecord(run_id="a" * 32, boot_id="b", owners=(Identity(1, 2), Identity(3, 4)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(run_record.STATE_DIR, str(tmp_path / "state"))
    return tmp_path / "state"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders_and_files_are_this_users_alone(folder: Path) -> None:
    run_record.write_run(run_record.run_path(RECORD.run_id), RECORD)
    run_record.remember_port("key", 5000)
    assert mode(folder) == mode(folder / "runs") == 0o700
    assert {mode(it) for it in folder.rglob("*.json")} == {0o600}


def test_a_folder_that_others_may_enter_is_closed(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert mode(Path(run_record.state_folder())) == 0o700


@pytest.mark.parametrize("name", ["", "runs"])
def test_a_link_in_a_folders_place_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = folder / name if name else folder
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(PermissionError, match="is a link"):
        run_record.state_folder(name)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change a file's owner")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 12345, -1)
    with pytest.raises(PermissionError, match="another user"):
        run_record.state_folder()


def test_a_record_is_read_as_it_was_written() -> None:
    path = run_record.run_path(RECORD.run_id)
    run_record.write_run(path, RECORD)
    assert run_record.read_runs() == [(path, RECORD)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a":"b"}', "\0"])
def test_ports_that_cannot_be_read_start_afresh_and_it_is_said(
    folder: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(run_record.state_folder(), "ports.json").write_text(text)
    assert run_record.last_port("key") is None
    assert "start afresh" in capfd.readouterr().err
    run_record.remember_port("key", 5000)
    assert run_record.last_port("key") == 5000


def test_the_first_time_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_record.last_port("key") is None
    assert capfd.readouterr().err == ""


def test_ports_unreadable_for_want_of_descriptors_are_not_overwritten(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def lacks(path: str) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", path)  # at the write there is one again

    run_record.remember_port("one", 1)
    monkeypatch.setattr(run_record, "_read", lacks)
    assert run_record.last_port("one") is None
    run_record.remember_port("two", 2)
    assert json.loads((folder / "ports.json").read_text()) == {"one": 1}
    assert capfd.readouterr().err.count("Too many open files") == 2


def test_a_port_is_remembered_until_it_is_forgotten(folder: Path) -> None:
    run_record.remember_port("one", 1)
    run_record.remember_port("two", 2)
    run_record.remember_port("one", None)
    run_record.remember_port("three", None)
    assert (run_record.last_port("one"), run_record.last_port("two")) == (None, 2)
    assert json.loads((folder / "ports.json").read_text()) == {"two": 2}


def test_services_that_are_ready_at_once_are_all_remembered(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each has its own thread. With a shared temporary file, one would remove or rename what another still writes."""

    def remember(service: int) -> None:
        for port in range(20):
            run_record.remember_port(f"{service}/{port}", port)

    threads = [threading.Thread(target=remember, args=(it,)) for it in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads((folder / "ports.json").read_text())
    assert kept == {f"{service}/{port}": port for service in range(8) for port in range(20)}
    assert capfd.readouterr().err == ""


def test_what_another_sidecar_remembers_meanwhile_is_not_lost(folder: Path) -> None:
    """The other sidecar must read the ports only after we have written ours."""
    script = """
from sidecar.state import atomic, run_record
atomic.BUSY_TRIES = 1_000_000  # in the end it would go on without the lock, and the test may be slow
sleep = atomic.time.sleep
def wait(seconds):
    print("waits", flush=True)
    atomic.time.sleep = sleep
atomic.time.sleep = wait
run_record.remember_port("theirs", 2)
"""
    with ExitStack() as stack:
        with atomic.writing_in(run_record.state_folder(), alone=True):
            command = [sys.executable, "-c", script]
            other = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            assert other.stdout is not None
            assert other.stdout.readline() == "waits\n"
            atomic.replace(str(folder / "ports.json"), b'{"ours":1}')
        assert other.wait(WAIT_S) == 0
    assert json.loads((folder / "ports.json").read_text()) == {"ours": 1, "theirs": 2}


def test_the_oldest_ports_are_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "PORTS_KEPT", 2)
    for number, key in enumerate(["one", "two", "one", "three"]):
        run_record.remember_port(key, 1000 + number)
    assert [run_record.last_port(key) for key in ("one", "two", "three")] == [1002, None, 1003]


def test_a_state_folder_that_cannot_be_written_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder.write_text("a file")
    run_record.remember_port("key", 5000)
    assert "could not be remembered" in capfd.readouterr().err


@pytest.mark.parametrize("base", [None, "", "  ", "/var/tmp/mine", "relative/one"])
def test_without_a_wish_the_folder_is_where_the_systems_rules_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if base is not None:
        monkeypatch.setenv("XDG_STATE_HOME", base)
    assert run_record._users_own() == platformdirs.user_state_dir("tauri-sidecar")


def test_a_record_that_is_nested_too_deeply_is_one_that_is_not_known(folder: Path) -> None:
    """Such a record must not stop a start's sweep."""
    path = run_record.run_path("deep")
    Path(path).write_bytes(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert run_record.read_runs() == [(path, None)]
