"""Our own messages to stderr: for a person who debugs. Small on purpose: logging costs start-up time, this does not."""

from __future__ import annotations

import os

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_threshold = LEVELS["warning"]


def set_level(name: str) -> None:
    """Show messages from this level on; ``name`` is one of ``LEVELS``."""
    global _threshold  # noqa: PLW0603  one process, one stderr
    _threshold = LEVELS[name]


def say(level: str, message: str) -> None:
    """Write one line to stderr. Never raises: a closed or full stderr must not end a supervisor."""
    if LEVELS[level] >= _threshold:
        # a message may quote a file's or a program's name, and that must not draw on whatever shows our stderr
        shown = "".join(it if it.isprintable() or it in "\n\t" else ascii(it)[1:-1] for it in message)
        line = f"sidecar {level}: {shown}\n".encode("utf-8", "backslashreplace")
        try:
            os.write(2, line)
        except OSError:
            pass  # EPIPE, EBADF, EAGAIN: nobody reads our messages, which takes nothing from the work
