"""Keep a run's record up to date while it runs, so that ``sidecar ps`` can show its services.

A separate thread writes, so neither the loop nor the kill path waits for a disk. Of several changes in a row only the
last one is written. Between two writes the thread finds and removes what services have unpacked
(``sidecar.host.one_file``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from sidecar.diagnostics import say
from sidecar.protocol.messages import ServiceReady, ServiceState
from sidecar.state.run_record import Identity, RunRecord, ServiceRecord, UnpackedFolder, remove_run, write_run

CLOSE_S = 1.0
"""How long ``close`` waits for the writing thread. If the disk hangs, the guard has to remove the record."""


class Tend(Protocol):
    """See ``sidecar.host.one_file.OneFilePrograms.tend``."""

    def __call__(
        self, services: Mapping[str, ServiceRecord], *, looking: bool
    ) -> tuple[tuple[UnpackedFolder, ...], float | None]:
        """Return the folders that the record has to name, and after how many seconds to call this again."""
        ...


class RecordWriter:
    """The record of this run."""

    def __init__(self, identify: Callable[[int], Identity | None], tend: Tend) -> None:
        """Nothing is written before ``begin``. ``identify`` returns the process that has a pid now.

        ``tend`` finds and removes the folders that services unpack. It may take its time: only the writing thread calls
        it.
        """
        self._identify = identify
        self._tend = tend
        self._unpacked: tuple[UnpackedFolder, ...] = ()
        self._record: RunRecord | None = None
        self._path: str | None = None
        self._services: dict[str, ServiceRecord] = {}
        self._changed = threading.Event()
        self._writing = threading.Lock()
        self._closed = False
        self._keeps = False
        self._finished = threading.Event()
        """Set once ``keep`` has ended."""
        self._complained = False

    def begin(self, path: str, record: RunRecord) -> None:
        """Write the record for the first time. Raises ``OSError``."""
        with self._writing:
            if not self._closed:
                self._path, self._record = path, record
                self._write()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Note what the client is told. The loop calls this. Only the loop reaps, so the pid is still the program's."""
        before = self._services.get(told.service)
        if isinstance(told, ServiceReady):
            if before is not None:
                self._keep_service(told.service, msgspec.structs.replace(before, url=told.url))
            return
        process = before.process if before is not None else None
        if told.pid is None:
            process = None
        elif process is None or process.pid != told.pid:
            process = self._identify(told.pid)
        url = before.url if before is not None and process is not None and before.process == process else None
        service = ServiceRecord(state=told.state, host=told.host, port=told.port, url=url, process=process)
        self._keep_service(told.service, service)

    def _keep_service(self, name: str, service: ServiceRecord) -> None:
        self._services = {**self._services, name: service}  # a new dict, because the writer reads it without a lock
        self._changed.set()

    def keep(self) -> None:
        """A thread's body: write each change, until ``close``."""
        self._keeps = True
        wait_s: float | None = None
        closing = False
        while not closing:
            if self._changed.wait(wait_s):
                self._changed.clear()
                self._write_unless_closed()
            closing = self._closed
            unpacked, wait_s = self._tend(self._services, looking=not closing)
            if unpacked != self._unpacked:
                self._unpacked = unpacked
                self._write_unless_closed()
        self._finished.set()

    def _write_unless_closed(self) -> None:
        with self._writing:
            try:
                if not self._closed:
                    self._write()
            except OSError as error:
                if not self._complained:
                    say("warning", f"this run's record is out of date, so 'sidecar ps' is, too: {error}")
                self._complained = True

    def close(self, *, guarded: bool = False) -> None:
        """Remove the record. Nothing is written after this.

        If we are ``guarded``, the guard has the folders removed after our end. Otherwise ``keep`` removes them now,
        within ``CLOSE_S``. If one is left, the record stays, and the next start removes both.
        """
        if not guarded:
            self._services = {}  # none of their programs lives
        self._closed = True
        self._changed.set()
        deadline = time.monotonic() + CLOSE_S
        if self._keeps and not guarded:
            self._finished.wait(CLOSE_S)
        if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return
        try:
            if self._path is not None and (guarded or not self._unpacked):
                remove_run(self._path)
        except OSError as error:
            # EROFS, EACCES: we may no longer write to the folder; the guard tries next, then the next start
            say("warning", f"this run's record could not be removed: {error}")
        finally:
            self._writing.release()

    def _write(self) -> None:
        if self._path is not None and self._record is not None:
            record = msgspec.structs.replace(self._record, services=self._services, unpacked=self._unpacked)
            write_run(self._path, record)
