"""Opens pages in the browser from a process outside of the tree.

Everything that the supervisor starts ends with it, but a browser must not. So the opener starts and is detached before
the guard adopts orphans (on Windows: before the supervisor is in its job). It reads URLs from a pipe. Guard and
supervisor hold the other end, so the pipe ends when both are dead, and the opener ends with it.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from sidecar.host import frozen


class Opener:
    """Our end of the pipe."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Write to ``fd``."""
        self._fd = fd

    def open(self, url: str) -> None:
        """Ask the opener to open ``url``; do not wait for it."""
        try:
            os.write(self._fd, url.encode() + b"\n")
        except OSError:
            pass  # EPIPE, on Windows EINVAL: the opener was ended; EAGAIN: it hangs, and the pipe is full


def serve(fd: int) -> NoReturn:
    """Open the URLs that come through the pipe, until its end."""
    gc.enable()  # ``sidecar.cli._run`` has disabled it
    if frozen.unpacked_folder() is not None:
        import webbrowser  # noqa: F401  loading it later is impossible, see ``frozen.seal``

        frozen.seal()
    rest = b""
    while data := os.read(fd, 4096):
        *urls, rest = (rest + data).split(b"\n")
        for url in urls:
            _launch(url.decode())
    os._exit(0)


if sys.platform == "win32":
    import subprocess

    from sidecar.commands.dev import OPENER_PART

    def start_opener() -> Opener:
        """Start the opener. Call this before this process is in its job."""
        null = subprocess.DEVNULL
        # with a hidden console of its own: Ctrl-C in ours, and its end, do not reach the browser
        flags = subprocess.CREATE_NO_WINDOW
        words, cwd = frozen.itself(OPENER_PART), frozen.HOME
        read, write = os.pipe()
        try:
            subprocess.Popen(words, cwd=cwd, stdin=read, stdout=null, stderr=null, creationflags=flags)
        finally:
            os.close(read)
        return Opener(write)

    def _launch(url: str) -> None:
        """Launch the browser in a thread: some launchers return only when the page is closed."""
        from sidecar.errors import SystemFailureError
        from sidecar.threads import start_thread

        def launch() -> None:
            import webbrowser  # slow to import, and seldom needed

            webbrowser.open(url)

        try:
            start_thread("browser", launch)
        except SystemFailureError:
            pass  # no thread can start now; the next page tries again

else:
    import signal

    def fork_opener() -> Opener:
        """Start the opener. Call this before the guard is forked, and before any thread starts."""
        read, write = os.pipe()
        child = os.fork()
        if child:
            os.close(read)
            os.waitpid(child, 0)
            os.set_blocking(write, False)
            return Opener(write)
        try:
            os.setsid()  # Ctrl-C and the terminal's hangup must not reach the browser
            if os.fork() == 0:
                os.close(write)
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):  # the browser's output would garble ours
                    os.dup2(null, fd)
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the launchers
                os.environ.pop("TERM", None)  # without TERM, webbrowser offers no browser that needs a terminal
                serve(read)
        finally:
            os._exit(0)

    def _launch(url: str) -> None:
        """Launch the browser in a process: some launchers return only when the page is closed."""
        try:
            child = os.fork()
        except OSError:
            return  # EAGAIN: no process can start now; the next key press tries again
        if child:
            return
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            import webbrowser  # slow to import, and seldom needed

            webbrowser.open(url)
        finally:
            os._exit(0)  # whatever the launcher did, this fork must end here
