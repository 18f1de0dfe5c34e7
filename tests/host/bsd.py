"""macOS's kernel as ``sidecar.host.darwin.host`` sees it, made of Linux's: real processes, real deaths, real forks.

``Kernel`` is a ``System``: who forked whom comes from the kernel's process events (a netlink connector, which a plain
user may hear since Linux 6.6), everything else from /proc. ``Kqueue`` is a ``select.kqueue`` with EVFILT_PROC and
EVFILT_READ, by the manual page. tests/host/test_kqueue.py holds it to that, and on macOS the real one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import pytest

if sys.platform != "linux":
    raise ImportError("pidfds and the process connector")

from sidecar.host.darwin import kin, notices
from sidecar.host.linux import tree

EV_ONESHOT = 0x0010
EV_ERROR = 0x4000
EV_EOF = 0x8000
NOTE_TRACK = 0x0000_0001

_CONNECTOR = 11
"""NETLINK_CONNECTOR"""
_CN_IDX_PROC = 1
_LISTEN = 1
"""PROC_CN_MCAST_LISTEN"""
_EVENT = struct.Struct("=IIQIIII")
"""proc_event: what, cpu, nanoseconds; of a fork: the parent's pid and tgid, the child's."""
_EVENT_AT = 16 + 20
"""Behind nlmsghdr and cn_msg."""
_FORK = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_SO_RCVBUFFORCE = 33
"""socket(7)"""
_ROOM = 1 << 23
"""Of the socket's buffer: a storm's forks while the test is not scheduled."""


def skip_without_forks() -> None:
    """Skip the test where the kernel does not tell us who forks."""
    try:
        Kernel().close()
    except OSError as error:
        pytest.skip(f"the kernel's process events are not for this user: {error.strerror}")


class Kevent:
    """``select.kevent``."""

    def __init__(self, ident: int, filter: int, flags: int = notices.EV_ADD, fflags: int = 0, data: int = 0) -> None:  # noqa: A002  its name there
        self.ident = ident
        self.filter = filter
        self.flags = flags
        self.fflags = fflags
        self.data = data


class Kernel:
    """Births and forks. Of one process: it is not inherited."""

    def __init__(self) -> None:
        """Raises ``OSError`` where we may not hear of forks."""
        self._lock = threading.RLock()
        self._queues: list[Kqueue] = []
        self._births: dict[int, int] = {}
        """By pid, of those whose fork we heard."""
        self._forkers: dict[int, int] = {}
        """By birth."""
        self.events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
        try:
            self._subscribe()
        except OSError:
            self.events.close()
            raise

    def _subscribe(self) -> None:
        try:
            self.events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        except PermissionError:
            pass  # a plain user's buffer is small: what gets lost is made up for by the parent's pid
        self.events.bind((0, _CN_IDX_PROC))
        wish = struct.pack("=IIIIHHI", _CN_IDX_PROC, 1, 0, 0, 4, 0, _LISTEN)
        self.events.send(struct.pack("=IHHII", 16 + len(wish), 3, 0, 0, 0) + wish)
        assert select.select([self.events], [], [], 10)[0], "the kernel does not answer"
        self.events.setblocking(False)

    def close(self) -> None:
        self.events.close()

    def kqueue(self) -> Kqueue:
        with self._lock:
            self._queues.append(Kqueue(self, self._lock))
            return self._queues[-1]

    def hear(self) -> None:
        """Take in what has happened."""
        with self._lock:
            while True:
                try:
                    data = self.events.recv(4096)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno == errno.ENOBUFS:
                        continue  # some were lost; ``_seen`` makes up for them
                    raise
                what, _, nanoseconds, _, parent, pid, tgid = _EVENT.unpack_from(
                    data.ljust(_EVENT_AT + _EVENT.size, b"\0"), _EVENT_AT
                )
                if what == _FORK and pid == tgid:  # else it is a thread
                    child = tree.read_process(pid)
                    self._births[pid] = (
                        _birth(pid, nanoseconds * _TICKS // 10**9) if child is None else _birth_of(child)
                    )
                    self._forkers[self._births[pid]] = self._number(parent)
                    for queue in self._queues:
                        queue.forked(parent)

    def _number(self, pid: int) -> int:
        process = None if pid in self._births else tree.read_process(pid)
        return self._births.get(pid, 0) if process is None else _birth_of(process)

    # ── System ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def processes(self) -> dict[int, kin.Process]:
        with self._lock:
            found = tree.all_processes()
            self.hear()
            return {pid: self._seen(it) for pid, it in found.items()}

    def read(self, pid: int) -> kin.Process | None:
        with self._lock:
            found = tree.read_process(pid)
            self.hear()
            return None if found is None else self._seen(found)

    def children(self, pid: int) -> list[int]:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            return [int(it) for task in tasks for it in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            return []  # ENOENT, ESRCH: it went, or a kernel without CONFIG_PROC_CHILDREN: then a look finds them

    def variable(self, pid: int, name: str) -> str | None:
        return tree.variable(pid, name)

    def kill(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def _seen(self, it: Any) -> kin.Process:
        birth = _birth_of(it)
        # one whose fork we did not hear (it was before us, or lost in a storm) still has its parent, mostly
        forker = self._forkers.setdefault(birth, self._number(it.ppid))
        return kin.Process(it.pid, birth, forker=forker, ppid=it.ppid, sid=it.sid, dead=it.dead, stopped=it.stopped)


class ClosedKernel(Kernel):
    """One that takes our programs for another user's: it lets us see them, and no more."""

    def kill(self, pid: int, number: int) -> None:
        if number == 0:
            raise PermissionError
        super().kill(pid, number)


