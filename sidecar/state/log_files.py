"""The log files of services, in the state folder: the output of programs, with the time, without colours, rotated.

A separate thread writes. The loop only queues, within a bound. So a disk that hangs loses log lines but delays no stop.
The thread starts with the first line; if the system refuses it, each further line tries again.
Tokens have been removed from the output before.
"""

from __future__ import annotations

import os
import re
import threading
import time
import zlib
from collections import deque

from msgspec import Struct

from sidecar.config.services import LogFileConfig
from sidecar.core.events import Output
from sidecar.core.readiness import plain
from sidecar.diagnostics import say
from sidecar.errors import SystemFailureError
from sidecar.state import run_record
from sidecar.threads import start_thread

FOLDER = "logs"
PROJECT = "project"
"""The file that names the project of a folder of logs."""

BYTES_WAITING = 4 << 20
"""How much may wait for the disk. Beyond it lines are left out, and counted."""

FLUSH_S = 1.0
"""How long we wait for the disk at the end. Everything is dead by then."""

NO_THREAD = (
    "the log files are not written until the system has a thread to spare (ulimit -u, pids.max). The services go on"
)

_SLUG_LENGTH = 80
_MARKS = {"stdout": "out", "stderr": "err"}


def slug(text: str) -> str:
    """Make a file name from any text: its end in plain characters, and a checksum that tells similar texts apart."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[-_SLUG_LENGTH:].strip("-.")
    return f"{readable}-{zlib.crc32(os.fsencode(text)):08x}"


def file_name(service: str) -> str:
    """Return the name of a service's log file: the service's own name, if that can be a file name."""
    simple = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", service)
    return f"{service if simple else slug(service)}.log"


def project_folder(project: str) -> str:
    """Return the folder with a project's logs, and make it on first use. Raises ``OSError``."""
    folder = os.path.join(run_record.state_folder(FOLDER), slug(project))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    told = os.path.join(folder, PROJECT)
    if not os.path.exists(told):
        with open(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.fsencode(project))
    return folder


class _Queued(Struct, frozen=True):
    path: str
    config: LogFileConfig
    data: bytes


def log_files_of(folder: str) -> LogFiles | None:
    """Make the log files of a run for the project in ``folder``; ``None`` if the folder has been removed."""
    try:
        return LogFiles(os.path.realpath(folder))
    except FileNotFoundError:
        return None  # the working folder is gone, so a relative path means nothing


class LogFiles:
    """The log files of one run."""

    def __init__(self, project: str) -> None:
        """``project`` is the folder of the run's project."""
        self._project = project
        self._files: dict[str, tuple[str, LogFileConfig]] = {}
        self._changed = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._size = 0
        self._left_out: dict[str, int] = {}
        self._writing = False
        self._started = False
        self._closed = False
        self._failed = False
        self._threadless = False

    def open(self, service: str, config: LogFileConfig) -> str | None:
        """Prepare the file of a service. Return its path; ``None`` if it cannot be made, after a warning."""
        try:
            path = os.path.join(project_folder(self._project), file_name(service))
        except OSError as error:
            self._say_once(error)
            return None
        self._files[service] = path, config
        return path

    def put(self, output: Output) -> None:
        """Queue the lines of a service. Never waits for the disk."""
        known = self._files.get(output.service)
        if known is None or not output.lines:
            return
        path, config = known
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
        head = f"{stamp} {_MARKS[output.stream]} "
        with self._changed:
            self._begin()
            if self._size > BYTES_WAITING:
                self._left_out[path] = self._left_out.get(path, 0) + len(output.lines)
                return
            lines = [plain(line) for line in output.lines]
            if left_out := self._left_out.pop(path, 0):
                lines.insert(0, f"[lines left out: {left_out}, because they could not be written in time]")
            data = "".join(f"{head}{line}\n" for line in lines).encode("utf-8", "replace")
            self._queue.append(_Queued(path, config, data))
            self._size += len(data)
            self._changed.notify_all()

    def flush(self) -> bool:
        """Wait until all is written, within a bound. Return whether it is."""
        with self._changed:
            if self._queue and not self._begin():
                return False
            return self._changed.wait_for(lambda: not self._queue and not self._writing, FLUSH_S)

    def close(self) -> None:
        """Write what still waits, within a bound. Nothing more comes."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _begin(self) -> bool:
        """Start the thread that writes, unless it runs; return whether it does. Without it the lines wait."""
        if not self._started:
            try:
                start_thread("log files", self._run)
            except SystemFailureError:
                if not self._threadless:
                    self._threadless = True
                    say("warning", NO_THREAD)
                return False
            self._started = True
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                queued = self._queue.popleft()
                self._size -= len(queued.data)
                self._writing = True
            try:
                _append(queued)
            except OSError as error:
                self._say_once(error)  # ENOSPC, EROFS, a removed folder: the service itself goes on

    def _say_once(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            say("warning", f"the log files cannot be written: {error}. The services go on without them")


def _append(queued: _Queued) -> None:
    """Write to the end of the file. Begin a new file if this one would become too large. Raises ``OSError``."""
    try:
        size = os.stat(queued.path).st_size
    except FileNotFoundError:
        size = 0  # these are the first lines, or another sidecar of the project has just rotated the file
    if size and size + len(queued.data) > queued.config.max_bytes:
        _rotate(queued.path, queued.config.keep)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    fd = os.open(queued.path, flags, 0o600)
    try:
        view = memoryview(queued.data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _rotate(path: str, keep: int) -> None:
    """Rename ``api.log`` to ``api.log.1``, and so on. The oldest file is lost."""
    for number in range(keep, 0, -1):
        older = f"{path}.{number - 1}" if number > 1 else path
        try:
            os.replace(older, f"{path}.{number}")
        except FileNotFoundError:
            pass  # there are fewer files yet, or another sidecar of the project was quicker
    if keep == 0:
        os.truncate(path, 0)
