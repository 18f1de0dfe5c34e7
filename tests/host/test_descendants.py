"""Follow and kill descendants: with real processes, and with a fake system that forks at every listing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

if sys.platform != "linux":
    pytest.skip("the process connector", allow_module_level=True)

from sidecar.host.darwin import descendants, lineage
from sidecar.host.darwin import guard as darwin_guard
from sidecar.host.darwin import kill as ending
from sidecar.host.darwin.kernel_events import NOTE_EXEC, NOTE_EXIT, KernelEvents
from sidecar.host.darwin.lineage import Listener, Process
from sidecar.host.posix import guard as posix_guard
from tests.host.bsd import Kernel, Kevent, skip_without_forks
from tests.support.liveness import await_end
from tests.support.waiting import WAIT_S, until

HELD = "import os, sys; os.write(int(sys.argv[1]), b'%d\\n' % os.getpid()); os.read(int(sys.argv[2]), 1)"
"""The program that a daemon execs: it reports its pid, and waits for EOF."""


class Daemoniser:
    """A program that makes a daemon in steps on command: first a middle process, then the daemon.

    The daemon has an empty environment, no parent of ours, and its own session.
    """

    def __init__(self, *, execs: bool = False) -> None:
        """With ``execs``, the daemon execs another program in a third step, and then reports its pid again."""
        self._execs = execs
        self._steps = [os.pipe() for _ in range(2 + execs)]
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
                if self._execs:
                    os.write(self._told[1], b"%d\n" % os.getpid())
                    os.read(self._steps[2][0], 1)
                    os.setsid()
                    for fd in (self._told[1], self._hold[0]):
                        os.set_inheritable(fd, True)
                    words = ["-I", "-S", "-c", HELD, str(self._told[1]), str(self._hold[0])]
                    os.execve(sys.executable, [sys.executable, *words], {})  # noqa: S606  there is no shell to want
                os.write(self._told[1], b"%d\n" % os.getpid())
                os.read(self._hold[0], 1)
            os._exit(0)
        os.waitpid(middle, 0)
        os.read(self._hold[0], 1)

    def step(self, number: int) -> None:
        os.write(self._steps[number][1], b".")

    def daemon(self) -> int:
        """Wait until the daemon reports its pid; return it."""
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


def test_daemon_is_followed_through_a_short_lived_middle_process(
    kernel: Kernel, daemoniser: Daemoniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full process list is not read in between: handling the fork event must be enough."""
    monkeypatch.setattr(descendants.Descendants, "look", lambda self, branches: None)
    with kernel.kqueue() as queue:
        kernel_events = KernelEvents(queue, Kevent)
        followed = descendants.Descendants(kernel, kernel_events, "nobody")
        followed.meet(daemoniser.program)
        daemoniser.step(0)
        followed.follow(kernel_events.wait(WAIT_S))
        daemoniser.step(1)
        daemon = daemoniser.daemon()
        told = kernel_events.wait(WAIT_S)
        while not any(it.fflags & NOTE_EXIT for it in told):
            followed.follow(told)
            told = kernel_events.wait(WAIT_S)
            assert told, "the middle process does not end"
        assert daemon in [it.pid for it in followed.everybody()]
    [middle] = [it.ident for it in told if it.fflags & NOTE_EXIT]
    until(lambda: kernel.read(middle) is None, "its reaping")
    with kernel.kqueue() as queue:
        late = descendants.Descendants(kernel, KernelEvents(queue, Kevent), "nobody")
        assert daemon not in [it.pid for it in late.everybody()], "only its descent identifies it"
    ours = {daemoniser.program, daemon}
    assert ending.end_all(kernel, lambda: [it for it in followed.everybody() if it.pid in ours]) == []
    for pidfd in daemoniser.pidfds:
        await_end(pidfd)


@pytest.mark.parametrize("keeps_versions", [True, False], ids=["macOS 15.4", "macOS 13"])
def test_orphan_that_execs_unseen_is_found_by_its_forkers_version(*, keeps_versions: bool) -> None:
    """Its forker's number is then launchd's. Before macOS 15.4 nothing identifies it, as the README says."""
    skip_without_forks()
    system = Kernel(keeps_versions=keeps_versions)
    program = Daemoniser(execs=True)
    try:
        with system.kqueue() as queue:
            followed = descendants.Descendants(system, KernelEvents(queue, Kevent), "nobody")
            followed.meet(program.program)
            program.step(0)
            while len(followed.everybody()) < 2:
                pass  # the middle process appears in a moment
            program.step(1)
            daemon = program.daemon()
            until(lambda: system.is_orphan(daemon), "its parent's end")
            program.step(2)
            assert program.daemon() == daemon
            seen = system.read(daemon)
            assert seen is not None
            launchd = system.read(1)
            assert launchd is not None
            assert seen.forker == launchd.birth
            assert (daemon in [it.pid for it in followed.everybody()]) == keeps_versions
    finally:
        program.close()
        system.close()


