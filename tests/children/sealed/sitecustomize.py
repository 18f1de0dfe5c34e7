"""On PYTHONPATH, refuse every import of a guard that is on watch, and of a keeper.

The file SEALED gets the names of these imports. Each guard that is on watch, and each keeper, also adds a line.
"""

from __future__ import annotations

import os
import sys
from typing import Any

if sys.platform == "win32":
    raise ImportError("Windows has no guard")

from sidecar.host.posix import guard, keeper
from sidecar.host.posix.lifeline import ON_WATCH, ON_WATCH_WITH_GROUP

watched: Any = guard.PosixGuard
_tell = watched._tell
keeping: Any = keeper.Keeping
_keep = keeping.keep


def note(name: str) -> None:
    with open(os.environ["SEALED"], "ab", buffering=0) as file:
        file.write(name.encode() + b"\n")


class Refuse:
    """A finder that refuses all modules. It is the first one asked."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        note(name)
        raise ModuleNotFoundError(f"{name} is loaded too late", name=name)


def tell(self: Any, byte: int) -> None:
    if byte in {ON_WATCH, ON_WATCH_WITH_GROUP}:
        note("on watch")
        sys.meta_path.insert(0, Refuse)
    _tell(self, byte)


def keep(self: Any) -> None:
    note("keeping")
    sys.meta_path.insert(0, Refuse)
    _keep(self)


watched._tell = tell
keeping.keep = keep
