"""Control groups: each run has one, and its name identifies the run's owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("control groups", allow_module_level=True)

from sidecar.host.linux import cgroup, processes
from tests.support.liveness import await_end, control_group, lives
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a group that plays our own group, so that no sidecar of another test sweeps it."""
    with control_group(divisible=True) as folder:
        if folder is None:
            pytest.skip("no delegated control group here")
        monkeypatch.setattr(cgroup, "own_folder", lambda: folder)
        yield Path(folder)


@contextmanager
def sleeper() -> Iterator[tuple[int, int]]:
    """Start a process; yield its pid and a pidfd."""
    child = subprocess.Popen(["sleep", "100"])
    pidfd = os.pidfd_open(child.pid)
    try:
        yield child.pid, pidfd
    finally:
        child.kill()
        child.wait()
        os.close(pidfd)


def me() -> Any:
    process = processes.read_process(os.getpid())
    assert process is not None
    return process


@pytest.mark.parametrize("kill", [cgroup.kill, cgroup.kill_each])
def test_a_group_holds_its_member_until_it_is_killed_and_removed(home: Path, kill: object) -> None:
    with sleeper() as (pid, pidfd):
        folder = cgroup.make(os.getpid(), pid)
        assert folder == f"{home}/{cgroup.PREFIX}{processes.pid_namespace()}-{os.getpid()}-{me().start}"
        assert cgroup.members(folder) == [pid]
        assert not cgroup.remove(folder)
        assert callable(kill)
        kill(folder)
        await_end(pidfd)
        until(lambda: cgroup.remove(folder), "an empty group")
        assert cgroup.remove(folder)  # twice is no error


def test_what_is_gone_has_no_members_and_can_be_killed(home: Path) -> None:
    gone = str(home / "gone")
    cgroup.kill(gone)
    cgroup.kill_each(gone)
    assert cgroup.members(gone) == []


def test_a_member_that_is_dead_leaves_no_group_behind(home: Path) -> None:
    with sleeper() as (pid, _):
        pass
    assert cgroup.make(os.getpid(), pid) is None
    assert [it for it in home.iterdir() if it.is_dir()] == []


def test_a_group_that_may_not_be_divided_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with control_group(divisible=False) as folder, sleeper() as (pid, pidfd):
        monkeypatch.setattr(cgroup, "own_folder", lambda: folder)
        assert cgroup.make(os.getpid(), pid) is None
        assert pidfd


@pytest.mark.parametrize("where", ["", "inside"])
def test_group_is_orphaned_if_its_guard_is_dead_or_the_pid_is_reused(
    home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with sleeper() as (dead, _):
        start = 1
    start = me().start
    here = f"{cgroup.PREFIX}{processes.pid_namespace()}"
    ours = home / f"{here}-{os.getpid()}-{start}"
    orphans = [home / f"{here}-{os.getpid()}-{start - 1}", home / f"{here}-{dead}-{start}"]
    others = [home / name for name in (f"{here}-x-1", f"{here}-1", here, f"{cgroup.PREFIX}7-{dead}-1", "else-1-1-1")]
    for folder in (ours, *orphans, *others):
        folder.mkdir()
    if where:  # the supervisor asks from inside its own group
        monkeypatch.setattr(cgroup, "own_folder", lambda: str(ours))
    assert sorted(cgroup.orphaned()) == sorted(map(str, orphans))


def test_where_there_are_no_control_groups_nothing_is_orphaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "own_folder", lambda: None)
    assert cgroup.orphaned() == []
    assert cgroup.make(os.getpid(), os.getpid()) is None


def test_our_own_group_is_where_the_kernel_shows_us() -> None:
    folder = cgroup.own_folder()
    if folder is None:
        pytest.skip("no cgroup v2 here")
    assert os.getpid() in cgroup.members(folder)


def test_one_that_leaves_its_group_removes_it_and_lives_on(home: Path) -> None:
    folder = home / f"{cgroup.PREFIX}1-1"
    folder.mkdir()
    script = (
        "import pathlib, sys; from sidecar.host.linux import cgroup; group = sys.argv[1]\n"
        "pathlib.Path(group, 'cgroup.procs').write_text('0'); cgroup.leave(group); print(cgroup.own_folder())"
    )
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(home)
    assert not folder.exists()


def test_before_a_group_is_killed_only_those_without_a_leader_are(home: Path) -> None:
    # a process whose leader is already dead cannot be moved into the group
    script = "import _thread, ctypes, time; _thread.start_new_thread(time.sleep, (100,)); input(); "
    script += "ctypes.CDLL(None).pthread_exit(None)"
    command = [sys.executable, "-I", "-S", "-c", script]
    with sleeper() as (pid, pidfd), subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as leaderless:
        try:
            for member in (pid, leaderless.pid):
                (home / "cgroup.procs").write_text(str(member))
            assert leaderless.stdin is not None
            leaderless.stdin.write("\n")
            leaderless.stdin.flush()
            until(
                lambda: (it := processes.read_process(leaderless.pid)) and it.leaderless, "a process without a leader"
            )
            cgroup.kill_leaderless(str(home))
            assert leaderless.wait() == -signal.SIGKILL
            assert lives(pidfd)
        finally:
            leaderless.kill()


def test_a_place_with_white_space_and_backslashes_is_read_from_mountinfo() -> None:
    """The kernel escapes these characters in octal (fs/proc_namespace.c)."""
    assert cgroup._plain(rb"/a\040b\011c\012d\134040") == "/a b\tc\nd\\040"
