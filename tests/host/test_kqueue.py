"""A kqueue keeps to its manual page: the tests' own one, which stands for macOS's here, and on macOS the real one."""

from __future__ import annotations

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
    pytest.skip("no kqueue, and nothing to make one of", allow_module_level=True)


from sidecar.host.darwin import notices

WAIT_S = 30.0
EV_ONESHOT = 0x0010
EV_ERROR = 0x4000
EV_EOF = 0x8000
NOTE_TRACK = 0x0000_0001

Queue = tuple[Any, Callable[[int, int, int, int], Any], Callable[[], Any]]
"""A queue, and what makes events, and other queues."""


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


class Puppet:
    """A child that does what it is told: ``f`` forks one that ends at once, ``x`` ends it."""

    def __init__(self) -> None:
        told, self._tell = os.pipe()
        self._answer, answers = os.pipe()
        self.reaped = False
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._tell)
            while os.read(told, 1) == b"f":
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

    def end(self, *, reap: bool = True) -> None:
        """It is gone then, or a zombie in a moment: the end of its pipe comes from the middle of its exit."""
        os.write(self._tell, b"x")
        assert os.read(self._answer, 1) == b""
        if reap:
            os.waitpid(self.pid, 0)
            self.reaped = True

    def close(self) -> None:
        if not self.reaped:
            os.kill(self.pid, signal.SIGKILL)  # not reaped, so the pid is its own
            os.waitpid(self.pid, 0)
        os.close(self._tell)
        os.close(self._answer)


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    it = Puppet()
    yield it
    it.close()


def wait(queue: Queue) -> list[Any]:
    """What it tells, once it tells something."""
    told: list[Any] = queue[0].control(None, 8, WAIT_S)
    return told


def silent(queue: Queue) -> bool:
    return not queue[0].control(None, 8, 0)


def watch(queue: Queue, pid: int, notes: int, flags: int = notices.EV_ADD) -> None:
    queue[0].control([queue[1](pid, notices.EVFILT_PROC, flags, notes)], 0, 0)


def test_an_exit_is_told_once_and_ends_the_registration(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT)
    assert silent(queue)
    puppet.end()
    [told] = wait(queue)
    assert (told.ident, told.filter, told.fflags & notices.NOTE_EXIT) == (
        puppet.pid,
        notices.EVFILT_PROC,
        notices.NOTE_EXIT,
    )
    assert told.flags & EV_EOF
    assert silent(queue)
    with pytest.raises(FileNotFoundError):
        watch(queue, puppet.pid, notices.NOTE_EXIT, notices.EV_DELETE)


def test_it_waits_in_the_queue_until_somebody_asks(queue: Queue, puppet: Puppet) -> None:
    """Also when the pid is free, and may be somebody else's."""
    watch(queue, puppet.pid, notices.NOTE_EXIT)
    puppet.end(reap=True)
    assert wait(queue)[0].fflags & notices.NOTE_EXIT


def test_who_is_dead_and_gone_cannot_be_registered(queue: Queue, puppet: Puppet) -> None:
    puppet.end()
    with pytest.raises(ProcessLookupError):
        watch(queue, puppet.pid, notices.NOTE_EXIT)


def test_a_zombie_is_refused_or_told_at_once_but_never_silent(queue: Queue, puppet: Puppet) -> None:
    """MacOS refuses it, FreeBSD tells. Code that takes both for a death is right on either."""
    puppet.end(reap=False)
    try:
        watch(queue, puppet.pid, notices.NOTE_EXIT)
    except ProcessLookupError:
        assert silent(queue)
    else:
        assert wait(queue)[0].fflags & notices.NOTE_EXIT


def test_a_fork_is_told_of_the_parent_as_often_as_somebody_asks(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT | notices.NOTE_FORK)
    for _ in range(2):
        puppet.fork()
        [told] = wait(queue)
        assert (told.ident, told.fflags) == (puppet.pid, notices.NOTE_FORK)
        assert silent(queue)


def test_several_forks_and_the_exit_are_one_notice(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT | notices.NOTE_FORK)
    for _ in range(3):
        puppet.fork()
    puppet.end()
    [told] = wait(queue)
    assert told.fflags & notices.NOTE_FORK
    assert told.fflags & notices.NOTE_EXIT
    assert silent(queue)


