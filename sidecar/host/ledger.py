"""A run's record, kept up to date while it runs, so that ``sidecar ps`` can tell of services.

A thread of its own writes it: neither the loop nor the kill path ever waits for a disk. Of many changes in a row only
the last is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from sidecar.diagnostics import say
from sidecar.host.records import Identity, RunRecord, ServiceRecord, remove_run, write_run
from sidecar.wire.messages import ServiceReady, ServiceState

CLOSE_S = 1.0
"""At the end a write under way is waited for no longer: on a disk that hangs, the removal is left to the guard."""


class Ledger:
    """The record of this run."""

    def __init__(self, identify: Callable[[int], Identity | None]) -> None:
        """Nothing is written before ``begin``. ``identify`` tells who has a pid now."""
        self._identify = identify
        self._record: RunRecord | None = None
        self._path: str | None = None
        self._services: dict[str, ServiceRecord] = {}
        self._changed = threading.Event()
        self._writing = threading.Lock()
        self._closed = False

    def begin(self, path: str, record: RunRecord) -> None:
        """Write it for the first time. Raises ``OSError``."""
        with self._writing:
            if not self._closed:
                self._path, self._record = path, record
                self._write()

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Take in what the client is told. Called on the loop, which alone reaps: the pid is still the program's."""
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
        self._services = {**self._services, name: service}  # replaced whole: the writer reads it without a lock
        self._changed.set()

    def keep(self) -> None:
        """A thread's body: write what changes, until the end."""
        complained = False
        while not self._closed:
            self._changed.wait()
            self._changed.clear()
            with self._writing:
                try:
                    if not self._closed:
                        self._write()
                except OSError as error:
                    if not complained:
                        say("warning", f"this run's record is out of date, so 'sidecar ps' is, too: {error}")
                    complained = True

    def close(self) -> None:
        """Remove it; nothing is written any more."""
        self._closed = True
        self._changed.set()
        if not self._writing.acquire(timeout=CLOSE_S):
            return
        try:
            if self._path is not None:
                remove_run(self._path)
        except OSError as error:
            # EROFS, EACCES: the folder is not to be written to any more; the guard tries, too, and then the next start
            say("warning", f"this run's record could not be removed: {error}")
        finally:
            self._writing.release()

    def _write(self) -> None:
        if self._path is not None and self._record is not None:
            write_run(self._path, msgspec.structs.replace(self._record, services=self._services))
