"""Emulate the part of macOS's kernel that ``sidecar.host.darwin.host`` uses, on Linux's real processes.

``Kernel`` is a ``System``. It learns forks from Linux's process events (a netlink connector, open to plain users since
Linux 6.6), and everything else from /proc. ``Kqueue`` is a ``select.kqueue`` with EVFILT_PROC and EVFILT_READ, by the
manual page. tests/host/test_kernel_events.py checks it, and on macOS the real one.

The rules that it follows, with their places in xnu-11417.101.15 (macOS 15.4) below bsd/kern:

=====================================================================================================================
what happens                                                                          where
=====================================================================================================================
A fork gives the child a unique number that is never reused, and a version.           kern_fork.c:986 and 988
The child records the forker's version at that moment.                                kern_fork.c:991
The child records the forker's number.                                                kern_proc.c:2525
An exec keeps pid, number, and the forker's version.                                  kern_fork.c:1001 to 1007
It replaces the forker's number by that of the current parent (macOS 13).             kern_proc.c:2510 and 2525
It gives a new version.                                                               kern_exec.c:7151
The children of a dead process become launchd's.                                      kern_exit.c:2425 and 2454
Every user can read a process. A zombie's numbers are readable by its pid.            proc_info.c:2143 and 2172
All processes and all children are listed, including zombies.                         proc_info.c:418 and 471
kqueue takes no zombie: ESRCH. NOTE_TRACK is ENOTSUP.                                 kern_event.c:1104 and 1109
Events are edge-triggered, and only for what comes after the registration.            kern_event.c:1138 and 1149
NOTE_EXIT removes the registration.                                                   kern_event.c:1221
A traced process's exit is reported to its tracer, to others once that reaps it.      kern_event.c:1202
A fork is reported to watchers of the forker.                                         kern_fork.c:611
An exec is reported, and keeps the registration.                                      kern_exec.c:5573, kern_proc.c:4352
A group of zombies alone cannot be signalled: EPERM for killpg.                       kern_sig.c:1708 and 1712
=====================================================================================================================

The forker's version exists since 15.4, so ``Kernel(keeps_versions=False)`` emulates macOS 13 to 15.3.
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
    raise ImportError("pidfds and the process connector are Linux's")

from sidecar.host.darwin import kernel_events, lineage
from sidecar.host.linux import processes as tree
from sidecar.host.linux import sockets

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
"""proc_event: what, cpu, nanoseconds. A fork adds pid and tgid of parent and child, other events of the process."""
_EVENT_AT = 16 + 20
"""Offset of the event: it follows nlmsghdr and cn_msg."""
_FORK = 1
_EXEC = 2
_EXIT = 0x8000_0000
_LAUNCHD = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_SO_RCVBUFFORCE = 33
"""socket(7)"""
BATCH = 1000
"""Most kernel events to handle before the next check for exits."""
TICK_S = 0.01
"""Poll interval for what Linux reports by no event."""
_ROOM = 1 << 23
"""Size of the socket's buffer: enough for a fork storm while the test is not scheduled."""


def skip_without_forks() -> None:
    """Skip the test if the kernel does not report forks to us."""
    try:
        Kernel().close()
    except OSError as error:
        pytest.skip(f"this user may not receive the kernel's process events: {error.strerror}")


class Kevent:
    """``select.kevent``."""

    def __init__(
        self,
        ident: int,
        filter: int,  # noqa: A002  the parameter's name in select.kevent
        flags: int = kernel_events.EV_ADD,
        fflags: int = 0,
        data: int = 0,
    ) -> None:
        self.ident = ident
        self.filter = filter
        self.flags = flags
        self.fflags = fflags
        self.data = data


