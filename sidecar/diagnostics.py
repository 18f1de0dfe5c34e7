"""Our own messages to stderr: for a person who debugs. Small on purpose: logging costs start-up time, this does not."""

from __future__ import annotations

import os
import select
import sys

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_threshold = LEVELS["warning"]


def set_level(name: str) -> None:
    """Show messages from this level on; ``name`` is one of ``LEVELS``."""
    global _threshold  # noqa: PLW0603  one process, one stderr
    _threshold = LEVELS[name]


def say(level: str, message: str) -> None:
    """Write one line to stderr. Never raises, and waits for nobody: what stderr has no room for is dropped.

    Where nobody reads it (an app that launched us with a pipe it forgot) a supervisor that waited would be one that
    serves nothing and kills nobody. Windows cannot tell whether a pipe has room: there this waits.
    """
    if LEVELS[level] >= _threshold:
        # a message may quote a file's or a program's name, and that must not draw on whatever shows our stderr
        shown = "".join(it if it.isprintable() or it in "\n\t" else ascii(it)[1:-1] for it in message)
        rest = f"sidecar {level}: {shown}\n".encode("utf-8", "backslashreplace")
        try:
            while rest and _has_room(2):
                rest = rest[os.write(2, rest[:_ROOM]) :]
        except OSError:
            pass  # EPIPE, EBADF, EAGAIN: nobody reads our messages, which takes nothing from the work


_ROOM = 4096
"""So much can be written where poll(2) says that there is room: a page of Linux's pipes, see pipe(7)."""


def _has_room(fd: int) -> bool:
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
