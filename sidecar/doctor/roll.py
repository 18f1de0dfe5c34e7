"""Who of the trees lives, told by the kernel: each process holds a connection, whose end is its death."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Self

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.tree import read_process

BACKLOG = 256
"""More than all trees have processes: none waits to be accepted."""

_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED gives: pid, uid, gid (unix(7))."""

_GLANCE_S = 0.01
"""Between two looks at what has no notice: whether a process is stopped."""


class Member:
    """A process that has connected."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        """The pid is held by a pidfd as long as the connection is: it cannot become another's unseen."""
        self.connection = connection
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.kind, self.role = "", ""
        self._heard = b""

    def hear(self, data: bytes) -> None:
        """Its first line says which tree it is of, and as what."""
        self._heard += data
        if self._heard.endswith(b"\n"):
            self.kind, self.role = self._heard.decode().split()

    def stopped(self) -> bool:
        """Whether it is stopped, or gone, which its connection tells."""
        process = read_process(self.pid)
        return process is None or process.stopped

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        os.close(self.pidfd)


class Roll:
    """Listens on an abstract socket, which leaves no file."""

    def __init__(self) -> None:
        """Begin."""
        self.name = f"sidecar-doctor-{os.urandom(16).hex()}"
        self.last_death = 0.0
        """When the last member that died did, on the monotonic clock."""
        self._members: set[Member] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{self.name}")
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End who is left, by identity."""
        self._accept()
        for member in self._members:
            try:
                signal.pidfd_send_signal(member.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it is dead already
            member.close()
        self._listener.close()
        self._selector.close()

    def living(self) -> list[Member]:
        """Who has introduced itself and lives, as far as is heard."""
        return [member for member in self._members if member.role]

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """Wait until it holds; whether it does."""
        deadline = time.monotonic() + bound_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._turn(left)
        return True

    def wait_stopped(self, members: Iterable[Member], bound_s: float) -> bool:
        """Wait until all of them are stopped; whether they are."""
        todo = list(members)
        deadline = time.monotonic() + bound_s
        while not all(member.stopped() for member in todo):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_GLANCE_S)
        return True

    def watch(self, pidfd: int, ended: Callable[[], None]) -> None:
        """Tell once when this process has ended."""
        self._selector.register(pidfd, selectors.EVENT_READ, ended)

    def forget(self, pidfd: int) -> None:
        """Watch it no more."""
        if pidfd in self._selector.get_map():
            self._selector.unregister(pidfd)

    def _turn(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Member):
                self._hear(key.data)
            elif key.data is not None:
                self._selector.unregister(key.fileobj)
                key.data()
            else:
                self._accept()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return  # nobody waits any more
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
            self._selector.register(connection, selectors.EVENT_READ, member)

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