def test_a_zombie_that_is_met_tells_whose_its_orphan_is(kernel: Kernel) -> None:
    """The daemon's middle process dies before we read it, and is reaped before the next listing."""
    go, goes = os.pipe()
    told, tells = os.pipe()
    hold, holds = os.pipe()
    program = os.fork()
    if program == 0:
        os.close(holds)
        if (middle := os.fork()) == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                os.write(tells, b"%d\n" % os.getpid())
                os.read(hold, 1)
            os._exit(0)
        os.waitid(os.P_PID, middle, os.WEXITED | os.WNOWAIT)
        os.write(tells, b"dead\n")
        os.read(go, 1)
        os.waitpid(middle, 0)
        os.write(tells, b"gone\n")
        os.read(hold, 1)
        os._exit(0)
    os.close(tells)
    os.close(hold)
    try:
        with kernel.kqueue() as queue, os.fdopen(told) as lines:
            followed = descendants.Descendants(kernel, KernelEvents(queue, Kevent), "nobody")
            said = {lines.readline(), lines.readline()}
            [daemon] = [int(line) for line in said - {"dead\n"}]
            followed.meet(program)
            os.write(goes, b".")
            assert lines.readline() == "gone\n"
            assert daemon in [it.pid for it in followed.everybody()]
    finally:
        os.close(holds)
        os.close(goes)
        os.waitpid(program, 0)
        os.close(go)


def test_an_exec_is_noted_at_once(kernel: Kernel) -> None:
    """The new program's children are identified by its version, even if it is dead at the next listing."""
    looked = []

    class Told(lineage.Lineage):
        def note(self, process: Process) -> None:
            looked.append(process.pid)
            super().note(process)

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)
        os.execv("/bin/sleep", ["sleep", "100"])  # noqa: S606  there is no shell to want
    try:
        with kernel.kqueue() as queue:
            kernel_events = KernelEvents(queue, Kevent)
            followed = descendants.Descendants(kernel, kernel_events, "nobody")
            met = followed.meet(child)
            assert met is not None
            branch = Told(met, since=0, outside=0)
            os.write(writer, b".")
            told = kernel_events.wait(WAIT_S)
            assert [it.fflags for it in told] == [NOTE_EXEC]
            followed.follow(told, [(branch, None)])
            assert looked == [child]
            assert followed.patience() is None, "an exec must not cause a full listing"
    finally:
        os.kill(child, signal.SIGKILL)  # not reaped, so the pid is its own
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


class Hostile:
    """A system whose processes fork after every listing, as long as they are neither stopped nor dead."""

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

    def listeners(self) -> list[Listener] | None:
        return None

    def variable(self, pid: int, name: str) -> str | None:
        return None

    def kill(self, pid: int, number: int) -> None:
        if pid in self.immortal:
            raise PermissionError
        self.done.append((pid, number))
        if number == signal.SIGSTOP:
            self.stopped.add(pid)
        else:
            assert {it.pid for it in self.table.values() if it.ppid == pid} <= self.seen, (
                "it had children that no listing has shown"
            )
            del self.table[pid]


def test_each_process_is_stopped_and_listed_again_before_the_kill() -> None:
    system = Hostile()
    assert ending.end_all(system, system.look) == []
    assert not system.table
    for pid in {it for it, _ in system.done}:
        assert [number for it, number in system.done if it == pid] == [signal.SIGSTOP, signal.SIGKILL]


def test_a_process_that_cannot_be_killed_is_named_after_the_bound() -> None:
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
    """Let getppid return these in turn, then the last one for ever."""
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


@pytest.mark.parametrize("refusal", [ProcessLookupError, PermissionError])
def test_a_bootloader_that_dies_while_it_is_woken_is_no_error(
    monkeypatch: pytest.MonkeyPatch, refusal: type[OSError]
) -> None:
    """Its pid may be free by then, or belong to another user."""
    above(monkeypatch, 20)
    kill = Mock(side_effect=refusal)
    monkeypatch.setattr(os, "kill", kill)
    posix_guard.wake_parent(20)
    kill.assert_called_once_with(20, signal.SIGCONT)


def test_launchd_is_not_woken_in_the_place_of_a_dead_bootloader(monkeypatch: pytest.MonkeyPatch) -> None:
    above(monkeypatch, 1)
    monkeypatch.setattr(os, "kill", Mock(side_effect=AssertionError("a process was signalled")))
    posix_guard.wake_parent(20)


def test_one_whose_pid_is_anothers_when_it_is_registered_is_dead(kernel: Kernel, daemoniser: Daemoniser) -> None:
    now = kernel.read(daemoniser.program)
    assert now is not None
    before = Process(now.pid, now.birth - 1, forker=now.forker, ppid=now.ppid, sid=now.sid)
    with kernel.kqueue() as queue:
        darwin_guard.watch(kernel, KernelEvents(queue, Kevent), now)
        with pytest.raises(ProcessLookupError):
            darwin_guard.watch(kernel, KernelEvents(queue, Kevent), before)
