"""Reads the beginning of a project's file. The project is not trusted: the file may be a pipe, a device, or endless."""

from __future__ import annotations

import os
import stat

FILE_BYTES_MOST = 1 << 20
"""A manifest, or a program that is searched for a word, is written by people; anything larger is another file."""


def read_head(path: str, most: int) -> bytes:
    """Read up to ``most`` bytes of a regular file; empty where there is none, or none that can be read."""
    try:
        # without O_NONBLOCK a pipe of that name would block us
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return b""  # ENOENT, EACCES, EISDIR on Windows, a name that is none: there is nothing to be read
    try:
        return os.read(fd, most) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""  # EIO: a network's file that went meanwhile
    finally:
        os.close(fd)
