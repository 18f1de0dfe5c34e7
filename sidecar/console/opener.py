"""Opens pages in the browser from a process outside of the tree.

What the supervisor starts ends with it, and a browser must not. So this process is started, and let go, before the
guard adopts orphans, or the supervisor has its job. It waits on a pipe for URLs; the pipe's end, which is the death of
guard and supervisor, is its own.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


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
            pass  # EPIPE, on Windows EINVAL: somebody ended it; EAGAIN: it hangs in a browser that does not return


def serve(fd: int) -> NoReturn:
    """Open what comes through the pipe, until its end."""
    rest = b""
    while data := os.read(fd, 4096):
        *urls, rest = (rest + data).split(b"\n")
        for url in urls:
            _launch(url.decode())
    os._exit(0)


if sys.platform == "win32":
    import subprocess

    from sidecar.console import OPENER_PART
    from sidecar.host import bundle

    def start_opener() -> Opener:
        """Start the opener. To be called before this process is in its job."""
        null = subprocess.DEVNULL
        # a console of its own, which is hidden: Ctrl-C and the end of ours are not the browser's
        flags = subprocess.CREATE_NO_WINDOW
        words, cwd = bundle.itself(OPENER_PART), bundle.HOME
        read, write = os.pipe()
        try:
            subprocess.Popen(words, cwd=cwd, stdin=read, stdout=null, stderr=null, creationflags=flags)
        finally:
            os.close(read)
        return Opener(write)

    def _launch(url: str) -> None:
        """In a thread of its own: some browsers' launchers return only when the page is closed."""
        from sidecar.errors import SystemFailureError
        from sidecar.threads import start_thread

        def launch() -> None:
            import webbrowser  # slow to import, and seldom needed

            webbrowser.open(url)

        try:
            start_thread("browser", launch)
        except SystemFailureError:
            pass  # no thread to spare; the next page may have one

else:
    import signal

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
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a launcher
                os.environ.pop("TERM", None)  # without it webbrowser does not offer browsers that need a terminal
                serve(read)
        finally:
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
