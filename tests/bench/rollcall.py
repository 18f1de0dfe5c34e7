"""Who is alive, told by the kernel: each process of a tree holds a connection to us, and its death closes it."""

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
"""More than any tree here has processes, so that none ever waits for us to accept it."""


def unix_socket() -> socket.socket:
    """A new one."""
    if sys.platform == "win32":
        raise BenchError(ONLY_LINUX)
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def peer_pid(connection: socket.socket) -> int:
    """The pid of the process that made ``connection``, from the kernel."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


class RollCall:
    """Counts the processes that are connected, and stamps their deaths and those of processes held by pidfd.

    A process connects before it lets go of what it inherited from its parent. So when no connection is left and none
    waits to be accepted, nothing of the tree is alive.
    """

    def __init__(self) -> None:
        """Listen on a new abstract unix socket."""
        self.name = f"sidecar-bench-{os.urandom(8).hex()}"
        self.first: socket.socket | None = None
        """The connection of the tree's root."""
        self.seen = 0
        """How many processes have connected so far."""
        self.tree_death = 0.0
        """When the last death in the tree was noticed (``time.perf_counter``, seconds)."""
        self.watched_death = 0.0
        """The same for the processes held by pidfd."""
        self._live: set[socket.socket] = set()
        self._watched: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = unix_socket()
        self._listener.bind("\0" + self.name)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        """Nothing is opened here."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections: whoever still lives ends itself."""
        for connection in self._live:
            connection.close()
        for pidfd in self._watched:
            os.close(pidfd)
        self._listener.close()
        self._selector.close()

    @property
    def live(self) -> int:
        """How many processes of the tree are alive."""
        return len(self._live)

    def pids(self) -> set[int]:
        """The living processes of the tree."""
        return {peer_pid(connection) for connection in self._live}

    @property
    def watched(self) -> int:
        """How many of the processes held by pidfd are alive."""
        return len(self._watched)

    def watch(self, pidfd: int) -> None:
        """Also stamp the death of the process behind ``pidfd``, which is ours to close from now on."""
        self._watched.add(pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ)

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for something to happen, and take in all that did."""
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
            except BlockingIOError:  # nobody waits any more
                return
            connection.setblocking(False)
            self._live.add(connection)
            self.first = self.first or connection
            self.seen += 1
            self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: socket.socket, now: float) -> None:
        try:
            if connection.recv(1):
                raise BenchError("a process of the tree spoke: it never should")
        except ConnectionResetError:  # it died with a word of ours unread
            pass
        self._selector.unregister(connection)
        connection.close()
        self._live.discard(connection)
        self.tree_death = now
