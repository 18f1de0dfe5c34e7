"""Ask the kernel which processes are alive. Never infer that from a pid, which can be reused.

A *roll call* is a unix socket to which every process of a tree connects. Each process keeps its own connection, so the
kernel closes that connection when the process dies. A process connects before it closes the descriptors that it
inherited, so the tree is dead once all connections have ended. The sidecar's own processes do not connect; the tests
watch them by pidfds.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and peer credentials are Linux's")

from sidecar.host.linux import cgroup
from tests.support.waiting import WAIT_S, until

LIFE_S = 280
"""A process of a test lives at most this long, whatever happens to the test."""

SOCKET = "ROLL_CALL"
DEADLINE = "ROLL_DEADLINE"

_BACKLOG = 4096
"""More than the processes of all trees, so that none waits to be accepted."""


class Member:
    """A process that has connected. It says which tree it belongs to, and its role there."""

    def __init__(self, connection: socket.socket) -> None:
        self.tree = "?"
        self.role = "?"
        self.connection = connection
        self.pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self.pidfd: int | None = None
        """Replaces the connection for a process that says it will close all its descriptors."""
        self.echoes = 0
        self._heard = b""

    def hear(self, data: bytes) -> None:
        """Take bytes. The first line introduces the process; everything after that echoes what we sent."""
        if self.tree != "?":
            self.echoes += len(data)
            return
        self._heard += data
        if self._heard.endswith(b"\n"):
            self.tree, self.role = self._heard.decode().split()

    def __repr__(self) -> str:
        return f"{self.tree}/{self.role} {self.pid}"


class RollCall:
    """Knows which processes of the trees live."""

    def __init__(self, life_s: float = LIFE_S) -> None:
        """Listen on an abstract socket, which leaves no file. A process that connects lives at most ``life_s``."""
        self._life_s = life_s
        # as long as sun_path allows: Node 20 pads a shorter abstract name with zeros, which names another socket
        self.name = f"sidecar-roll-{os.urandom(47).hex()}"
        self.seen = 0
        self._members: set[Member] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("\0" + self.name)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the processes that are left. An open connection proves that its pid has not been reused."""
        self.turn(0)
        for member in list(self._members):
            pidfd = member.pidfd or open_pidfd(member.pid)
            if pidfd is not None and (member.pidfd or not _ended(member.connection)):
                send(pidfd, signal.SIGKILL)
            if pidfd is not None:
                os.close(pidfd)
            member.connection.close()
        self._listener.close()
        self._selector.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment that a process needs to connect."""
        return {SOCKET: self.name, DEADLINE: str(time.monotonic() + self._life_s)}

    def living(self, tree: str | None = None) -> list[Member]:
        """Return the processes that live, as far as ``turn`` has heard."""
        return [it for it in self._members if tree is None or it.tree == tree]

    def turn(self, timeout: float) -> None:
        """Wait at most this long for an event, and handle all that have come."""
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._accept()
            else:
                self._hear(key.data)
        if not self._members:
            self._accept()  # a process may have connected before the last known connection ended

    def await_living(self, tree: str, count: int) -> list[Member]:
        """Wait until this many processes of the tree live."""
        self._await(lambda: len(self.living(tree)) >= count, f"{count} living of {tree}")
        return self.living(tree)

    def await_member(self, pid: int, what: str) -> None:
        """Wait until this process has introduced itself."""
        self._await(lambda: any(it.pid == pid and it.tree != "?" for it in self._members), what)

    def await_dead(self, tree: str | None = None, but: Iterable[Member] = ()) -> None:
        """Wait until no process of the tree (default: of any tree) lives, except these."""
        spared = set(but)
        self._await(lambda: not set(self.living(tree)) - spared, f"the death of {tree or 'all'}")

    def prove_alive(self, tree: str) -> None:
        """Check that each process of the tree runs: it echoes a byte."""
        asked = {member: member.echoes for member in self.living(tree)}
        assert asked
        self.tell(tree, b".")
        self._await(
            lambda: all(it.echoes > before for it, before in asked.items()), f"an echo from each process of {tree}"
        )
        assert set(asked) <= self._members

    def tell(self, tree: str, word: bytes, role: str | None = None) -> None:
        """Send a word to each process of the tree (that has this role)."""
        for member in self.living(tree):
            if role in (None, member.role):
                try:
                    member.connection.send(word)
                except BrokenPipeError:
                    pass  # it has died since the last turn; the next turn notices that

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"timed out waiting for {what}. Alive: {sorted(map(repr, self._members))[:20]}"
            self.turn(left)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return  # no other connection waits
            connection.setblocking(False)
            member = Member(connection)
            self.seen += 1
            self._members.add(member)
            self._selector.register(connection, selectors.EVENT_READ, member)

    def _hear(self, member: Member) -> None:
        if member.pidfd is not None:
            self._selector.unregister(member.pidfd)
            os.close(member.pidfd)
            self._members.discard(member)
            return
        try:
            data = member.connection.recv(4096)
        except ConnectionResetError:
            data = b""  # it died before it had read our last word
        member.hear(data)
        if member.role == "bare" and data:
            self._watch(member)
        elif not data:
            self._selector.unregister(member.connection)
            member.connection.close()
            self._members.discard(member)

    def _watch(self, member: Member) -> None:
        """Watch the process itself from now on, and tell it that it may close its connection."""
        pidfd = open_pidfd(member.pid)
        if pidfd is None:
            return  # it has been killed; the end of the connection, which comes next, counts
        if _ended(member.connection):
            os.close(pidfd)  # the same, and the pid may be another process's
            return
        with suppress(BrokenPipeError):  # it has been killed since
            member.connection.send(b".")
        member.pidfd = pidfd
        self._selector.unregister(member.connection)
        self._selector.register(pidfd, selectors.EVENT_READ, member)
        member.connection.close()


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False  # open, with nothing to read
    except ConnectionResetError:
        return True  # it died before it had read our last word


def open_pidfd(pid: int) -> int | None:
    """Open a pidfd; return ``None`` if there is no such process."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None  # it has died and been reaped


