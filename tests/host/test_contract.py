"""What every host must do: Linux's and macOS's, each in a process of its own, and the fake.

macOS's runs on a Mac as it is there, and on Linux on Linux's processes (tests/host/bsd.py).
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
    pytest.skip("its host is tried in tests/windows", allow_module_level=True)

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
        self.given = 0 if isinstance(host, RealHost) else 2  # the real one's helper has passed them to us
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
        """The next line of output."""
        data = b""
        while not data.endswith(b"\n"):
            more = self._read(fd, 1)
            assert more, f"the output has ended with {data!r}"
            data += more
        return data.decode().rstrip("\n")

    def rest(self, fd: int) -> str:
        """All output to its end, which comes when the last of the tree is dead: each has the pipe."""
        data = b""
        while more := self._read(fd, 4096):
            data += more
        return data.decode()

    def _read(self, fd: int, size: int) -> bytes:
        assert select.select([fd], [], [], WAIT_S)[0], "there is neither output nor its end"
        return os.read(fd, size)

    def is_silent(self, fd: int) -> bool:
        """Whether there is neither output nor its end."""
        return not select.select([fd], [], [], 0)[0]

    def await_death(self, child: Child) -> None:
        """Until the program itself (not all of its tree) is dead, whether that was collected or not."""
        if isinstance(self._kind, RealHost):
            until(lambda: _is_dead(child.pid), "its death")

    def ended(self) -> list[Ended]:
        """What ``reap`` gives once it gives something."""
        while not (ended := self.host.reap()):
            if isinstance(self._kind, RealHost):
                self._kind.await_child_signal()
        return ended

    def stranger(self, address: str, port: int = 0) -> int:
        """Somebody else listens; its port."""
        if isinstance(self._kind, FakeHost):
            port = port or 4000
            self._kind.foreign[address, port] = Holder(77, "somebody else", "fake", ours=False)
            return port
        listener = socket.create_server((address, port))
        self._sockets.append(listener)
        return int(listener.getsockname()[1])

    def descriptors(self) -> int:
        """How many descriptors the host's process has."""
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
        return True  # it was collected


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
