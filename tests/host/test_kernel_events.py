"""A kqueue does what its manual page says: on Linux the tests' emulation, on macOS the real one."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

if sys.platform not in ("linux", "darwin"):
    pytest.skip("no kqueue, and no emulation", allow_module_level=True)


from sidecar.host.darwin import kernel_events
from tests.support.waiting import WAIT_S

EV_ONESHOT = 0x0010
EV_ERROR = 0x4000
EV_EOF = 0x8000
NOTE_TRACK = 0x0000_0001
PTRACE_SEIZE = 0x4206

Queue = tuple[Any, Callable[[int, int, int, int], Any], Callable[[], Any]]
"""A queue, its type of event, and a way to make more queues."""


@pytest.fixture
def queue() -> Iterator[Queue]:
    with ExitStack() as stack:
        if sys.platform == "darwin":
            real = select.kqueue()
            stack.callback(real.close)
            yield real, select.kevent, select.kqueue
        else:
            from tests.host.bsd import Kernel, Kevent, skip_without_forks

            skip_without_forks()
            kernel = Kernel()
            stack.callback(kernel.close)
            yield stack.enter_context(kernel.kqueue()), Kevent, kernel.kqueue


AFTERWARDS = """
import os, sys
told, answers = map(int, sys.argv[1:])
os.write(answers, b".")
os.read(told, 1)
"""
"""The program that ``Puppet`` execs: it ends at the next byte."""


class Puppet:
    """A child that obeys bytes: ``f`` forks a process that ends at once, ``e`` execs, ``x`` exits."""

    def __init__(self) -> None:
        told, self._tell = os.pipe()
        self._answer, answers = os.pipe()
        self.reaped = False
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._tell)
            while (word := os.read(told, 1)) in {b"f", b"e"}:
                if word == b"e":
                    for fd in (told, answers):
                        os.set_inheritable(fd, True)
                    words = ["-I", "-S", "-c", AFTERWARDS, str(told), str(answers)]
                    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  there is no shell to want
                if (child := os.fork()) == 0:
                    os._exit(0)
                os.waitpid(child, 0)
                os.write(answers, b".")
            os._exit(7)
        os.close(told)
        os.close(answers)

    def fork(self) -> None:
        os.write(self._tell, b"f")
        assert os.read(self._answer, 1)

    def exec(self) -> None:
        os.write(self._tell, b"e")
        assert os.read(self._answer, 1)

    def end(self, *, reap: bool = True) -> None:
        """Let it exit. On return it may not be a zombie yet: its pipe closes in the middle of its exit."""
        os.write(self._tell, b"x")
        assert os.read(self._answer, 1) == b""
        if reap:
            os.waitpid(self.pid, 0)
            self.reaped = True

    def close(self) -> None:
        if not self.reaped:
            os.kill(self.pid, signal.SIGKILL)  # not reaped, so the pid is not reused
            os.waitpid(self.pid, 0)
        os.close(self._tell)
        os.close(self._answer)


class Tracer:
    """A debugger of a process that is not its parent."""

    def __init__(self, pid: int) -> None:
        """Attach; skip the test if the system forbids it (Yama)."""
        self._told, tells = os.pipe()
        asks, self._ask = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._trace(pid, tells, asks)
            finally:
                os._exit(1)
        os.close(tells)
        os.close(asks)
        if os.read(self._told, 1) != b"t":
            self.close()
            pytest.skip("a process may not trace its sibling here")

    def _trace(self, pid: int, tells: int, asks: int) -> None:
        os.close(self._ask)
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        if ptrace(PTRACE_SEIZE, pid, None, None) != 0:
            return
        os.write(tells, b"t")
        if sys.platform == "linux":  # for mypy
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.write(tells, b"d")
        os.read(asks, 1)
        os.waitpid(pid, 0)
        os.read(asks, 1)

    def await_death(self) -> None:
        """Wait until the process is dead and the tracer has noticed."""
        assert os.read(self._told, 1) == b"d"

    def collect(self) -> None:
        """Reap it as its tracer."""
        os.write(self._ask, b".")

    def close(self) -> None:
        os.close(self._ask)
        os.waitpid(self._pid, 0)
        os.close(self._told)


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    it = Puppet()
    yield it
    it.close()


def wait(queue: Queue) -> list[Any]:
    """Wait for events; return them."""
    told: list[Any] = queue[0].control(None, 8, WAIT_S)
    return told


def silent(queue: Queue) -> bool:
    return not queue[0].control(None, 8, 0)


def watch(queue: Queue, pid: int, notes: int, flags: int = kernel_events.EV_ADD) -> None:
    queue[0].control([queue[1](pid, kernel_events.EVFILT_PROC, flags, notes)], 0, 0)


def test_an_exit_is_told_once_and_ends_the_registration(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    assert silent(queue)
    puppet.end()
    [told] = wait(queue)
    assert (told.ident, told.filter, told.fflags & kernel_events.NOTE_EXIT) == (
        puppet.pid,
        kernel_events.EVFILT_PROC,
        kernel_events.NOTE_EXIT,
    )
    assert told.flags & EV_EOF
    assert silent(queue)
    with pytest.raises(FileNotFoundError):
        watch(queue, puppet.pid, kernel_events.NOTE_EXIT, kernel_events.EV_DELETE)


def test_it_waits_in_the_queue_until_somebody_asks(queue: Queue, puppet: Puppet) -> None:
    """Even after the pid has become free, and may be reused."""
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    puppet.end(reap=True)
    assert wait(queue)[0].fflags & kernel_events.NOTE_EXIT


def test_who_is_dead_and_gone_cannot_be_registered(queue: Queue, puppet: Puppet) -> None:
    puppet.end()
    with pytest.raises(ProcessLookupError):
        watch(queue, puppet.pid, kernel_events.NOTE_EXIT)


def test_a_zombie_is_refused_or_told_at_once_but_never_silent(queue: Queue, puppet: Puppet) -> None:
    """XNU refuses the registration, FreeBSD reports the exit. Code must treat both as a death."""
    puppet.end(reap=False)
    try:
        watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    except ProcessLookupError:
        assert silent(queue)
    else:
        assert wait(queue)[0].fflags & kernel_events.NOTE_EXIT


@pytest.mark.skipif(sys.platform != "linux", reason="macOS lets only some programs debug others")
def test_end_of_a_traced_process_is_told_once_its_tracer_has_reaped_it(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    tracer = Tracer(puppet.pid)
    try:
        os.kill(puppet.pid, signal.SIGKILL)
        tracer.await_death()
        assert silent(queue)
        tracer.collect()
        [event] = wait(queue)
        assert (event.ident, event.fflags) == (puppet.pid, kernel_events.NOTE_EXIT)
    finally:
        tracer.close()


def test_a_fork_is_told_of_the_parent_as_often_as_somebody_asks(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_FORK)
    for _ in range(2):
        puppet.fork()
        [told] = wait(queue)
        assert (told.ident, told.fflags) == (puppet.pid, kernel_events.NOTE_FORK)
        assert silent(queue)


def test_several_forks_and_the_exit_are_one_notice(
    queue: Queue, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "linux":  # many events of others would else come between the forks and the exit
        monkeypatch.setattr("tests.host.bsd.BATCH", sys.maxsize)
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_FORK)
    for _ in range(3):
        puppet.fork()
    puppet.end()
    [told] = wait(queue)
    assert told.fflags & kernel_events.NOTE_FORK
    assert told.fflags & kernel_events.NOTE_EXIT
    assert silent(queue)


def test_an_exec_is_told_and_keeps_the_registration(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_EXEC)
    puppet.exec()
    [told] = wait(queue)
    assert (told.ident, told.fflags) == (puppet.pid, kernel_events.NOTE_EXEC)
    assert silent(queue)
    puppet.end()
    assert wait(queue)[0].fflags & kernel_events.NOTE_EXIT


def test_what_was_before_the_registration_is_not_told(queue: Queue, puppet: Puppet) -> None:
    puppet.fork()
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_FORK)
    assert silent(queue)


def test_forks_that_nobody_asked_for_are_not_told(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    puppet.fork()
    assert silent(queue)


def test_a_second_registration_changes_the_first(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT)
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_FORK)
    puppet.fork()
    assert [it.fflags for it in wait(queue)] == [kernel_events.NOTE_FORK]
    watch(queue, puppet.pid, 0, kernel_events.EV_DELETE)
    puppet.end()
    assert silent(queue)


def test_one_shot_is_one_notice(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, kernel_events.NOTE_EXIT | kernel_events.NOTE_FORK, kernel_events.EV_ADD | EV_ONESHOT)
    puppet.fork()
    assert [it.fflags for it in wait(queue)] == [kernel_events.NOTE_FORK]
    puppet.fork()
    puppet.end()
    assert silent(queue)


def test_a_failure_is_an_event_where_there_is_room_and_else_an_error(queue: Queue, puppet: Puppet) -> None:
    control, make = queue[0].control, queue[1]
    delete = make(puppet.pid, kernel_events.EVFILT_PROC, kernel_events.EV_DELETE, 0)
    [told] = control([delete], 1, 0)
    assert told.flags & EV_ERROR
    assert told.data == errno.ENOENT
    with pytest.raises(FileNotFoundError):
        control([delete], 0, 0)


def test_children_are_not_followed_by_the_kernel(queue: Queue, puppet: Puppet) -> None:
    """NOTE_TRACK works only on FreeBSD."""
    with pytest.raises(OSError, match=r".") as caught:
        watch(queue, puppet.pid, NOTE_TRACK | kernel_events.NOTE_FORK)
    assert caught.value.errno == errno.ENOTSUP


def test_each_queue_is_told(queue: Queue, puppet: Puppet) -> None:
    with closing(queue[2]()) as other:
        for it in ((other, *queue[1:]), queue):
            watch(it, puppet.pid, kernel_events.NOTE_EXIT)
        puppet.end()
        assert wait(queue)[0].fflags & kernel_events.NOTE_EXIT
        assert other.control(None, 8, WAIT_S)[0].fflags & kernel_events.NOTE_EXIT


def test_data_and_the_end_of_a_pipe_are_told_as_long_as_they_are_there(queue: Queue) -> None:
    reader, writer = os.pipe()
    own = kernel_events.KernelEvents(queue[0], queue[1])
    own.read(reader)
    assert own.wait(0) == []
    os.write(writer, b"x")
    for _ in range(2):
        assert [(it.ident, it.filter) for it in own.wait(WAIT_S)] == [(reader, kernel_events.EVFILT_READ)]
    os.read(reader, 1)
    assert own.wait(0) == []
    os.close(writer)
    for _ in range(2):
        assert [it.ident for it in own.wait(WAIT_S)] == [reader]
    own.forget(reader)
    assert own.wait(0) == []
    os.close(reader)


def test_our_own_use_of_it_tells_a_death_and_forks(queue: Queue, puppet: Puppet) -> None:
    own = kernel_events.KernelEvents(queue[0], queue[1])
    own.watch(puppet.pid, forks=True)
    puppet.fork()
    assert [(it.ident, it.fflags) for it in own.wait(WAIT_S)] == [(puppet.pid, kernel_events.NOTE_FORK)]
    puppet.end()
    assert own.wait(WAIT_S)[0].fflags & kernel_events.NOTE_EXIT
    with pytest.raises(ProcessLookupError):
        own.watch(puppet.pid)


def test_the_numbers_are_those_of_the_system() -> None:
    if sys.platform == "darwin":
        assert (kernel_events.EVFILT_READ, kernel_events.EVFILT_PROC) == (select.KQ_FILTER_READ, select.KQ_FILTER_PROC)
        assert (kernel_events.EV_ADD, kernel_events.EV_DELETE, kernel_events.EV_CLEAR) == (
            select.KQ_EV_ADD,
            select.KQ_EV_DELETE,
            select.KQ_EV_CLEAR,
        )
        assert (kernel_events.NOTE_EXIT, kernel_events.NOTE_FORK) == (select.KQ_NOTE_EXIT, select.KQ_NOTE_FORK)
        assert kernel_events.NOTE_EXEC == select.KQ_NOTE_EXEC
    else:
        pytest.skip("this system has no kqueue of its own")
