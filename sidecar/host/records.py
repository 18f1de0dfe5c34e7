"""What is kept between runs, in the user's state folder: remembered ports, and a record of each run.

A sweep needs of a record who ran it, and when; ``sidecar ps`` shows the rest. What only ps wants has a default, so that
a version more or less of it is no reason to put a record aside.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from sidecar.diagnostics import say

STATE_DIR = "SIDECAR_STATE_DIR"
"""A variable that moves the state folder, for tests and for several installations."""

PORTS_KEPT = 500
"""The oldest are forgotten beyond this."""

RECORD_VERSION = 1
"""Another one only where a sweep would have to do something else."""

LARGEST_FILE = 1 << 20
"""What we write is a thousandth of this."""

BUSY_TRIES, BUSY_S = 20, 0.02
"""On Windows, so often and so far apart a file is tried that somebody reads: together less than ``ledger.CLOSE_S``."""

_NO_RECORD = {errno.EISDIR, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ELOOP, errno.ENXIO}
"""A folder, a file that is not this user's or that he may not read, a link, a socket: none was written as a record."""

_Ports = dict[str, int]


class Identity(Struct, frozen=True):
    """A process, told apart from any other with its pid, before or later, by ``start``, in its system's units."""

    pid: int
    start: int


class ServiceRecord(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A service as its supervisor last told of it. Only shown, never acted upon."""

    state: str
    host: str | None = None
    port: int | None = None
    process: Identity | None = None
    """Its program, while it runs."""


class RunRecord(Struct, frozen=True, rename="camel", kw_only=True):
    """Written before a run's first spawn, removed at its end: one that is found later tells of a run killed whole."""

    version: int = RECORD_VERSION
    run_id: str
    boot_id: str
    owners: tuple[Identity, ...]
    """Guard and supervisor: while one of them lives, the run is its own business."""
    pid_namespace: str | None = None
    """Where its pids mean something: nobody else may judge who lives (a container that shares the home folder)."""
    group: str | None = None
    """Its control group's folder, which a start elsewhere would not come across."""
    app: Identity | None = None
    """Whom it runs for, if that is watched."""
    guarantees: dict[str, bool | str] = {}
    """What ``initialize`` claims (msgspec gives each record a dict of its own)."""
    services: dict[str, ServiceRecord] = {}


def state_folder(name: str = "") -> Path:
    """The state folder, or the folder ``name`` in it; made on first use, for this user only.

    Raises ``OSError``, also when somebody else could have put something there.
    """
    chosen = os.environ.get(STATE_DIR)
    folder = Path(chosen).absolute() if chosen else _users_own()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_ours(folder)
    if name:
        folder /= name
        folder.mkdir(mode=0o700, exist_ok=True)
        _make_ours(folder)
    return folder


def _users_own() -> Path:
    if sys.platform == "linux":
        # the XDG Base Directory rule itself: all of platformdirs would be 1.4 MB of a supervisor, and some of its start
        base = os.environ.get("XDG_STATE_HOME", "").strip()
        return Path(base if os.path.isabs(base) else os.path.expanduser("~/.local/state")) / "tauri-sidecar"
    import platformdirs

    return platformdirs.user_state_path("tauri-sidecar")


def _make_ours(folder: Path) -> None:
    """Nobody else may put something there, from here on. Raises ``OSError``."""
    found = folder.lstat()
    foreign = sys.platform != "win32" and found.st_uid != os.geteuid()  # there the profile's access list guards it
    if not stat.S_ISDIR(found.st_mode) or foreign:
        raise PermissionError(f"{folder} is a link, or belongs to another user: move it away, or set {STATE_DIR}")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def last_port(key: str) -> int | None:
    """The port that worked last for ``key``, if it was not the preferred one."""
    return _load().get(key)


def remember_port(key: str, port: int | None) -> None:
    """Keep the port for the next start; ``None`` forgets. A state folder that cannot be written is said, not fatal."""
    ports = _load()
    if ports.get(key) == port:
        return
    ports.pop(key, None)
    if port is not None:
        ports[key] = port
    kept = dict(list(ports.items())[-PORTS_KEPT:])
    try:
        write_atomically(state_folder() / "ports.json", msgspec.json.encode(kept))
    except OSError as error:
        say("warning", f"the port could not be remembered: {error}")


def run_path(run_id: str) -> Path:
    """Where the run's record belongs. Raises ``OSError``."""
    return state_folder("runs") / f"{run_id}.json"


def draft_of(path: Path) -> Path:
    """What ``write_atomically`` writes before it is ``path``; left behind if this process is killed meanwhile."""
    return path.with_suffix(f".{os.getpid()}.tmp")


def drafts() -> list[tuple[Path, int]]:
    """What is being written into the records' folder, or was when its writer was killed; with the writer's pid.

    Raises ``OSError``.
    """
    named = ((path, path.suffixes[-2:][0].lstrip(".")) for path in sorted(state_folder("runs").glob("*.tmp")))
    return [(path, int(pid)) for path, pid in named if pid.isdecimal()]


def write_run(path: Path, record: RunRecord) -> None:
    """Write the record. Raises ``OSError``."""
    write_atomically(path, msgspec.json.encode(record))


def read_runs() -> list[tuple[Path, RunRecord | None]]:
    """Every record; ``None`` where it is unreadable or of a version that we do not know. Raises ``OSError``."""
    found: list[tuple[Path, RunRecord | None]] = []
    for path in sorted(state_folder("runs").glob("*.json")):
        try:
            record = msgspec.json.decode(_read(path), type=RunRecord)
        except FileNotFoundError:
            continue  # its run has just ended
        except (msgspec.DecodeError, UnicodeDecodeError):
            found.append((path, None))
        except OSError as error:
            if error.errno not in _NO_RECORD:
                raise  # EMFILE, ENOMEM, EIO: this says nothing of the record
            if sys.platform == "win32" and path.is_file():
                continue  # EACCES: its run replaces or removes it in this instant
            found.append((path, None))
        else:
            found.append((path, record if record.version == RECORD_VERSION else None))
    return found


def _read(path: Path) -> bytes:
    """All of a file that this user wrote. Raises ``OSError``.

    Before the folder was closed to others they may have left a link, a device or a pipe there, which would answer with
    something else, without end, or never.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or (sys.platform != "win32" and found.st_uid != os.geteuid()):
            raise OSError(errno.EPERM, "it is no file of this user's", str(path))
        if found.st_size > LARGEST_FILE:
            raise OSError(errno.EFBIG, "it is larger than any that was written", str(path))
        return file.read(LARGEST_FILE)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 so that a reader sees the old one or the new one. Raises ``OSError``."""
    fresh = draft_of(path)
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)  # all of it: a disk that is nearly full takes a part from a single write(2), and says nothing
    _insist(lambda: fresh.replace(path))


def remove_run(path: Path) -> None:
    """Remove the record, and what was to become it. Raises ``OSError``."""
    for file in (path, draft_of(path)):
        _insist(partial(file.unlink, missing_ok=True))


def _insist(work: Callable[[], object]) -> None:
    """Do it, on Windows again and again: there a file cannot be replaced or removed while somebody reads it."""
    for turn in range(BUSY_TRIES):
        try:
            work()
        except PermissionError:
            if sys.platform != "win32" or turn == BUSY_TRIES - 1:
                raise
            time.sleep(BUSY_S)  # a reader of ours takes a millisecond; a virus scanner, some more
        else:
            return


def _load() -> _Ports:
    try:
        return msgspec.json.decode(_read(state_folder() / "ports.json"), type=_Ports)
    except FileNotFoundError:
        return {}  # the first time
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        say("warning", f"the remembered ports are unreadable and start afresh: {error}")
        return {}
