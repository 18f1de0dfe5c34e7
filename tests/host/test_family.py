"""Following and ending, with real processes, and with a system that is as hostile as can be."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("the process connector", allow_module_level=True)

from sidecar.host.darwin import ending, family
from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin.kin import Process
from sidecar.host.darwin.notices import NOTE_EXIT, Notices
from tests.host.bsd import Kernel, Kevent
from tests.liveness import WAIT_S, await_end


class Daemoniser:
    """A program that leaves a daemon in two steps, each when it is told: its middle process, then the daemon.

    The daemon has no environment that says anything, no parent of ours, and a session that nobody else is in.
    """

    def __init__(self) -> None:
        self._steps = [os.pipe(), os.pipe()]
        self._hold = os.pipe()
        self._told = os.pipe()
        self.program = os.fork()
        if self.program == 0:
            try:
                self._be_program()
            finally:
                os._exit(1)
        for reader, _ in (*self._steps, self._hold):
            os.close(reader)
        os.close(self._told[1])
        self.pidfds = [os.pidfd_open(self.program)]

    def _be_program(self) -> None:
        for _, writer in (*self._steps, self._hold):
            os.close(writer)
        os.read(self._steps[0][0], 1)
        if (middle := os.fork()) == 0:
            os.setsid()
            os.read(self._steps[1][0], 1)
            if os.fork() == 0:
                os.write(self._told[1], b"%d\n" % os.getpid())
                os.read(self._hold[0], 1)
            os._exit(0)
        os.waitpid(middle, 0)
        os.read(self._hold[0], 1)

    def step(self, number: int) -> None:
        os.write(self._steps[number][1], b".")

    def daemon(self) -> int:
        """Its pid; waits for it."""
        pid = int(os.read(self._told[0], 16))
        self.pidfds.append(os.pidfd_open(pid))
        return pid

    def close(self) -> None:
        for _, writer in (*self._steps, self._hold):
            os.close(writer)
        os.close(self._told[0])
        for pidfd in self.pidfds:
            await_end(pidfd)
            os.close(pidfd)
        os.waitpid(self.program, 0)


@pytest.fixture
def daemoniser() -> Iterator[Daemoniser]:
    it = Daemoniser()
    yield it
    it.close()


def test_a_daemon_is_followed_through_a_middle_process_that_lives_for_a_moment(
    kernel: Kernel, daemoniser: Daemoniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at everybody in between: what the notice of the fork leads to is enough."""
    monkeypatch.setattr(family.Family, "look", lambda self, branches: None)
    with kernel.kqueue() as queue:
        notices = Notices(queue, Kevent)
        followed = family.Family(kernel, notices, "nobody")
        followed.meet(daemoniser.program)
        daemoniser.step(0)
        followed.follow(notices.wait(WAIT_S))
        daemoniser.step(1)
        daemon = daemoniser.daemon()
        told = notices.wait(WAIT_S)
        while not any(it.fflags & NOTE_EXIT for it in told):
            followed.follow(told)
            told = notices.wait(WAIT_S)
            assert told, "the middle process does not end"
        assert daemon in [it.pid for it in followed.everybody()]
    with kernel.kqueue() as queue:
        late = family.Family(kernel, Notices(queue, Kevent), "nobody")
        assert daemon not in [it.pid for it in late.everybody()], "nothing but its line tells whose it is"
    ours = {daemoniser.program, daemon}
    assert ending.end_all(kernel, lambda: [it for it in followed.everybody() if it.pid in ours]) == []
    for pidfd in daemoniser.pidfds:
        await_end(pidfd)


