"""What is kept between runs, in the user's state folder: remembered ports, and a record of each run.

A sweep needs only the run's owners, boot, pid namespace, group and id. ``sidecar ps`` shows the rest. Each field that
only ps needs has a default, so that records of other versions stay readable.
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
from sidecar.files import parse_json
from sidecar.state import atomic

STATE_DIR = "SIDECAR_STATE_DIR"
"""The variable that sets another state folder, for tests and for several installations."""

PORTS_KEPT = 500
"""How many ports are remembered. Beyond it the oldest are forgotten."""

RECORD_VERSION = 1
"""This changes only if a sweep has to work differently."""

LARGEST_FILE = 1 << 20
"""The limit for a file that we read. What we write is a thousandth of this."""

_NO_RECORD = {errno.EISDIR, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ELOOP, errno.ENXIO}
"""Errors for a path that is not a record of ours: a folder, a link, a socket, another user's file, or one that we may
not read."""

_RECORD = ".json"

_Ports = dict[str, int]

_remembering = threading.Lock()
"""Held while a port is remembered: each service does it on its own thread, but all threads use the same draft."""


class Identity(Struct, frozen=True):
    """A process. ``start``, in its system's units, tells it from earlier and later processes with the same pid."""

    pid: int
    start: int


class ServiceRecord(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """A service in the last state that its supervisor recorded. This is only shown; no code acts on it."""

    state: str
    host: str | None = None
    port: int | None = None
    url: str | None = None
    """The URL of its page, once it is ready."""
    process: Identity | None = None
    """Its program, while it runs."""


class UnpackedFolder(Struct, frozen=True):
    """What a one-file program of a service has unpacked. ``identity`` tells it from a later folder of that name."""

    path: str
    identity: str


class RunRecord(Struct, frozen=True, rename="camel", kw_only=True):
    """Written before a run sweeps or starts anything, removed at its end.

    If it stays, all owners were killed, or a folder that a service has unpacked could not be removed.
    """

    version: int = RECORD_VERSION
    run_id: str
    boot_id: str
    owners: tuple[Identity, ...]
    """Guard and supervisor. While one of them lives, no other sidecar touches the run."""
    pid_namespace: str | None = None
    """The namespace of its pids. A sidecar in another one (a container that shares the home folder) must not judge
    them."""
    group: str | None = None
    """The folder of its control group. A start in another session finds the group only by this."""
    app: Identity | None = None
    """The app that it runs for, if the app is watched."""
    guarantees: dict[str, bool | str] = {}
    """The guarantees that ``initialize`` claims. (msgspec gives each record its own dict.)"""
    services: dict[str, ServiceRecord] = {}
    unpacked: tuple[UnpackedFolder, ...] = ()
    """What is to be removed once the run is dead."""


def state_folder(name: str = "") -> str:
    """Return the state folder, or the folder ``name`` in it. Make it on first use, for this user only.

    Raises ``OSError``, also if another user could have put something there.
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
        # the XDG rule itself: platformdirs would take 1.4 MB of memory, and some time of a start
        base = os.environ.get("XDG_STATE_HOME", "").strip()
        return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/state"), "tauri-sidecar")
    import platformdirs

    return platformdirs.user_state_dir("tauri-sidecar")


def _make_ours(folder: str) -> None:
    """Make the folder, and close it to other users. Raises ``OSError``."""
    if sys.platform == "win32":
        # The access list of the user's profile protects it. With 0o700 Python would write an access list for the
        # folder's owner. After a first run as administrator the owner is the group of administrators, and the user
        # could not open the folder any more
        os.makedirs(folder, exist_ok=True)
    else:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    foreign = sys.platform != "win32" and found.st_uid != os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or foreign:
        raise PermissionError(f"{folder} is a link, or belongs to another user: move it away, or set {STATE_DIR}")
    if sys.platform != "win32" and found.st_mode & 0o077:
        os.chmod(folder, 0o700)


def last_port(key: str) -> int | None:
    """Return the port that worked last for ``key``; ``None`` if that was the preferred one."""
    try:
        return _load().get(key)
    except OSError as error:
        say("warning", f"the remembered ports cannot be read now: {error}")
        return None


def last_ports(prefix: str) -> dict[str, int]:
    """Return the ports of all keys that begin with ``prefix``, by the rest of the key."""
    try:
        return {key.removeprefix(prefix): port for key, port in _load().items() if key.startswith(prefix)}
    except OSError as error:
        say("warning", f"the remembered ports cannot be read now: {error}")
        return {}


def remember_port(key: str, port: int | None) -> None:
    """Keep the port for the next start; ``None`` forgets it. If the state folder cannot be written, only warn."""
    try:
        # locked from the read on, or we would lose what another sidecar remembers meanwhile
        with _remembering, atomic.writing_in(state_folder(), alone=True):
            ports = _load()
            if ports.get(key) == port:
                return
            ports.pop(key, None)
            if port is not None:
                ports[key] = port
            kept = dict(list(ports.items())[-PORTS_KEPT:])
            atomic.replace(_ports_file(), msgspec.json.encode(kept))
    except OSError as error:
        say("warning", f"the port could not be remembered: {error}")


def run_path(run_id: str) -> str:
    """Return the path of the run's record. Raises ``OSError``."""
    return os.path.join(state_folder("runs"), f"{run_id}{_RECORD}")


def left_drafts(is_gone: Callable[[int], bool]) -> list[str]:
    """Find the drafts of killed writers. ``is_gone`` tells whether a pid's process is gone. Raises ``OSError``."""
    return [path for folder in (state_folder(), state_folder("runs")) for path in atomic.left_in(folder, is_gone)]


def write_run(path: str, record: RunRecord) -> None:
    """Write the record. Raises ``OSError``."""
    atomic.write_atomically(path, msgspec.json.encode(record))


def read_runs() -> list[tuple[str, RunRecord | None]]:
    """Read every record; ``None`` for one that is unreadable or of an unknown version. Raises ``OSError``."""
    found: list[tuple[str, RunRecord | None]] = []
    folder = state_folder("runs")
    for path in (os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(_RECORD)):
        try:
            record = parse_json(_read(path), RunRecord)
        except FileNotFoundError:
            continue  # its run has just ended
        except (msgspec.DecodeError, UnicodeDecodeError):
            found.append((path, None))
        except OSError as error:
            if error.errno not in _NO_RECORD:
                raise  # EMFILE, ENOMEM, EIO: this says nothing about the record
            if sys.platform == "win32" and os.path.isfile(path):
                continue  # EACCES: its run is replacing or removing it
            found.append((path, None))
        else:
            found.append((path, record if record.version == RECORD_VERSION else None))
    return found


def read_file(name: str) -> bytes:
    """Read a file of the state folder. Raises ``OSError``."""
    return _read(os.path.join(state_folder(), name))


def write_file(name: str, data: bytes) -> None:
    """Write a file of the state folder. Only one thread may call this at a time. Raises ``OSError``."""
    atomic.write_atomically(os.path.join(state_folder(), name), data)


def _read(path: str) -> bytes:
    """Read a file that this user wrote. Raises ``OSError``.

    Before we closed the folder to other users, they may have left a link, a device or a pipe there. A read could return
    foreign data, never end or never begin. Now no other user can change the folder, so the file that we check is the
    file that we open. (O_NONBLOCK does not help: the open would fail while another program has a lease on the file.)
    """
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or (sys.platform != "win32" and found.st_uid != os.geteuid()):
        raise OSError(errno.EPERM, "it is not a regular file of this user", path)
    if found.st_size > LARGEST_FILE:
        raise OSError(errno.EFBIG, "it is larger than any file that sidecar writes", path)
    with open(path, "rb") as file:
        return file.read(LARGEST_FILE)


def remove_run(path: str) -> None:
    """Remove the record and its draft. Raises ``OSError``."""
    for file in (path, atomic.draft_of(path)):
        atomic.remove(file)


def _ports_file() -> str:
    return os.path.join(state_folder(), "ports.json")


def _load() -> _Ports:
    """Load the remembered ports. Raises ``OSError`` if the file may be intact but cannot be read now."""
    try:
        return parse_json(_read(_ports_file()), _Ports)
    except FileNotFoundError:
        return {}  # there is none yet
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_RECORD:
            raise  # EMFILE, ENOMEM, EIO: if we began a new file, it would lose the ports of all other projects
        say("warning", f"the remembered ports are unreadable and start afresh: {error}")
        return {}
