"""Run the contract suite on the fake host and on Linux's and macOS's, each in a helper process.

macOS's host runs natively on a Mac, and on Linux on top of tests/host/bsd.py.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("tests/windows tests Windows' host", allow_module_level=True)

import psutil

from sidecar.core.events import Launch
from sidecar.host.base import Child, Ended, Host
from sidecar.protocol.messages import Holder
from tests.host.contract import Contract
from tests.host.served import RealHost
from tests.support.fakes import PROGRAM, FakeHost
from tests.support.waiting import WAIT_S, until

SCRIPT = Path(__file__).resolve().parents[1] / "children" / "program.py"


class PosixSubject:
    """See ``Subject``."""

    def __init__(self, host: FakeHost | RealHost) -> None:
        self.host: Host = host
        self._kind = host
        self.given = 0 if isinstance(host, RealHost) else 2  # a real host's helper has passed them to us
        self._open: list[int] = []
        self._sockets: list[socket.socket] = []

    def needs(self, what: str) -> None:
        """All is there."""

    def spawn(self, *words: str, service: str = "web") -> Child:
        """Start the program with these words."""
        real = (sys.executable, "-I", "-S", str(SCRIPT))
        argv = (*real, *words) if isinstance(self._kind, RealHost) else (PROGRAM, *words)
        child = self.host.spawn(service, Launch(argv, "/", {"GIVEN": "1"}))
        self._open += [child.stdout, child.stderr]
        return child

    def line(self, fd: int) -> str:
        """Return the next line of output."""
        data = b""
        while not data.endswith(b"\n"):
            more = self._read(fd, 1)
            assert more, f"EOF after {data!r}"
            data += more
        return data.decode().rstrip("\n")

    def rest(self, fd: int) -> str:
        """Return all output up to EOF, which comes when the whole tree is dead: each process holds the pipe."""
        data = b""
        while more := self._read(fd, 4096):
            data += more
        return data.decode()

    def _read(self, fd: int, size: int) -> bytes:
        assert select.select([fd], [], [], WAIT_S)[0], "neither output nor EOF came"
        return os.read(fd, size)

    def is_silent(self, fd: int) -> bool:
        """Return whether there is neither output nor EOF."""
        return not select.select([fd], [], [], 0)[0]

    def await_death(self, child: Child) -> None:
        """Wait until the program itself (not all of its tree) is dead, reaped or not."""
        if isinstance(self._kind, RealHost):
            until(lambda: _is_dead(child.pid), "its death")

    def ended(self) -> list[Ended]:
        """Wait until ``reap`` returns something; return that."""
        while not (ended := self.host.reap()):
            if isinstance(self._kind, RealHost):
                self._kind.await_child_signal()
        return ended

    def stranger(self, address: str, port: int = 0) -> int:
        """Listen in the test's own process; return the port."""
        if isinstance(self._kind, FakeHost):
            port = port or 4000
            self._kind.foreign[address, port] = Holder(77, "somebody else", "fake", ours=False)
            return port
        listener = socket.create_server((address, port))
        self._sockets.append(listener)
        return int(listener.getsockname()[1])

    def descriptors(self) -> int:
        """Return how many descriptors the host's process has."""
        kind = self._kind
        return kind.descriptors() if isinstance(kind, RealHost) else len(os.listdir("/dev/fd"))

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
        for listener in self._sockets:
            listener.close()


def _is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True  # it was reaped


@pytest.fixture(params=["linux", "darwin", "fake"] if sys.platform == "linux" else ["darwin", "fake"])
def subject(request: pytest.FixtureRequest) -> Iterator[PosixSubject]:
    if request.param == "fake":
        fake = FakeHost()
        it = PosixSubject(fake)
        yield it
        fake.kill_all()
        it.close()
    else:
        if request.param == "darwin" and sys.platform == "linux":
            from tests.host.bsd import skip_without_forks

            skip_without_forks()
        with RealHost(request.param) as host:
            it = PosixSubject(host)
            yield it
            it.close()


class TestHost(Contract):
    """Each of them."""