class Kernel:
    """Tracks forks and births. Each process needs its own: a forked child must not read its parent's."""

    def __init__(self, *, tells_listeners: bool = True, keeps_versions: bool = True) -> None:
        """``tells_listeners``: has a table of sockets. Raises ``OSError`` if the kernel does not report forks to us."""
        self._tells_listeners = tells_listeners
        self._keeps_versions = keeps_versions
        self._lock = threading.RLock()
        self._queues: list[Kqueue] = []
        self._births: dict[int, int] = {}
        """Birth by pid, for each fork event."""
        self._forkers: dict[int, int] = {}
        """The forker's birth, by the child's birth."""
        self._parents: dict[int, int] = {}
        """The parent's pid, by the child's pid, for each fork event."""
        self._children: dict[int, list[int]] = {}
        """The children's pids, by the parent's pid. Some may have another parent by now."""
        self._versions: dict[int, int] = {}
        """Version by birth."""
        self._forker_versions: dict[int, int] = {}
        """The forker's version at the fork, by the child's birth."""
        self._last_version = 0
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
            pass  # a plain user's buffer is small; ``_seen`` makes up for lost events by the parent's pid
        self.events.bind((0, _CN_IDX_PROC))
        wish = struct.pack("=IIIIHHI", _CN_IDX_PROC, 1, 0, 0, 4, 0, _LISTEN)
        self.events.send(struct.pack("=IHHII", 16 + len(wish), 3, 0, 0, 0) + wish)
        assert select.select([self.events], [], [], 30)[0], "the kernel does not answer"
        self.events.setblocking(False)

    def close(self) -> None:
        self.events.close()

    def kqueue(self) -> Kqueue:
        with self._lock:
            self._queues.append(Kqueue(self, self._lock))
            return self._queues[-1]

    def hear(self, most: int = sys.maxsize) -> None:
        """Handle at most this many pending events. The kernel reports all processes of the machine."""
        with self._lock:
            for _ in range(most):
                try:
                    data = self.events.recv(4096)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno == errno.ENOBUFS:
                        continue  # some were lost; ``_seen`` makes up for them
                    raise
                what, _, nanoseconds, *pids = _EVENT.unpack_from(data.ljust(_EVENT_AT + _EVENT.size, b"\0"), _EVENT_AT)
                if what == _FORK and pids[2] == pids[3]:  # else it is a thread
                    self._fork(pids[1], pids[2], nanoseconds)
                elif what == _EXEC:
                    self._exec(pids[1])
                elif what == _EXIT and pids[0] == pids[1]:
                    self._exit(pids[0])

    def _fork(self, parent: int, pid: int, nanoseconds: int) -> None:
        child = tree.read_process(pid)
        birth = _birth(pid, nanoseconds * _TICKS // 10**9) if child is None else _birth_of(child)
        self._births[pid] = birth
        self._parents[pid] = parent
        self._children.setdefault(parent, []).append(pid)
        self._forkers[birth] = self._number(parent)
        self._forker_versions[birth] = self._version(self._forkers[birth])
        for queue in self._queues:
            queue.tell(parent, kernel_events.NOTE_FORK)

    def _exec(self, pid: int) -> None:
        birth = self._number(pid)
        self._versions.pop(birth, None)
        if pid in self._parents:  # else its fork event was lost, and ``_seen`` uses its current parent
            self._forkers[birth] = self._number(self._parents[pid])
        for queue in self._queues:
            queue.tell(pid, kernel_events.NOTE_EXEC)

    def _exit(self, pid: int) -> None:
        for child in self._children.pop(pid, ()):
            if self._parents[child] == pid:
                self._parents[child] = _LAUNCHD

    def is_orphan(self, pid: int) -> bool:
        """Return whether its parent's end has been told. That comes a moment after the process has another parent."""
        self.hear()
        return self._parents.get(pid) == _LAUNCHD

    def _version(self, birth: int) -> int:
        """Return its current version. Versions count up as the kernel's do, from a start that no pid reaches."""
        if birth not in self._versions:
            self._last_version += 1
            self._versions[birth] = self._last_version + (1 << 30)
        return self._versions[birth]

    def _number(self, pid: int) -> int:
        process = None if pid in self._births else tree.read_process(pid)
        return self._births.get(pid, 0) if process is None else _birth_of(process)

    # ── System ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def processes(self) -> dict[int, lineage.Process]:
        with self._lock:
            found = tree.all_processes()
            self.hear()
            return {pid: self._seen(it) for pid, it in found.items()}

    def read(self, pid: int) -> lineage.Process | None:
        with self._lock:
            found = tree.read_process(pid)
            self.hear()
            return None if found is None else self._seen(found)

    def children(self, pid: int) -> list[int]:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            return [int(it) for task in tasks for it in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            return []  # ENOENT, ESRCH: it ended, or no CONFIG_PROC_CHILDREN: then the full listing finds them

    def listeners(self) -> list[lineage.Listener] | None:
        """Return all listeners. Of several holders name the one with the lowest pid: Linux has no last listener."""
        if not self._tells_listeners:
            return None
        holders: dict[str, int] = {}
        for pid in sorted(tree.all_processes(), reverse=True):
            holders |= dict.fromkeys(sockets.sockets_of(pid), pid)
        return [
            (address, port, holders.get(inode, 0), uid) for address, port, inode, uid in sockets.all_listeners() or ()
        ]

    def variable(self, pid: int, name: str) -> str | None:
        return tree.variable(pid, name)

    def kill(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def _seen(self, it: Any) -> lineage.Process:
        birth = _birth_of(it)
        # a process whose fork event we lack (it is older, or the event was lost) mostly still has its parent
        forker = self._forkers.setdefault(birth, self._number(it.ppid))
        before = self._forker_versions.setdefault(birth, self._version(forker))
        return lineage.Process(
            it.pid,
            birth,
            forker=forker,
            ppid=it.ppid,
            sid=it.sid,
            dead=it.dead,
            stopped=it.stopped,
            version=self._version(birth),
            forker_version=before if self._keeps_versions else 0,
        )


class ClosedKernel(Kernel):
    """A kernel that treats the programs as another user's: visible, but without the right to signal them."""

    def kill(self, pid: int, number: int) -> None:
        if number == 0:
            raise PermissionError
        super().kill(pid, number)


def _birth_of(process: Any) -> int:
    return _birth(process.pid, process.start)


def _birth(pid: int, ticks: int) -> int:
    """Return the birth: the same in every ``Kernel``, and in order of time, except in a tick when pids wrap round."""
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
        """Count this process's descriptors without our pidfds, which would not exist on macOS."""
        with self._lock:
            return count() - sum(what == kernel_events.EVFILT_PROC for _, what in self._knotes)

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
                self._kernel.hear(BATCH)  # bounded, so that a fork storm does not delay the exits
                given = self._take(most)
                withheld = self._withheld()
                awaited = [it.fd for it in self._knotes.values() if it.fd not in withheld]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if given or left == 0:
                return given
            if withheld:  # Linux has no event for the tracer's wait, so poll
                left = TICK_S if left is None else min(left, TICK_S)
            poll = select.poll()
            for fd in (self._poke_read, self._kernel.events.fileno(), *awaited):
                poll.register(fd, select.POLLIN)
            poll.poll(None if left is None else left * 1000)
            try:
                os.read(self._poke_read, 512)
            except BlockingIOError:
                pass  # another descriptor woke us

    def tell(self, pid: int, what: int) -> None:
        """Record a fork or an exec. The caller holds the lock."""
        knote = self._knotes.get((pid, kernel_events.EVFILT_PROC))
        if knote is not None and knote.wanted & what:
            knote.happened |= what
            self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._poke, b".")
        except BlockingIOError:
            pass  # it is awake already

    def _change(self, change: Kevent) -> None:
        key = (change.ident, change.filter)
        if change.flags & kernel_events.EV_DELETE:
            if key not in self._knotes:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._drop(*key)
            return
        assert change.flags & kernel_events.EV_ADD
        if key in self._knotes:  # a second registration changes the first
            self._knotes[key].wanted = change.fflags
            self._knotes[key].flags = change.flags
            return
        if change.filter == kernel_events.EVFILT_READ:
            self._knotes[key] = _Knote(change.ident, change.flags, 0)
            return
        if change.fflags & NOTE_TRACK:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        pidfd = os.pidfd_open(change.ident)
        if select.select([pidfd], [], [], 0)[0]:
            os.close(pidfd)  # a zombie
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._kernel.hear()  # earlier events do not count
        self._knotes[key] = _Knote(pidfd, change.flags | kernel_events.EV_CLEAR, change.fflags)
        self._wake()  # another thread may be waiting without this pidfd

    def _drop(self, ident: int, what: int) -> None:
        knote = self._knotes.pop((ident, what))
        if what == kernel_events.EVFILT_PROC:
            os.close(knote.fd)

    def _ready(self) -> set[int]:
        """Return the descriptors that can be read, a pidfd after its process's end."""
        poll = select.poll()
        for it in self._knotes.values():
            poll.register(it.fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(0)}

    def _withheld(self) -> set[int]:
        """Return the pidfds of those dead processes whose end the kernel does not report yet."""
        ended = self._ready()
        return {
            it.fd
            for (pid, what), it in self._knotes.items()
            if what == kernel_events.EVFILT_PROC and it.fd in ended and _is_withheld(pid)
        }

    def _take(self, most: int) -> list[Kevent]:
        given: list[Kevent] = []
        ended = self._ready()
        for (ident, what), knote in list(self._knotes.items()):
            if len(given) == most:
                break
            flags = 0
            if what == kernel_events.EVFILT_READ:
                if knote.fd not in ended:
                    continue
            elif knote.fd in ended and not _is_withheld(ident):
                knote.happened |= kernel_events.NOTE_EXIT
            told = knote.happened & (knote.wanted | kernel_events.NOTE_EXIT)
            if what == kernel_events.EVFILT_PROC and not told:
                continue
            knote.happened = 0
            if what == kernel_events.EVFILT_PROC and told & kernel_events.NOTE_EXIT:
                flags |= EV_EOF | EV_ONESHOT
            if (flags | knote.flags) & EV_ONESHOT:
                self._drop(ident, what)
            if what == kernel_events.EVFILT_READ or told & knote.wanted:
                given.append(Kevent(ident, what, knote.flags | flags, told))
        return given


def _is_withheld(pid: int) -> bool:
    """Return whether the process is dead, and a debugger other than us has not reaped it yet."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return False  # ENOENT, ESRCH: it was reaped
    return fields["State"].strip().startswith("Z") and int(fields["TracerPid"]) not in {0, os.getpid()}
