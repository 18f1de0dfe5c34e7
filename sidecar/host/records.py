"""What is kept between runs, in the user's state folder: remembered ports, and a record of each run.

A sweep needs of a record who ran it, and when; ``sidecar ps`` shows the rest. What only ps wants has a default, so that
a version more or less of it is no reason to put a record aside.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable

import msgspec
from msgspec import Struct

from sidecar.diagnostics import say
from sidecar.host import drafts

STATE_DIR = "SIDECAR_STATE_DIR"
"""A variable that moves the state folder, for tests and for several installations."""

PORTS_KEPT = 500
"""The oldest are forgotten beyond this."""

RECORD_VERSION = 1
"""Another one only where a sweep would have to do something else."""

LARGEST_FILE = 1 << 20
"""What we write is a thousandth of this."""

_NO_RECORD = {errno.EISDIR, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ELOOP, errno.ENXIO}
"""A folder, a file that is not this user's or that he may not read, a link, a socket: none was written as a record."""

_RECORD = ".json"

_Ports = dict[str, int]

_remembering = threading.Lock()
"""Each service has a thread for it, and all of a process have one draft."""


class Identity(Struct, frozen=True):
    """A process, told apart from any other with its pid, before or later, by ``start``, in its system's units."""

    pid: int
    start: int


class ServiceRecord(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A service as its supervisor last told of it. Only shown, never acted upon."""

    state: str
    host: str | None = None
    port: int | None = None
    url: str | None = None
    """Its page, once it is ready."""
    process: Identity | None = None
    """Its program, while it runs."""


class RunRecord(Struct, frozen=True, rename="camel", kw_only=True):
    """Written before a run sweeps or starts anything, removed at its end: one found later is of a run killed whole."""

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


def state_folder(name: str = "") -> str:
    """The state folder, or the folder ``name`` in it; made on first use, for this user only.

    Raises ``OSError``, also when somebody else could have put something there.
    """
    chosen = os.environ.get(STATE_DIR)
    folder = os.path.abspath(chosen) if chosen else _users_own()
    _make_ours(folder)
    if name:
        folder = os.path.join(folder, name)
        _make_ours(folder)
    return folder


def _users_own() -> str:
    if sys.platform == "linux":
        # the XDG Base Directory rule itself: all of platformdirs would be 1.4 MB of a supervisor, and some of its start
        base = os.environ.get("XDG_STATE_HOME", "").strip()
        return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/state"), "tauri-sidecar")
    import platformdirs

    return platformdirs.user_state_dir("tauri-sidecar")


def _make_ours(folder: str) -> None:
    """Nobody else may put something there, from here on. Raises ``OSError``."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    foreign = sys.platform != "win32" and found.st_uid != os.geteuid()  # there the profile's access list guards it
    if not stat.S_ISDIR(found.st_mode) or foreign:
        raise PermissionError(f"{folder} is a link, or belongs to another user: move it away, or set {STATE_DIR}")
    if found.st_mode & 0o077:
        os.chmod(folder, 0o700)


def last_port(key: str) -> int | None:
    """The port that worked last for ``key``, if it was not the preferred one."""
    try:
        return _load().get(key)
    except OSError as error:
        say("warning", f"the remembered ports cannot be read now: {error}")
        return None


def last_ports(prefix: str) -> dict[str, int]:
    """Those of all keys that begin so, by the rest of the key."""
    try:
        return {key.removeprefix(prefix): port for key, port in _load().items() if key.startswith(prefix)}
    except OSError as error:
        say("warning", f"the remembered ports cannot be read now: {error}")
        return {}


def remember_port(key: str, port: int | None) -> None:
    """Keep the port for the next start; ``None`` forgets. A state folder that cannot be written is said, not fatal."""
    try:
        # alone from the reading on: what another sidecar has remembered meanwhile would be lost
        with _remembering, drafts.writing_in(state_folder(), alone=True):
            ports = _load()
            if ports.get(key) == port:
                return
            ports.pop(key, None)
            if port is not None:
                ports[key] = port
            kept = dict(list(ports.items())[-PORTS_KEPT:])
            drafts.replace(_ports_file(), msgspec.json.encode(kept))
    except OSError as error:
        say("warning", f"the port could not be remembered: {error}")


def run_path(run_id: str) -> str:
    """Where the run's record belongs. Raises ``OSError``."""
    return os.path.join(state_folder("runs"), f"{run_id}{_RECORD}")


def left_drafts(is_gone: Callable[[int], bool]) -> list[str]:
    """What was being written when its writer was killed; ``is_gone`` tells of a pid. Raises ``OSError``."""
    return [path for folder in (state_folder(), state_folder("runs")) for path in drafts.left_in(folder, is_gone)]


def write_run(path: str, record: RunRecord) -> None:
    """Write the record. Raises ``OSError``."""
    drafts.write_atomically(path, msgspec.json.encode(record))


def read_runs() -> list[tuple[str, RunRecord | None]]:
    """Every record; ``None`` where it is unreadable or of a version that we do not know. Raises ``OSError``."""
    found: list[tuple[str, RunRecord | None]] = []
    folder = state_folder("runs")
    for path in (os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(_RECORD)):
        try:
            record = msgspec.json.decode(_read(path), type=RunRecord)
        except FileNotFoundError:
            continue  # its run has just ended
        except (msgspec.DecodeError, UnicodeDecodeError):
            found.append((path, None))
        except OSError as error:
            if error.errno not in _NO_RECORD:
                raise  # EMFILE, ENOMEM, EIO: this says nothing of the record
            if sys.platform == "win32" and os.path.isfile(path):
                continue  # EACCES: its run replaces or removes it in this instant
            found.append((path, None))
        else:
            found.append((path, record if record.version == RECORD_VERSION else None))
    return found


def read_file(name: str) -> bytes:
    """Read a file of the state folder. Raises ``OSError``."""
    return _read(os.path.join(state_folder(), name))


def write_file(name: str, data: bytes) -> None:
    """Write a file of the state folder; for one thread at a time. Raises ``OSError``."""
    drafts.write_atomically(os.path.join(state_folder(), name), data)


def _read(path: str) -> bytes:
    """All of a file that this user wrote. Raises ``OSError``.

    Before the folder was closed to others they may have left a link, a device or a pipe there, which would answer with
    something else, without end, or never. Since then nobody else puts anything there: what is looked at is what is
    opened. (To open it without waiting would fail, not wait, where another program has a lease on it.)
    """
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or (sys.platform != "win32" and found.st_uid != os.geteuid()):
        raise OSError(errno.EPERM, "it is no file of this user's", path)
    if found.st_size > LARGEST_FILE:
        raise OSError(errno.EFBIG, "it is larger than any that was written", path)
    with open(path, "rb") as file:
        return file.read(LARGEST_FILE)


def remove_run(path: str) -> None:
    """Remove the record, and what was to become it. Raises ``OSError``."""
    for file in (path, drafts.draft_of(path)):
        drafts.remove(file)


def _ports_file() -> str:
    return os.path.join(state_folder(), "ports.json")


def _load() -> _Ports:
    """Raises ``OSError`` where the system cannot read now what may be all right."""
    try:
        return msgspec.json.decode(_read(_ports_file()), type=_Ports)
    except FileNotFoundError:
        return {}  # the first time
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_RECORD:
            raise  # EMFILE, ENOMEM, EIO: written anew, it would lose the ports of all other projects
        say("warning", f"the remembered ports are unreadable and start afresh: {error}")
        return {}
