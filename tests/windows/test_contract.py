"""Run the contract suite on Windows' host."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

import psutil

from sidecar.core.events import Launch
from sidecar.host.base import Child, Ended, Host
from sidecar.host.windows import host as windows
from tests.host.contract import Contract
from tests.windows.support import OWNERS_UNNAMED, WAIT_S

ABSENT = {
    "signals": "Windows has no signals",
    "asking others": "Windows can ask only the program's own process group to end",
    **({"owners": "this Wine's socket table names no owners"} if OWNERS_UNNAMED else {}),
}
SCRIPT = Path(__file__).resolve().parent / "children" / "program.py"


class Stream:
    """A pipe's output. A thread reads it, as Windows cannot poll pipes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._data = b""
        self._over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._fd, 4096):
            self._chunks.put(data)
        os.close(self._fd)
        self._chunks.put(b"")

    def line(self) -> str:
        while b"\n" not in self._data:
            more = self._chunks.get(timeout=WAIT_S)
            assert more, f"EOF after {self._data!r}"
            self._data += more
        line, self._data = self._data.split(b"\n", 1)
        return line.decode()

    def rest(self) -> str:
        while not self._over:
            more = self._chunks.get(timeout=WAIT_S)
            self._over = not more
            self._data += more
        return self._data.decode()

    @property
    def silent(self) -> bool:
        return not self._data and self._chunks.empty()


class WindowsSubject:
    """See ``Subject``."""

    def __init__(self) -> None:
        self._deaths: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.host: Host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: self._deaths.put(None))
        self.given = 0  # its threads close them
        self._streams: dict[int, Stream] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._sockets: list[socket.socket] = []

    def needs(self, what: str) -> None:
        if what in ABSENT:
            pytest.skip(ABSENT[what])

    def spawn(self, *words: str, service: str = "web") -> Child:
        argv = (sys.executable, "-I", "-S", str(SCRIPT), *words)
        child = self.host.spawn(service, Launch(argv, "/", {"GIVEN": "1"}))
        self._streams |= {fd: Stream(fd) for fd in (child.stdout, child.stderr)}
        return child

    def line(self, fd: int) -> str:
        return self._streams[fd].line()

    def rest(self, fd: int) -> str:
        return self._streams[fd].rest()

    def is_silent(self, fd: int) -> bool:
        return self._streams[fd].silent

    def await_death(self, child: Child) -> None:
        try:
            psutil.Process(child.pid).wait(WAIT_S)
        except psutil.NoSuchProcess:
            pass  # it is dead already

    def ended(self) -> list[Ended]:
        while not (ended := self.host.reap()):
            self._deaths.get(timeout=WAIT_S)
        return ended

    def stranger(self, address: str, port: int = 0) -> int:
        listener = socket.create_server((address, port))
        self._sockets.append(listener)
        return int(listener.getsockname()[1])

    def descriptors(self) -> int:
        """Count the C library's descriptors. Streams that have ended close theirs."""
        for stream in self._streams.values():
            stream.rest()
        self._streams.clear()
        return sum(_is_open(fd) for fd in range(256))

    def close(self) -> None:
        self.host.kill_all()
        for listener in self._sockets:
            listener.close()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture
def subject() -> Iterator[WindowsSubject]:
    it = WindowsSubject()
    yield it
    it.close()


class TestWindowsHost(Contract):
    """This also runs under Wine, except for what Wine lacks."""
