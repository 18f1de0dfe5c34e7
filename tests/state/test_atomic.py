"""Atomic writes: what a reader sees, and what a writer that fails or is killed leaves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("locks on folders", allow_module_level=True)

import fcntl

from sidecar.state import atomic
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).resolve().parents[2]
BEFORE = b"old"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file.json"
    found.write_bytes(BEFORE)
    return found


def gone(pid: int) -> bool:
    """Make every pid look dead, as from another pid namespace."""
    assert pid
    return True


@contextmanager
def writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Hold another writer between its temporary file and the rename; let it go on at the end."""
    written, goes_on = threading.Event(), threading.Event()
    replace = os.replace

    def wait(draft: str, target: str) -> None:
        written.set()
        assert goes_on.wait(WAIT_S)
        replace(draft, target)

    monkeypatch.setattr(os, "replace", wait)
    thread = threading.Thread(target=atomic.write_atomically, args=(str(path), b"new"))
    thread.start()
    try:
        assert written.wait(WAIT_S)
        yield Path(atomic.draft_of(str(path)))
    finally:
        goes_on.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(path: Path) -> None:
    with path.open("rb") as old:
        atomic.write_atomically(str(path), b"new")
        assert old.read() == BEFORE  # a reader sees the whole old content
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_partial_write_fails_and_leaves_the_old_file_alone(path: Path) -> None:
    import resource  # Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))  # plays a disk with room for four bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            atomic.write_atomically(str(path), b"a longer one")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == BEFORE
    assert list(path.parent.iterdir()) == [path]


def test_a_link_that_waits_at_the_temporary_name_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    path.with_suffix(f".{os.getpid()}.tmp").symlink_to(target)
    atomic.write_atomically(str(path), b"new")
    assert target.read_text() == "precious"
    assert not path.is_symlink()


def test_what_a_writer_leaves_that_is_killed_is_found_and_removed(path: Path) -> None:
    script = """
import os, signal, sys
from sidecar.state import atomic
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_atomically(sys.argv[1], b"new")
"""
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, timeout=WAIT_S, check=False)
    assert done.returncode == -signal.SIGKILL
    assert atomic.left_in(str(path.parent), lambda _: False) == []
    [left] = atomic.left_in(str(path.parent), gone)
    atomic.remove_left(left)
    atomic.remove_left(left)  # another start was quicker
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == BEFORE


def test_a_file_whose_name_has_no_writer_is_no_draft(path: Path) -> None:
    for name in ("a.tmp", "file.x.tmp", "7", "7.json"):
        (path.parent / name).touch()
    assert atomic.left_in(str(path.parent), gone) == []


def test_draft_of_a_living_writer_is_never_taken_for_left_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "BUSY_S", 0)
    with writing(path, monkeypatch) as draft:
        assert atomic.left_in(str(path.parent), gone) == []
        with pytest.raises(BlockingIOError, match="another sidecar is writing"):
            atomic.remove_left(str(draft))
        assert draft.exists()
    assert path.read_bytes() == b"new"


def test_two_may_write_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        writing(path, monkeypatch),
        atomic.writing_in(str(path.parent)) as locked,
    ):
        assert locked


def test_one_that_was_stopped_while_it_was_alone_keeps_nobody_from_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "BUSY_S", 0)
    with atomic.writing_in(str(path.parent), alone=True):
        atomic.write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF], ids=errno.errorcode.get)
def test_where_the_file_system_has_no_locks_the_pid_has_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def lacks(fd: int, how: int) -> None:
        raise OSError(reason, os.strerror(reason))

    left = path.with_suffix(".7.tmp")
    left.touch()
    monkeypatch.setattr(fcntl, "flock", lacks)
    atomic.write_atomically(str(path), b"new")
    assert atomic.left_in(str(path.parent), gone) == [str(left)]
    atomic.remove_left(str(left))
    assert not left.exists()
