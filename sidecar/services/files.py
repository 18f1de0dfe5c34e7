"""Reads the beginning of a project's file. The project is not trusted: the file may be a pipe, a device, or endless."""

from __future__ import annotations

from sidecar.files import read_regular

FILE_BYTES_MOST = 1 << 20
"""A manifest, or a program that is searched for a word, is written by people; anything larger is another file."""


def read_head(path: str, most: int) -> bytes:
    """Read up to ``most`` bytes of a regular file; empty where there is none, or none that can be read."""
    try:
        return read_regular(path, most)
    except (OSError, ValueError):
        return b""  # ENOENT, EACCES, a pipe, a name that is none: there is nothing to be read
