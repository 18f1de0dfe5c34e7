"""Reading /proc, and killing by identity."""

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
    pytest.skip("/proc and pidfds", allow_module_level=True)

from sidecar.host.linux import processes as tree
from tests.children.trees import SIZES
from tests.support.liveness import RollCall, await_end, lives
from tests.support.waiting import WAIT_S, until

LOOKS = 10_000
"""Number of reads. If ``variable`` read only once, between a few and some hundreds of these would find nothing."""

TREES = Path(__file__).resolve().parents[1] / "children" / "trees.py"


@contextmanager
def named(name: bytes) -> Iterator[tuple[int, int]]:
    """Start a process with this name; yield its pid and a pidfd."""
    script = f"import ctypes, os; ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0); os.write(1, b'.'); os.read(0, 1)"
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pidfd = os.pidfd_open(child.pid)
    try:
        assert child.stdout is not None
        child.stdout.read(1)
        yield child.pid, pidfd
    finally:
        child.kill()
        child.communicate()
        os.close(pidfd)


def read(pid: int) -> Any:
    process = tree.read_process(pid)
    assert process is not None
    return process


@pytest.mark.parametrize("name", [b") R 1 (", b")", b"((", b") Z 1 1 1 1 1", b"a b c", b"\xff\n\t)", b" ", b"x"])
def test_no_name_of_a_process_is_mistaken_for_its_facts(name: bytes) -> None:
    with named(name) as (pid, _):
        assert Path(f"/proc/{pid}/comm").read_bytes() == name + b"\n"
        process = read(pid)
        assert (process.pid, process.ppid, process.sid) == (pid, os.getpid(), os.getsid(0))
        assert process.start > 0
        assert not process.dead


def test_a_free_pid_has_nothing_to_read() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert tree.read_process(child.pid) is None
    assert tree.environment(child.pid) == b""


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(child.pid)
    await_end(pidfd)
    os.close(pidfd)
    assert read(child.pid).dead
    child.wait()


def test_process_whose_leader_thread_exited_is_alive_with_environment() -> None:
    with RollCall() as roll:
        command = [sys.executable, "-I", "-S", str(TREES), "leaderless"]
        with subprocess.Popen(command, env={**os.environ, **roll.env, "MARK": "here"}) as child:
            members = roll.await_living("leaderless", SIZES["leaderless"])
            until(lambda: all(state(it.pid) == "Z" for it in members), "the leaders' end")
            for member in members:
                assert not read(member.pid).dead
                assert b"\0MARK=here\0" in b"\0" + tree.environment(member.pid)
            left = tree.kill_until_empty(lambda: [process for it in members if (process := tree.read_process(it.pid))])
            assert left == []
            roll.await_dead()
            child.wait()


def state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return chr(stat[stat.rfind(b")") + 2])


def test_children_of_an_orphan_that_died_since_the_listing_are_asked() -> None:
    """Otherwise a service seems dead if its daemon dies after the listing and the daemon's child lives on."""

    def process(pid: int, ppid: int) -> Any:
        return tree.Process(pid, ppid, sid=pid, start=1, state=b"S", threads=1)

    listed = {it.pid: it for it in (process(10, 1), process(11, 10), process(12, 11), process(20, 1), process(21, 20))}
    says = {10: None, 11: True, 20: False, 21: True}
    found = tree.belonging([listed[10], listed[20]], listed, lambda it: says[it.pid])
    assert [it.pid for it in found] == [11], "12 is below 11; 21 is below 20, which is not ours"


def test_a_listing_in_which_two_are_each_others_parent_has_an_end() -> None:
    listed = {it: tree.Process(it, 21 - it, sid=it, start=1, state=b"S", threads=1) for it in (10, 11)}
    assert tree.belonging([listed[10]], listed, lambda _: None) == []


def test_all_processes_are_all_of_them() -> None:
    found = tree.all_processes()
    assert {os.getpid(), os.getppid()} <= set(found)


def a_process(pid: int, ppid: int) -> Any:
    return tree.Process(pid, ppid, 1, 1, state=b"S", threads=1)