def _birth_of(process: Any) -> int:
    return _birth(process.pid, process.start)


def _birth(pid: int, ticks: int) -> int:
    """The same for every ``Kernel``, and in the order of the births (but in the tick in which the pids wrap round)."""
    return ticks << 22 | pid  # pids have 22 bits at most


class _Knote:
    """A registration. ``fd`` is a pidfd, or the descriptor itself."""

    def __init__(self, fd: int, flags: int, wanted: int) -> None:
        self.fd = fd
        self.flags = flags
        self.wanted = wanted
        self.happened = 0


class Kqueue:
    """``select.kqueue``."""

    def __init__(self, kernel: Kernel, lock: AbstractContextManager[bool]) -> None:
        self._kernel = kernel
        self._lock = lock
        self._knotes: dict[tuple[int, int], _Knote] = {}
        self._poke_read, self._poke = os.pipe()
        os.set_blocking(self._poke_read, False)
        os.set_blocking(self._poke, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            for ident, what in list(self._knotes):
                self._drop(ident, what)
        os.close(self._poke_read)
        os.close(self._poke)

    def without_own(self, count: Callable[[], int]) -> int:
        """Count this process's descriptors, but for those that are only ours, and would not be there on macOS."""
        with self._lock:
            return count() - sum(what == notices.EVFILT_PROC for _, what in self._knotes)

    def control(self, changes: Iterable[Kevent] | None, most: int, timeout: float | None = None, /) -> list[Kevent]:
        given: list[Kevent] = []
        with self._lock:
            for change in changes or ():
                try:
                    self._change(change)
                except OSError as error:
                    if len(given) >= most:
                        raise
                    given.append(Kevent(change.ident, change.filter, EV_ERROR, 0, error.errno or 0))
        if given or most == 0:
            return given
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._kernel.hear()
                given = self._take(most)
                awaited = [it.fd for it in self._knotes.values()]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if given or left == 0:
                return given
            poll = select.poll()
            for fd in (self._poke_read, self._kernel.events.fileno(), *awaited):
                poll.register(fd, select.POLLIN)
            poll.poll(None if left is None else left * 1000)
            try:
                os.read(self._poke_read, 512)
            except BlockingIOError:
                pass  # it was something else

    def forked(self, pid: int) -> None:
        """The kernel tells: to be called with the lock held."""
        knote = self._knotes.get((pid, notices.EVFILT_PROC))
        if knote is not None and knote.wanted & notices.NOTE_FORK:
            knote.happened |= notices.NOTE_FORK
            self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._poke, b".")
        except BlockingIOError:
            pass  # it is awake already

    def _change(self, change: Kevent) -> None:
        key = (change.ident, change.filter)
        if change.flags & notices.EV_DELETE:
            if key not in self._knotes:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._drop(*key)
            return
        assert change.flags & notices.EV_ADD
        if key in self._knotes:  # a second registration changes the first
            self._knotes[key].wanted = change.fflags
            self._knotes[key].flags = change.flags
            return
        if change.filter == notices.EVFILT_READ:
            self._knotes[key] = _Knote(change.ident, change.flags, 0)
            return
        if change.fflags & NOTE_TRACK:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        pidfd = os.pidfd_open(change.ident)
        if select.select([pidfd], [], [], 0)[0]:
            os.close(pidfd)  # a zombie
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._kernel.hear()  # what was before is not told
        self._knotes[key] = _Knote(pidfd, change.flags | notices.EV_CLEAR, change.fflags)
        self._wake()  # another thread may wait, and does not know of the pidfd

    def _drop(self, ident: int, what: int) -> None:
        knote = self._knotes.pop((ident, what))
        if what == notices.EVFILT_PROC:
            os.close(knote.fd)

    def _take(self, most: int) -> list[Kevent]:
        given: list[Kevent] = []
        ended = {fd for fd, _ in _ready(it.fd for it in self._knotes.values())}
        for (ident, what), knote in list(self._knotes.items()):
            if len(given) == most:
                break
            flags = 0
            if what == notices.EVFILT_READ:
                if knote.fd not in ended:
                    continue
            elif knote.fd in ended:
                knote.happened |= notices.NOTE_EXIT
            told = knote.happened & (knote.wanted | notices.NOTE_EXIT)
            if what == notices.EVFILT_PROC and not told:
                continue
            knote.happened = 0
            if what == notices.EVFILT_PROC and told & notices.NOTE_EXIT:
                flags |= EV_EOF | EV_ONESHOT
            if (flags | knote.flags) & EV_ONESHOT:
                self._drop(ident, what)
            if what == notices.EVFILT_READ or told & knote.wanted:
                given.append(Kevent(ident, what, knote.flags | flags, told))
        return given


def _ready(fds: Iterable[int]) -> list[tuple[int, int]]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll.poll(0)
