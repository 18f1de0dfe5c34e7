"""Learn from the kernel which processes of the trees live: each holds a connection, and its death closes that."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import IO, Self

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.commands.doctor.prove.platform import CannotTryError
from sidecar.host import frozen
from sidecar.host.linux import cgroup
from sidecar.host.linux.processes import read_process

BACKLOG = 256
"""More than the processes of all trees, so that none waits to be accepted."""

_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED gives: pid, uid, gid (unix(7))."""

PIPE_BYTES = 65_536
"""The capacity of a pipe."""

EMPTY_S = 5.0
"""Time for a killed group to be empty: its processes are dying and only have to be reaped."""

_GLANCE_S = 0.01
"""Seconds between two checks whether a process is stopped. The kernel sends us no event for that."""


class Member:
    """A process that has connected."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        """Hold the process by a pidfd, so that a new process with its pid cannot be mistaken for it."""
        self.connection = connection
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.kind, self.role = "", ""
        self._heard = b""

    def hear(self, data: bytes) -> None:
        """Take bytes. The first line names the kind of the tree and the process's role in it."""
        self._heard += data
        if self._heard.endswith(b"\n"):
            self.kind, self.role = self._heard.decode().split()

    def stopped(self) -> bool:
        """Tell whether the process is stopped, or gone. If it is gone, its connection closes, too."""
        process = read_process(self.pid)
        return process is None or process.stopped

    def close(self) -> None:
        """Release the process."""
        self.connection.close()
        os.close(self.pidfd)


class LinuxLiveness:
    """See ``platform.Liveness``. It listens on an abstract socket, which leaves no file, and holds pidfds."""

    def __init__(self) -> None:
        """Listen."""
        self.name = f"sidecar-doctor-{os.urandom(16).hex()}"
        self.last_death = 0.0
        self._members: set[Member] = set()
        self._pipes: list[IO[bytes]] = []
        self._group: str | None = None
        """The control group of a stand-in app, if its sidecar must not make one."""
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{self.name}")
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """See ``platform.Liveness``."""
        self._accept()
        self.kill([member.pidfd for member in self._members])
        for member in self._members:
            member.close()
        for pipe in self._pipes:
            pipe.close()
        self._listener.close()
        self._selector.close()
        if self._group is not None:
            cgroup.kill(self._group)
            cgroup.wait_empty(self._group, EMPTY_S)
            cgroup.remove(self._group)  # if this fails, the next start does it: the group has our kind of name

    def launch(self, command: list[str], env: Mapping[str, str], *, grouped: bool) -> subprocess.Popen[bytes]:
        """See ``platform.Liveness``. Unless ``grouped``, start the app in a control group that allows none below it."""
        if not grouped and self._group is None:
            self._group = cgroup.make_indivisible(os.getpid())
        group = None if grouped else self._group

        def before_exec() -> None:
            try:
                if group is not None:
                    cgroup.enter(group)
            except OSError:
                pass  # EACCES: we may not write our group's cgroup.procs; then a sidecar cannot enter a group either

        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                command,
                cwd=frozen.HOME,
                env=env,
                stdin=pipe,
                stdout=pipe,
                start_new_session=True,
                bufsize=0,
                preexec_fn=before_exec,  # noqa: PLW1509  doctor has no other thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotTryError(f"the stand-in app cannot be started: {error}") from None  # EAGAIN, ENOMEM

    def living(self) -> list[Member]:
        """See ``platform.Liveness``."""
        return [member for member in self._members if member.role]

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """See ``platform.Liveness``."""
        deadline = time.monotonic() + bound_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(left):
                key.data()
        return True

    def wait_stopped(self, bound_s: float) -> bool:
        """See ``platform.Liveness``."""
        todo = [member for member in self.living() if member.kind == "stopped"]
        deadline = time.monotonic() + bound_s
        while not all(member.stopped() for member in todo):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_GLANCE_S)
        return True

    def read(self, pipe: IO[bytes], heard: Callable[[bytes], None]) -> None:
        """See ``platform.Liveness``."""

        def hear() -> None:
            data = os.read(pipe.fileno(), PIPE_BYTES)
            if not data:
                self._selector.unregister(pipe)
            heard(data)

        self._pipes.append(pipe)
        self._selector.register(pipe, selectors.EVENT_READ, hear)

    def hold(self, pid: int, ended: Callable[[float], None]) -> int:
        """See ``platform.Liveness``."""
        pidfd = os.pidfd_open(pid)

        def end() -> None:
            self._selector.unregister(pidfd)
            ended(time.monotonic())

        self._selector.register(pidfd, selectors.EVENT_READ, end)
        return pidfd

    def kill(self, held: Sequence[int]) -> float:
        """See ``platform.Liveness``.

        If there are several, stop them before the kill. Otherwise one could see another's death and still act. Kill the
        lower ones first, because the guard's death wakes a stopped supervisor.
        """
        if len(held) > 1:
            _signal(held, signal.SIGSTOP)
        begin = time.monotonic()
        _signal(held, signal.SIGKILL)
        return begin

    def stop(self, held: Sequence[int]) -> None:
        """See ``platform.Liveness``. No thread of the process runs any more code."""
        _signal(held, signal.SIGSTOP)

    def let_go(self, held: int) -> None:
        """See ``platform.Liveness``."""
        if held in self._selector.get_map():
            self._selector.unregister(held)
        os.close(held)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return  # no other connection waits
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _ = _CREDENTIALS.unpack(credentials)
            try:
                member = Member(connection, pid) if uid == os.geteuid() else None
            except OSError:
                member = None  # ESRCH: it died at once
            if member is None:
                connection.close()
                continue
            connection.setblocking(False)
            self._members.add(member)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._hear, member))

    def _hear(self, member: Member) -> None:
        try:
            data = member.connection.recv(256)
        except ConnectionResetError:
            data = b""  # it died with something unread
        if data:
            member.hear(data)
            return
        self.last_death = time.monotonic()
        self._selector.unregister(member.connection)
        self._members.discard(member)
        member.close()


def _signal(pidfds: Sequence[int], number: int) -> None:
    for pidfd in pidfds:
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass  # it is dead already