def test_below_is_every_descendant_parents_first_and_nobody_else() -> None:
    processes = {pid: a_process(pid, ppid) for pid, ppid in {2: 1, 3: 2, 4: 3, 5: 2, 6: 1, 7: 6, 8: 99}.items()}
    assert [it.pid for it in tree.below([2], processes)] == [3, 5, 4]
    assert [it.pid for it in tree.below([2, 6], processes)] == [3, 5, 7, 4]
    assert tree.below([4], processes) == []


def test_a_circle_of_parents_which_a_scan_may_show_has_an_end() -> None:
    """Pids are reused while /proc is read, so a listing may mix several moments."""
    processes = {2: a_process(2, 3), 3: a_process(3, 2)}
    assert {it.pid for it in tree.below([2], processes)} == {2, 3}


def test_a_signal_reaches_the_process_that_was_seen() -> None:
    with named(b"x") as (pid, pidfd):
        seen = read(pid)
        no_child = tree.Process(pid, 0, seen.sid, seen.start, state=b"S", threads=1)
        tree.send(no_child, signal.SIGKILL)
        await_end(pidfd)
    with named(b"x") as (pid, pidfd):
        tree.send(read(pid), signal.SIGKILL)
        await_end(pidfd)


def test_no_signal_reaches_another_one_that_has_its_pid_now() -> None:
    with named(b"x") as (pid, pidfd):
        seen = read(pid)
        before = tree.Process(pid, 0, seen.sid, seen.start - 1, state=b"S", threads=1)
        tree.send(before, signal.SIGKILL)
        assert tree.kill_until_empty(lambda: [before], 0.01)
        assert lives(pidfd)
        assert not read(pid).dead


def test_a_signal_to_nobody_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    tree.send(a_process(child.pid, 0), signal.SIGKILL)


def test_what_cannot_be_killed_is_named_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: object, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(tree, "send", refuse)
    stuck = a_process(4, 1)
    assert tree.kill_until_empty(lambda: [stuck], 0.01) == [stuck]


def test_an_empty_listing_is_not_believed_while_children_live() -> None:
    """A process that forks and exits in a loop escapes every listing, but the kernel still knows it as our child."""
    child = subprocess.Popen(["sleep", "100"])
    looks = iter([[], [read(child.pid)], []])

    def nobody_is_left() -> bool:
        child.poll()
        return not tree.has_children()

    try:
        assert tree.has_children()
        assert tree.kill_until_empty(lambda: next(looks, []), is_empty=nobody_is_left) == []
        assert child.returncode == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()


def test_kernels_list_of_our_children_includes_zombies() -> None:
    child = subprocess.Popen(["sleep", "100"])
    try:
        assert child.pid in (tree.children_of_ours() or [])
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.pid in (tree.children_of_ours() or [])
    finally:
        child.kill()
        child.wait()
    assert child.pid not in (tree.children_of_ours() or [])


def test_one_that_execs_all_the_time_shows_its_variables_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an exec the kernel shows no variables. Some reads in a thousand would take it for a stranger."""
    monkeypatch.setattr(tree, "EXEC_BOUND_S", WAIT_S)
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    child = subprocess.Popen([script], env={"MARK": "here", "PATH": os.environ["PATH"]})
    try:
        assert {tree.variable(child.pid, "MARK") for _ in range(LOOKS)} == {"here"}
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("pid", [0, -1, tree.LARGEST_PID + 1, 1 << 31, 1 << 64])
def test_a_number_that_no_process_can_have_is_nobodys(pid: int) -> None:
    """A forged record or a folder's name can contain such a pid."""
    assert tree.is_gone(pid)
    assert not tree.is_gone(os.getpid())
    assert tree.is_gone(os.getpid(), read(os.getpid()).start + 1)


def test_no_time_is_lost_on_one_that_has_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty environment can be told from one that does not exist yet."""
    monkeypatch.setattr(tree, "EXEC_BOUND_S", WAIT_S)
    child = subprocess.Popen(["sleep", "100"], env={})
    try:
        assert tree.environment(child.pid) == b""
        assert not tree._shows_too_little(child.pid)
    finally:
        child.kill()
        child.wait()
