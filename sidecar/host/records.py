"""What is kept between runs, in the user's state folder: the last good port of each project's services."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sidecar.diagnostics import say

STATE_DIR = "SIDECAR_STATE_DIR"
"""A variable that moves the state folder, for tests and for several installations."""

PORTS_KEPT = 500
"""The oldest are forgotten beyond this."""

_Ports = dict[str, int]


def state_folder() -> Path:
    """The folder, made on first use, for this user only. Raises ``OSError``."""
    chosen = os.environ.get(STATE_DIR)
    if chosen:
        folder = Path(chosen)
    else:
        import platformdirs

        folder = platformdirs.user_state_path("tauri-sidecar")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


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
        path = state_folder() / "ports.json"
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_bytes(msgspec.json.encode(kept))
        fresh.replace(path)  # atomic: a reader sees the old file or the new one
    except OSError as error:
        say("warning", f"the port could not be remembered: {error}")


def _load() -> _Ports:
    try:
        return msgspec.json.decode((state_folder() / "ports.json").read_bytes(), type=_Ports)
    except FileNotFoundError:
        return {}  # the first time
    except (OSError, msgspec.DecodeError) as error:
        say("warning", f"the remembered ports are unreadable and start afresh: {error}")
        return {}