def send(pidfd: int, number: int) -> None:
    """Send a signal through the pidfd, which no reused pid can redirect."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass  # it is dead already


def await_end(pidfd: int, what: str = "a process") -> None:
    """Wait until the process has ended."""
    assert select.select([pidfd], [], [], WAIT_S)[0], f"timed out waiting for the end of {what}"


def lives(pidfd: int) -> bool:
    """Tell whether the process has not ended."""
    return not select.select([pidfd], [], [], 0)[0]


def state_of(pid: int) -> str:
    """Return the state letter in /proc/<pid>/stat, such as T for stopped; empty if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return chr(stat[stat.rfind(b")") + 2])


def name_of(pid: int) -> str:
    """Return the process's name (/proc/<pid>/comm); empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def marked(mark: str) -> list[int]:
    """Return the living processes with ``mark`` in their environment, except this one."""
    needle = mark.encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue  # ENOENT, ESRCH: it has ended since the listing; EACCES: it belongs to another user
            if needle in environment:
                found.append(int(name))
    return found


@contextmanager
def control_group(*, divisible: bool) -> Iterator[str | None]:
    """Make a control group for one test, and empty and remove it at the end; ``None`` if we may not make one.

    A sidecar in this group makes its own child group and cleans up only there. So tests that run at the same time leave
    each other's groups alone. If the group is not ``divisible``, the kernel refuses child groups, as in a session
    without delegation.
    """
    parent = cgroup.own_folder()
    folder = Path(f"{parent}/sidecar-tests-{os.urandom(6).hex()}")
    try:
        folder.mkdir()
        (folder / "cgroup.max.descendants").write_text("max" if divisible else "0")
    except OSError:
        yield None  # EACCES, EROFS, ENOENT: no cgroup v2, or our group is not delegated to us
        return
    try:
        yield str(folder)
    finally:
        (folder / "cgroup.kill").write_text("1")
        until(lambda: _remove_groups(folder), f"the end of the control group {folder}")


def _remove_groups(folder: Path) -> bool:
    if not folder.exists():
        return True
    for inner in folder.iterdir():
        if inner.is_dir():
            cgroup.remove(str(inner))
    return cgroup.remove(str(folder))
