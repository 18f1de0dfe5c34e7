"""Read files of a project, which is not trusted."""

from __future__ import annotations

import errno
import os
import stat

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without ``O_NONBLOCK`` a pipe with the file's name would block us."""


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Read the first ``most`` bytes of a regular file. Raises ``OSError``, also for a pipe, a device or a folder."""
    fd = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)
