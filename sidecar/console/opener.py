"""Opens pages in the browser from a process outside of the tree.

What the supervisor starts ends with it, and a browser must not. So this process is forked, and let go, before the guard
adopts orphans. It waits on a pipe for URLs; the pipe's end, which is the death of guard and supervisor, is its own.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only


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
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a launcher
    os.environ.pop("TERM", None)  # without it webbrowser does not offer browsers that need a terminal
    rest = b""
    while data := os.read(fd, 4096):
        *urls, rest = (rest + data).split(b"\n")
        for url in urls:
            _launch(url.decode())
    os._exit(0)


def _launch(url: str) -> None:
    """In a process of its own: some browsers' launchers return only when the page is closed."""
    try:
        child = os.fork()
    except OSError:
        return  # EAGAIN: no process to spare; the next key press may have one
    if child:
        return
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        import webbrowser  # slow to import, and seldom needed

        webbrowser.open(url)
    finally:
        os._exit(0)  # whatever a launcher did, this copy of us must not go on