class Hostile:
    """Processes that fork whenever somebody has looked, as long as they are neither stopped nor dead."""

    def __init__(self) -> None:
        self.table = {2: Process(2, 2, forker=1, ppid=1, sid=2)}
        self.born = 0
        self.seen: set[int] = set()
        self.stopped: set[int] = set()
        self.done: list[tuple[int, int]] = []
        self.immortal: set[int] = set()

    def look(self) -> list[Process]:
        seen = list(self.table.values())
        for it in seen:
            if it.pid not in self.stopped and self.born < 40:
                self.born += 1
                pid = 2 + self.born
                self.table[pid] = Process(pid, pid, forker=it.birth, ppid=it.pid, sid=2)
        self.seen |= {it.pid for it in seen}
        return seen

    def processes(self) -> dict[int, Process]:
        return self.table

    def read(self, pid: int) -> Process | None:
        return self.table.get(pid)

    def children(self, pid: int) -> list[int]:
        return []

    def variable(self, pid: int, name: str) -> str | None:
        return None

    def kill(self, pid: int, number: int) -> None:
        if pid in self.immortal:
            raise PermissionError
        self.done.append((pid, number))
        if number == signal.SIGSTOP:
            self.stopped.add(pid)
        else:
            assert {it.pid for it in self.table.values() if it.ppid == pid} <= self.seen, "it had children unseen"
            del self.table[pid]


def test_everybody_is_stopped_and_looked_at_once_more_before_he_is_killed() -> None:
    system = Hostile()
    assert ending.end_all(system, system.look) == []
    assert not system.table
    for pid in {it for it, _ in system.done}:
        assert [number for it, number in system.done if it == pid] == [signal.SIGSTOP, signal.SIGKILL]


def test_who_may_not_be_killed_is_named_when_the_time_is_over() -> None:
    system = Hostile()
    system.immortal = {2}
    assert [it.pid for it in ending.end_all(system, lambda: [system.table[2]], 0.01)] == [2]


def test_no_signal_reaches_another_one_that_has_the_pid_now() -> None:
    system = Hostile()
    for seen in (Process(2, 1, forker=1, ppid=1, sid=2), Process(9, 9, forker=1, ppid=1, sid=2)):
        ending.send(system, seen, signal.SIGKILL)
    system.table[2].dead = True
    ending.send(system, system.table[2], signal.SIGKILL)
    assert system.done == []


def test_one_that_goes_between_the_check_and_the_signal_is_no_error(kernel: Kernel) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    seen = kernel.read(pid)
    os.waitpid(pid, 0)
    assert seen is not None
    ending.send(kernel, seen, signal.SIGKILL)


def above(monkeypatch: pytest.MonkeyPatch, *parents: int) -> None:
    """What getppid says, one after another; the last for good."""
    answers = list(parents)
    monkeypatch.setattr(os, "getppid", lambda: answers.pop(0) if len(answers) > 1 else answers[0])


def table(*processes: tuple[int, int]) -> Hostile:
    system = Hostile()
    system.table = {pid: Process(pid, pid, forker=ppid, ppid=ppid, sid=1) for pid, ppid in processes}
    return system


def test_the_app_is_our_parent_or_the_bootloaders_or_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    above(monkeypatch, 20)
    system = table((10, 1), (20, 10), (30, 1))
    for parent_pid, bootloader, app in ((None, None, 20), (None, 20, 10), (30, None, 30), (30, 20, 30)):
        watched = darwin_guard.identify(system, parent_pid, bootloader)
        assert watched.app is not None
        assert watched.app.pid == app
        assert (watched.bootloader is None) == (bootloader is None)


def test_an_app_or_a_bootloader_that_is_dead_or_dies_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    system = table((10, 1), (20, 10))
    for parents, parent_pid, bootloader in (
        ((30,), None, None),
        ((20,), 30, None),
        ((20, 1), None, None),
        ((1,), None, 20),
    ):
        above(monkeypatch, *parents)
        with pytest.raises(ProcessLookupError):
            darwin_guard.identify(system, parent_pid, bootloader)


def test_one_whose_pid_is_anothers_when_it_is_registered_is_dead(kernel: Kernel, daemoniser: Daemoniser) -> None:
    now = kernel.read(daemoniser.program)
    assert now is not None
    before = Process(now.pid, now.birth - 1, forker=now.forker, ppid=now.ppid, sid=now.sid)
    with kernel.kqueue() as queue:
        darwin_guard.watch(kernel, Notices(queue, Kevent), now)
        with pytest.raises(ProcessLookupError):
            darwin_guard.watch(kernel, Notices(queue, Kevent), before)
