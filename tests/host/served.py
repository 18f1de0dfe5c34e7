"""Run a real host in a helper process: Linux's host makes its process a subreaper, and reaps all its children.

macOS's host runs natively on a Mac, and on Linux on top of tests/host/bsd.py.

``RealHost`` is the test's side. Descriptors come over one socket, everything else as pickles over another.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

if sys.platform == "win32":
    raise ImportError("descriptors are sent over a socket")

from sidecar.core.events import Launch, Owner
from sidecar.errors import ProcessSpawnFailedError
from sidecar.host.base import Child, Claim, Ended, Host
from sidecar.host.darwin import host as darwin
from sidecar.host.darwin import kernel_events, lsof
from sidecar.protocol.messages import Guarantees, Holder
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).resolve().parents[2]

LSOF = "darwin without the kernel's socket table"
CLOSED = "darwin without a socket table, programs of another user"
NO_LSOF = "darwin without a socket table and lsof"


class RealHost:
    """A ``Host`` that forwards each method to the helper process."""

    def __init__(self, kind: str = "linux", prefix: Sequence[str] = ()) -> None:
        """``kind`` is ``linux``, ``darwin``, or one of the above. ``prefix`` precedes the command line."""
        ours, theirs = socket.socketpair()
        self._fds, their_fds = socket.socketpair()
        self._helper = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.host.served", kind, str(theirs.fileno()), str(their_fds.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno(), their_fds.fileno()],
        )
        theirs.close()
        their_fds.close()
        self._connection: Connection[Any, Any] = Connection(ours.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kill_all()
        finally:
            self._helper.kill()
            self._helper.wait()
            self._connection.close()
            self._fds.close()

    def _call(self, method: str, *arguments: object) -> Any:
        self._connection.send((method, arguments))
        assert self._connection.poll(WAIT_S), f"the host does not come back from {method}"
        good, value = self._connection.recv()
        if good:
            return value
        raise ProcessSpawnFailedError(value)

    def guarantees(self) -> Guarantees:
        found: Guarantees = self._call("guarantees")
        return found

    def spawn(self, service: str, launch: Launch) -> Child:
        pid: int = self._call("spawn", service, launch)
        _, fds, _, _ = socket.recv_fds(self._fds, 1, 2)
        return Child(pid, *fds)

    def terminate(self, service: str, signal: str) -> None:
        self._call("terminate", service, signal)

    def kill(self, service: str) -> None:
        self._call("kill", service)

    def reap(self) -> list[Ended]:
        ended: list[Ended] = self._call("reap")
        return ended

    def kill_all(self) -> None:
        self._call("kill_all")

    def owns(self, service: str, address: str, port: int) -> Owner:
        owner: Owner = self._call("owns", service, address, port)
        return owner

    def owner_of(self, address: str, port: int) -> Claim:
        found: Claim = self._call("owner_of", address, port)
        return found

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        found: tuple[tuple[str, int], ...] | None = self._call("listening", service)
        return found

    def holder(self, port: int) -> Holder | None:
        found: Holder | None = self._call("holder", port)
        return found

    def memory(self, service: str) -> int | None:
        found: int | None = self._call("memory", service)
        return found

    # ── for tests only ───────────────────────────────────────────────────────────────────────────────────────────────

    def await_child_signal(self) -> None:
        """Block until a child has died since the last call."""
        self._call("await_child_signal")

    def descriptors(self) -> int:
        """Return how many descriptors the helper has."""
        found: int = self._call("descriptors")
        return found


def serve(kind: str, connection: Connection[Any, Any], fds: socket.socket) -> None:
    """Run the helper's loop."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    host, count = _make(kind)

    def perform(method: str, arguments: tuple[Any, ...]) -> object:
        match method:
            case "await_child_signal":
                assert select.select([wake_read], [], [], WAIT_S)[0], "no child has died"
                os.read(wake_read, 512)
                return None
            case "descriptors":
                return count()
            case "spawn":
                child = host.spawn(*arguments)
                socket.send_fds(fds, [b"."], [child.stdout, child.stderr])
                os.close(child.stdout)
                os.close(child.stderr)
                return child.pid
            case _:
                return getattr(host, method)(*arguments)

    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = True, perform(method, arguments)
        except ProcessSpawnFailedError as error:
            answer = False, error.message
        connection.send(answer)


def _make(kind: str) -> tuple[Host, Callable[[], int]]:
    """Return the host, and a function that counts the descriptors of its process."""
    run_id = os.urandom(16).hex()  # unique: other tests may run on this machine
    if sys.platform == "darwin":
        from sidecar.host.darwin.kernel_events import make_kernel_events
        from sidecar.host.darwin.libproc import Libproc

        own = make_kernel_events()
        real = darwin.DarwinHost(run_id, guarded=False, parent_watched=False, system=Libproc(), kernel_events=own)
        return real, _descriptors
    assert sys.platform == "linux"  # for mypy
    if kind == "linux":
        from sidecar.host.linux import host as linux

        return linux.LinuxHost(run_id, guarded=False, parent_watched=False, contained=False), _descriptors
    from tests.host.bsd import ClosedKernel, Kernel, Kevent

    kernel = (ClosedKernel if kind == CLOSED else Kernel)(tells_listeners=kind == "darwin")
    if kind == NO_LSOF:
        lsof.PROGRAMS = ()
    queue = kernel.kqueue()
    host = darwin.DarwinHost(
        run_id,
        guarded=False,
        parent_watched=False,
        system=kernel,
        kernel_events=kernel_events.KernelEvents(queue, Kevent),
    )

    def count() -> int:
        with host._lock:  # its thread opens files for a moment while it lists processes
            return queue.without_own(_descriptors)

    return host, count


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))


if __name__ == "__main__":
    serve(sys.argv[1], Connection(int(sys.argv[2])), socket.socket(fileno=int(sys.argv[3])))
