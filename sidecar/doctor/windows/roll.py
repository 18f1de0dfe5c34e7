"""Who of the trees lives, told by the kernel: each process is held by a handle, and waited for by a thread of its own.

(One call waits for 64 handles at most, and for no pipe.)
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import IO, Self

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

import psutil

from sidecar.doctor.ground import CannotTryError
from sidecar.host import bundle
from sidecar.host.windows import tree, winapi
from sidecar.threads import start_thread

BACKLOG = 256
"""More than all trees have processes: none waits to be accepted."""

INTRODUCTION_S = 10.0
"""Who has connected introduces itself at once, if it is one of ours."""
INTRODUCTION_BYTES = 256

PIPE_BYTES = 65_536
"""So much is read at once."""

GLANCE_S = 0.2
"""Ctrl-C is not heard while we wait; so often we look up."""

EMPTY_S = 10.0
"""For a job that was ended to be empty."""

PROCESS_TERMINATE = 0x0001
HELD = winapi.SYNCHRONIZE | winapi.PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_TERMINATE

CREATE_SUSPENDED = 0x4


class Member:
    """See ``ground.Member``."""

    def __init__(self, kind: str, role: str, pid: int, connection: socket.socket) -> None:
        """Its connection keeps it alive."""
        self.kind = kind
        self.role = role
        self.pid = pid
        self.connection = connection
        self.handle = 0


class WindowsRoll:
    """See ``ground.Roll``.

    It listens on loopback, for whoever knows a secret word. The stand-in app and all below it are in a job of the
    roll's, out of which they may break: it holds nobody for whom the sidecar's own has to be there. It is what ends
    the rest, also when doctor is killed.
    """

    def __init__(self) -> None:
        """Listen. Raises ``CannotTryError``."""
        self.last_death = 0.0
        self._word = os.urandom(16).hex()
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        """By threads: what is to be done by ours."""
        self._members: list[Member] = []
        self._handles: set[int] = set()
        try:
            self._job = winapi.create_job()
            winapi.let_out(self._job)
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        except OSError as error:
            raise CannotTryError(f"a job, or a port on 127.0.0.1, cannot be had: {error.strerror}") from None
        self.name = f"{self._listener.getsockname()[1]}:{self._word}"
        start_thread("roll", self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """See ``ground.Roll``."""
        self.kill([member.handle for member in self._members])  # who has broken away is in no job of ours
        winapi.terminate_job(self._job, tree.KILLED)
        deadline = time.monotonic() + EMPTY_S
        while winapi.count_in_job(self._job) and time.monotonic() < deadline:
            time.sleep(tree.RESCAN_S)
        _winapi.CloseHandle(self._job)
        for member in self._members:
            member.connection.close()
        self._listener.close()
        for handle in list(self._handles):
            self.let_go(handle)

    def launch(self, command: list[str], env: Mapping[str, str], *, grouped: bool) -> subprocess.Popen[bytes]:
        """See ``ground.Roll``: there are no control groups here.

        Created suspended, as else it could have started others before it is in the job.
        """
        del grouped
        pipe, flags = subprocess.PIPE, CREATE_SUSPENDED | subprocess.CREATE_NO_WINDOW
        app = subprocess.Popen(
            command, cwd=bundle.HOME, env=env, stdin=pipe, stdout=pipe, bufsize=0, creationflags=flags
        )
        try:
            winapi.assign(self._job, int(app._handle))  # type: ignore[attr-defined]  # noqa: SLF001  it has no other name
            psutil.Process(app.pid).resume()  # its handle is held by Popen, so that the pid is its own
        except (OSError, psutil.Error) as error:
            app.kill()
            raise CannotTryError(f"the stand-in app cannot be put into a job: {error}") from None
        return app

    def living(self) -> list[Member]:
        """See ``ground.Roll``."""
        return self._members

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """See ``ground.Roll``."""
        deadline = time.monotonic() + bound_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                self._told.get(timeout=min(left, GLANCE_S))()
            except queue.Empty:
                pass  # nothing was told
        return True

    def wait_stopped(self, bound_s: float) -> bool:
        """See ``ground.Roll``: nothing stops here."""
        del bound_s
        return True

    def read(self, pipe: IO[bytes], heard: Callable[[bytes], None]) -> None:
        """See ``ground.Roll``."""

        def read() -> None:
            with pipe:
                while data := os.read(pipe.fileno(), PIPE_BYTES):
                    self._told.put(partial(heard, data))
            self._told.put(partial(heard, b""))

        start_thread("pipe", read)

    def hold(self, pid: int, ended: Callable[[float], None]) -> int:
        """See ``ground.Roll``."""
        handle = self._open(pid)
        self._watch(handle, ended)
        return handle

    def kill(self, held: Sequence[int]) -> float:
        """See ``ground.Roll``. One call after the other: none of them has the time to see another's death."""
        begin = time.monotonic()
        for handle in held:
            tree.terminate(handle)
        return begin

    def stop(self, held: Sequence[int]) -> None:
        """See ``ground.Roll``: nothing is stopped here."""
        del held

    def let_go(self, held: int) -> None:
        """See ``ground.Roll``."""
        self._handles.remove(held)
        _winapi.CloseHandle(held)

    def _open(self, pid: int) -> int:
        try:
            handle = _winapi.OpenProcess(HELD, False, pid)
        except OSError:
            raise ProcessLookupError from None  # ERROR_INVALID_PARAMETER: there is no such process
        self._handles.add(handle)
        return handle

    def _watch(self, handle: int, ended: Callable[[float], None]) -> None:
        """By a handle that is the waiting thread's: the other may be let go of meanwhile."""
        own = _winapi.GetCurrentProcess()
        waited = _winapi.DuplicateHandle(own, handle, own, 0, False, _winapi.DUPLICATE_SAME_ACCESS)

        def wait() -> None:
            _winapi.WaitForSingleObject(waited, winapi.INFINITE)
            at = time.monotonic()
            _winapi.CloseHandle(waited)
            self._told.put(partial(ended, at))

        start_thread(f"end of {handle}", wait)

    def _accept(self) -> None:
        """A thread's body."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # it is closed: the trial is over
            start_thread("introduction", partial(self._hear, connection))

    def _hear(self, connection: socket.socket) -> None:
        """A thread's body: whoever has connected says who it is."""
        try:
            connection.settimeout(INTRODUCTION_S)
            with connection.makefile("rb") as stream:
                word, kind, role, pid, birth = stream.readline(INTRODUCTION_BYTES).decode().split()
            if word != self._word:
                raise ValueError  # noqa: TRY301  as of what has no five words
        except (OSError, ValueError):
            connection.close()  # it died at once; or a stranger
            return
        self._told.put(lambda: self._join(Member(kind, role, int(pid), connection), int(birth)))

    def _join(self, member: Member, birth: int) -> None:
        try:
            member.handle = self._open(member.pid)
        except ProcessLookupError:
            member.connection.close()  # it died at once
            return
        if winapi.created(member.handle) != birth:
            self.let_go(member.handle)  # it died at once, and its pid is another's now
            member.connection.close()
            return
        self._members.append(member)
        self._watch(member.handle, partial(self._note_death, member))

    def _note_death(self, member: Member, at: float) -> None:
        self.last_death = max(self.last_death, at)
        self._members.remove(member)
        member.connection.close()
        self.let_go(member.handle)
