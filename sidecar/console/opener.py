"""Opens pages in the browser from a process outside of the tree.

What the supervisor starts ends with it, and a browser must not. So this process is forked, and let go, before the guard
adopts orphans. It waits on a pipe for URLs; the pipe's end, which is the death of guard and supervisor, is its own.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

assert sys.platform != "win32"  # noqa: S101  for mypy: what follows exists on POSIX only


class Opener:
    """Our end of the pipe."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Write to ``fd``."""
        self._fd = fd

    def open(self, url: str) -> None:
        """Open ``url``, at some time soon."""
        try:
            os.write(self._fd, url.encode() + b"\n")
        except OSError:
            pass  # EPIPE: somebody ended the opener; EAGAIN: it hangs in a browser that does not return


def fork_opener() -> Opener:
    """Start the opener. To be called before the guard, and before any thread."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(read)
        os.waitpid(child, 0)
        os.set_blocking(write, False)
        return Opener(write)
    try:
        os.setsid()  # Ctrl-C and the terminal's end are not the browser's
        if os.fork() == 0:
            os.close(write)
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):  # what a browser prints would go over our lines
                os.dup2(null, fd)
            _serve(read)
    finally:
        os._exit(0)


def _serve(fd: int) -> NoReturn:
    rest = b""
    while data := os.read(fd, 4096):
        *urls, rest = (rest + data).split(b"\n")
        for url in urls:
            import webbrowser  # noqa: PLC0415  slow to import, and seldom needed

            try:
                webbrowser.open(url.decode())
            except Exception:  # noqa: BLE001, S110  whatever a browser's launcher does, the next URL may work
                pass
    os._exit(0)