def test_what_was_before_the_registration_is_not_told(queue: Queue, puppet: Puppet) -> None:
    puppet.fork()
    watch(queue, puppet.pid, notices.NOTE_EXIT | notices.NOTE_FORK)
    assert silent(queue)


def test_forks_that_nobody_asked_for_are_not_told(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT)
    puppet.fork()
    assert silent(queue)


def test_a_second_registration_changes_the_first(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT)
    watch(queue, puppet.pid, notices.NOTE_EXIT | notices.NOTE_FORK)
    puppet.fork()
    assert [it.fflags for it in wait(queue)] == [notices.NOTE_FORK]
    watch(queue, puppet.pid, 0, notices.EV_DELETE)
    puppet.end()
    assert silent(queue)


def test_one_shot_is_one_notice(queue: Queue, puppet: Puppet) -> None:
    watch(queue, puppet.pid, notices.NOTE_EXIT | notices.NOTE_FORK, notices.EV_ADD | EV_ONESHOT)
    puppet.fork()
    assert [it.fflags for it in wait(queue)] == [notices.NOTE_FORK]
    puppet.fork()
    puppet.end()
    assert silent(queue)


def test_a_failure_is_an_event_where_there_is_room_and_else_an_error(queue: Queue, puppet: Puppet) -> None:
    control, make = queue[0].control, queue[1]
    delete = make(puppet.pid, notices.EVFILT_PROC, notices.EV_DELETE, 0)
    [told] = control([delete], 1, 0)
    assert told.flags & EV_ERROR
    assert told.data == errno.ENOENT
    with pytest.raises(FileNotFoundError):
        control([delete], 0, 0)


def test_children_are_not_followed_by_the_kernel(queue: Queue, puppet: Puppet) -> None:
    """NOTE_TRACK is FreeBSD's."""
    with pytest.raises(OSError, match=r".") as caught:
        watch(queue, puppet.pid, NOTE_TRACK | notices.NOTE_FORK)
    assert caught.value.errno == errno.ENOTSUP


def test_each_queue_is_told(queue: Queue, puppet: Puppet) -> None:
    with closing(queue[2]()) as other:
        for it in ((other, *queue[1:]), queue):
            watch(it, puppet.pid, notices.NOTE_EXIT)
        puppet.end()
        assert wait(queue)[0].fflags & notices.NOTE_EXIT
        assert other.control(None, 8, WAIT_S)[0].fflags & notices.NOTE_EXIT


def test_data_and_the_end_of_a_pipe_are_told_as_long_as_they_are_there(queue: Queue) -> None:
    reader, writer = os.pipe()
    own = notices.Notices(queue[0], queue[1])
    own.read(reader)
    assert own.wait(0) == []
    os.write(writer, b"x")
    for _ in range(2):
        assert [(it.ident, it.filter) for it in own.wait(WAIT_S)] == [(reader, notices.EVFILT_READ)]
    os.read(reader, 1)
    assert own.wait(0) == []
    os.close(writer)
    for _ in range(2):
        assert [it.ident for it in own.wait(WAIT_S)] == [reader]
    own.forget(reader)
    assert own.wait(0) == []
    os.close(reader)


def test_our_own_use_of_it_tells_a_death_and_forks(queue: Queue, puppet: Puppet) -> None:
    own = notices.Notices(queue[0], queue[1])
    own.watch(puppet.pid, forks=True)
    puppet.fork()
    assert [(it.ident, it.fflags) for it in own.wait(WAIT_S)] == [(puppet.pid, notices.NOTE_FORK)]
    puppet.end()
    assert own.wait(WAIT_S)[0].fflags & notices.NOTE_EXIT
    with pytest.raises(ProcessLookupError):
        own.watch(puppet.pid)


def test_the_numbers_are_those_of_the_system() -> None:
    if sys.platform == "darwin":
        assert (notices.EVFILT_READ, notices.EVFILT_PROC) == (select.KQ_FILTER_READ, select.KQ_FILTER_PROC)
        assert (notices.EV_ADD, notices.EV_DELETE, notices.EV_CLEAR) == (
            select.KQ_EV_ADD,
            select.KQ_EV_DELETE,
            select.KQ_EV_CLEAR,
        )
        assert (notices.NOTE_EXIT, notices.NOTE_FORK) == (select.KQ_NOTE_EXIT, select.KQ_NOTE_FORK)
    else:
        pytest.skip("this system has no kqueue of its own")
