"""Know from the kernel which processes live: each process of a tree has its own connection, which its death closes."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time
from types import TracebackType
from typing import Self

from tests.bench.processes import ONLY_LINUX, BenchError

BACKLOG = 4096
"""More than the processes of any tree, so that none waits to be accepted."""


def unix_socket() -> socket.socket:
    """A new one."""
    if sys.platform == "win32":
        raise BenchError(ONLY_LINUX)
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def peer_pid(connection: socket.socket) -> int:
    """Return the pid of the process that made ``connection``, from the kernel."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


class RollCall:
    """Counts connected processes, and records the times of their deaths and of deaths of processes watched by pidfd.

    A process connects before it closes the connection that it inherited. So if no connection is left and none waits to
    be accepted, the whole tree is dead.
    """

    def __init__(self) -> None:
        """Listen on a new abstract unix socket."""
        self.name = f"sidecar-bench-{os.urandom(8).hex()}"
        self.first: socket.socket | None = None
        """The connection of the tree's root."""
        self.seen = 0
        """How many processes have connected so far."""
        self.tree_death = 0.0
        """Time of the last death in the tree (``time.perf_counter``, seconds)."""
        self.watched_death = 0.0
        """The same for the processes watched by pidfd."""
        self._live: set[socket.socket] = set()
        self._watched: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = unix_socket()
        self._listener.bind("\0" + self.name)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        """Return the roll call."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections, which ends the processes that are left."""
        for connection in self._live:
            connection.close()
        for pidfd in self._watched:
            os.close(pidfd)
        self._listener.close()
        self._selector.close()

    @property
    def live(self) -> int:
        """The number of living processes of the tree."""
        return len(self._live)

    def pids(self) -> set[int]:
        """The pids of the tree's living processes."""
        return {peer_pid(connection) for connection in self._live}

    @property
    def watched(self) -> int:
        """The number of living processes among those watched by pidfd."""
        return len(self._watched)

    def watch(self, pidfd: int) -> None:
        """Also record the death of the process behind ``pidfd``. The roll call closes the pidfd."""
        self._watched.add(pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ)

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for events, and handle all of them."""
        events = self._selector.select(timeout)
        now = time.perf_counter()
        for key, _ in events:
            source = key.fileobj
            if source is self._listener:
                self._accept()
            elif isinstance(source, socket.socket):
                self._hear(source, now)
            elif isinstance(source, int):
                self._selector.unregister(source)
                os.close(source)
                self._watched.discard(source)
                self.watched_death = now
        if not self._live:
            self._accept()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:  # no connection waits
                return
            connection.setblocking(False)
            self._live.add(connection)
            self.first = self.first or connection
            self.seen += 1
            self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: socket.socket, now: float) -> None:
        try:
            if connection.recv(1):
                raise BenchError("a process of the tree sent bytes, which it never should")
        except ConnectionResetError:  # it died before it had read our last word
            pass
        self._selector.unregister(connection)
        connection.close()
        self._live.discard(connection)
        self.tree_death = now
