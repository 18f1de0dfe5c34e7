"""Learn from the kernel which processes of the trees live: hold a handle of each, and wait for it in a thread.

One call waits for at most 64 handles, and for no pipe. So each process has its own thread.
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

from sidecar.commands.doctor.prove.platform import CannotTryError
from sidecar.host import frozen
from sidecar.host.windows import job, winapi
from sidecar.threads import start_thread

BACKLOG = 256
"""More than the processes of all trees, so that none waits to be accepted."""

INTRODUCTION_S = 10.0
"""Time for a process to introduce itself once it is connected. Ours does so at once."""
INTRODUCTION_BYTES = 256

PIPE_BYTES = 65_536
"""Bytes of one read."""

GLANCE_S = 0.2
"""A wait is cut into pieces of this length, because Python cannot handle Ctrl-C during one."""

EMPTY_S = 10.0
"""Time for an ended job to be empty."""

PROCESS_TERMINATE = 0x0001
HELD = winapi.SYNCHRONIZE | winapi.PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_TERMINATE

CREATE_SUSPENDED = 0x4


class Member:
    """See ``platform.Member``."""

    def __init__(self, kind: str, role: str, pid: int, connection: socket.socket) -> None:
        """Keep the connection open: the process lives as long as it is."""
        self.kind = kind
        self.role = role
        self.pid = pid
        self.connection = connection
        self.handle = 0


class WindowsLiveness:
    """See ``platform.Liveness``.

    It listens on loopback and accepts processes that know a secret word. It puts the stand-in app and everything below
    it into a job. That job allows breakaway, so it never does the work of the sidecar's job. It ends what is left when
    doctor ends, even if doctor is killed.
    """

    def __init__(self) -> None:
        """Listen. Raises ``CannotTryError``."""
        self.last_death = 0.0
        self._word = os.urandom(16).hex()
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        """Calls from other threads, for the main thread to make."""
        self._members: list[Member] = []
        self._handles: set[int] = set()
        try:
            self._job = winapi.create_job()
            winapi.let_out(self._job)
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        except OSError as error:
            raise CannotTryError(f"Windows refuses a job, or a port on 127.0.0.1: {error.strerror}") from None
        self.name = f"{self._listener.getsockname()[1]}:{self._word}"
        start_thread("liveness", self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """See ``platform.Liveness``."""
        self.kill([member.handle for member in self._members])  # those that broke away are not in our job
        winapi.terminate_job(self._job, job.KILLED)
        deadline = time.monotonic() + EMPTY_S
        while winapi.count_in_job(self._job) and time.monotonic() < deadline:
            time.sleep(job.RESCAN_S)
        _winapi.CloseHandle(self._job)
        for member in self._members:
            member.connection.close()
        self._listener.close()
        for handle in list(self._handles):
            self.let_go(handle)

    def launch(self, command: list[str], env: Mapping[str, str], *, grouped: bool) -> subprocess.Popen[bytes]:
        """See ``platform.Liveness``. There are no control groups here.

        Start the app suspended, so that it starts nothing before it is in the job.
        """
        del grouped
        pipe, flags = subprocess.PIPE, CREATE_SUSPENDED | subprocess.CREATE_NO_WINDOW
        app = subprocess.Popen(
            command, cwd=frozen.HOME, env=env, stdin=pipe, stdout=pipe, bufsize=0, creationflags=flags
        )
        try:
            winapi.assign(self._job, int(app._handle))  # type: ignore[attr-defined]  # noqa: SLF001  it has no other name
            psutil.Process(app.pid).resume()  # Popen holds its handle, so no other process has its pid
        except (OSError, psutil.Error) as error:
            app.kill()
            raise CannotTryError(f"the stand-in app cannot be put into a job: {error}") from None
        return app

    def living(self) -> list[Member]:
        """See ``platform.Liveness``."""
        return self._members

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """See ``platform.Liveness``."""
        deadline = time.monotonic() + bound_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                self._told.get(timeout=min(left, GLANCE_S))()
            except queue.Empty:
                pass  # no call yet
        return True

    def wait_stopped(self, bound_s: float) -> bool:
        """See ``platform.Liveness``. No tree stops itself here."""
        del bound_s
        return True

    def read(self, pipe: IO[bytes], heard: Callable[[bytes], None]) -> None:
        """See ``platform.Liveness``."""

        def read() -> None:
            with pipe:
                while data := os.read(pipe.fileno(), PIPE_BYTES):
                    self._told.put(partial(heard, data))
            self._told.put(partial(heard, b""))

        start_thread("pipe", read)

    def hold(self, pid: int, ended: Callable[[float], None]) -> int:
        """See ``platform.Liveness``."""
        handle = self._open(pid)
        self._watch(handle, ended)
        return handle

    def kill(self, held: Sequence[int]) -> float:
        """See ``platform.Liveness``. The calls follow each other so fast that no victim sees another's death."""
        begin = time.monotonic()
        for handle in held:
            job.terminate(handle)
        return begin

    def stop(self, held: Sequence[int]) -> None:
        """See ``platform.Liveness``. No plan stops a process here."""
        del held

    def let_go(self, held: int) -> None:
        """See ``platform.Liveness``."""
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
        """Wait on a second handle, which belongs to the thread: the first may be closed meanwhile."""
        own = _winapi.GetCurrentProcess()
        waited = _winapi.DuplicateHandle(own, handle, own, 0, False, _winapi.DUPLICATE_SAME_ACCESS)

        def wait() -> None:
            _winapi.WaitForSingleObject(waited, winapi.INFINITE)
            at = time.monotonic()
            _winapi.CloseHandle(waited)
            self._told.put(partial(ended, at))

        start_thread(f"end of {handle}", wait)

    def _accept(self) -> None:
        """Accept connections until the listener is closed; the body of a thread."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # it is closed: the trial is over
            start_thread("introduction", partial(self._hear, connection))

    def _hear(self, connection: socket.socket) -> None:
        """Read the introduction of a process; the body of a thread."""
        try:
            connection.settimeout(INTRODUCTION_S)
            with connection.makefile("rb") as stream:
                word, kind, role, pid, birth = stream.readline(INTRODUCTION_BYTES).decode().split()
            if word != self._word:
                raise ValueError  # noqa: TRY301  as the unpacking raises it if there are not five words
        except (OSError, ValueError):
            connection.close()  # it died at once, or is not one of ours
            return
        self._told.put(lambda: self._join(Member(kind, role, int(pid), connection), int(birth)))

    def _join(self, member: Member, birth: int) -> None:
        try:
            member.handle = self._open(member.pid)
        except ProcessLookupError:
            member.connection.close()  # it died at once
            return
        if winapi.created(member.handle) != birth:
            self.let_go(member.handle)  # it died at once, and another process has its pid
            member.connection.close()
            return
        self._members.append(member)
        self._watch(member.handle, partial(self._note_death, member))

    def _note_death(self, member: Member, at: float) -> None:
        self.last_death = max(self.last_death, at)
        self._members.remove(member)
        member.connection.close()
        self.let_go(member.handle)
