"""Parts of the tests of the standalone view: a real terminal around ``sidecar dev``."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

assert sys.platform == "linux"  # for mypy: what follows exists on Linux; conftest.py leaves these tests out elsewhere

from tests.e2e.support import ROOT, descendants
from tests.support.command import BINARY, SIDECAR
from tests.support.liveness import await_end, open_pidfd, send
from tests.support.waiting import WAIT_S

SERVER = Path(__file__).parent / "children" / "server.py"
PYTHON = (sys.executable, "-I", "-S")
SERVICE = (*PYTHON, str(SERVER), "{port}")
END = b"\x00end of what was written\x00"
CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")

with_rich = pytest.mark.skipif(BINARY is not None, reason="colours and a status line need rich, which the binary lacks")

Modes = list[Any]
"""The result of ``termios.tcgetattr``."""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return our environment, without variables that change colours and buffering, and with a new state folder."""
    unset = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLORTERM", "LC_ALL", "LC_CTYPE", "LANG", "BROWSER"}
    unset |= {"PYTHONIOENCODING", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    defaults = {
        "SIDECAR_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
    }
    return {**kept, **defaults, **more}


def command(*words: str, sidecar: Sequence[str] = SIDECAR) -> list[str]:
    """Return the command line of ``sidecar dev`` with these words."""
    return [*sidecar, "dev", *words]


class Watched:
    """A run's processes, watched by pidfds."""

    def __init__(self, pid: int) -> None:
        """Take ``pid`` and its present descendants."""
        found = descendants(pid)
        parents = set()
        for process in found:
            with suppress(psutil.NoSuchProcess):  # it has ended since the listing
                parents.add(process.ppid())
        # processes with children first: the supervisor before its sibling, the keeper, whose pid may be lower
        found.sort(key=lambda process: process.pid not in parents)
        held = [(process.pid, open_pidfd(process.pid)) for process in found]
        self._fds = {pid: fd for pid, fd in held if fd is not None}

    @property
    def pids(self) -> list[int]:
        """The pids. The first is the given one. If that is the guard, the second is the supervisor.

        The last is a program of the service.
        """
        return list(self._fds)

    def kill(self, pid: int, number: int) -> None:
        """Signal one of them."""
        send(self._fds[pid], number)

    def await_gone(self) -> None:
        """Wait until all of them are dead."""
        for pid, fd in self._fds.items():
            await_end(fd, f"process {pid}")

    def close(self) -> None:
        """Fail if a process still lives, and kill it."""
        for fd in self._fds.values():
            send(fd, signal.SIGKILL)
            os.close(fd)


class Terminal:
    """A terminal with a program that leads its session. A thread always reads its output."""

    def __init__(
        self,
        argv: list[str],
        cwd: Path,
        env: dict[str, str],
        *,
        rows: int = 30,
        columns: int = 120,
        controlling: bool = True,
    ) -> None:
        """Start it. A terminal that is not ``controlling`` sends neither Ctrl-C's signal nor SIGHUP."""
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self.slave = os.dup(slave)
        """Kept open, so that the terminal survives the program, as one with a shell does."""
        self.modes_before = termios.tcgetattr(slave)
        self._seen = bytearray()
        self._changed = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._watched: list[Watched] = []
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal if controlling else None,  # noqa: PLW1509  one system call, no lock
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            error.add_note(f"{self.state()}; the terminal has:\n{self.text()[-4000:]}")
        left = Watched(self.process.pid) if self.process.poll() is None else None
        self.process.kill()
        self.process.wait()
        for watched in (*self._watched, *([left] if left else [])):
            watched.close()
        self._reading.set()
        self.hang_up()
        self._reader.join(WAIT_S)
        fault = re.search(r"(?m)^(sidecar error: )?(Traceback|Exception in thread)[^\x00]*", self.text())
        assert fault is None, fault[0]

    def hang_up(self) -> None:
        """Close the terminal window."""
        slave, self.slave = self.slave, -1
        if slave >= 0:
            with suppress(OSError):  # EIO: the reader has already noticed it
                os.write(slave, b"\x00")  # wakes the reader, which closes the other end
            os.close(slave)

    def _read(self) -> None:
        while True:
            self._reading.wait()
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: nobody has the other end open any more
                data = b""
            if not data or self.slave < 0:
                break
            with self._changed:
                self._seen += data
                self._changed.notify_all()
        os.close(self.master)

    # ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def raw(self, since: int = 0) -> bytes:
        """All output to the terminal."""
        with self._changed:
            return bytes(self._seen[since:])

    def text(self, since: int = 0) -> str:
        """The output without colours and cursor movements."""
        return CONTROL.sub(b"", self.raw(since)).decode("utf-8", "replace")

    def mark(self) -> int:
        """Return the length of the output so far, for ``wait``. Output that was not read yet counts as well."""
        self._read_up()
        with self._changed:
            return len(self._seen)

    def _read_up(self) -> None:
        """Wait until everything written so far has been read: write a marker, and wait until it has been read.

        Without this, a test whose reader lags could find a prompt that was written before its mark.
        """
        if self.slave < 0 or not self._reading.is_set():
            return
        os.write(self.slave, END)
        with self._changed:
            assert self._changed.wait_for(lambda: END in self._seen, WAIT_S), "the terminal's reader hangs"
            self._seen[:] = self._seen.replace(END, b"")

    def wait(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until the regular expression is found in the text; return the match."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while True:
                text = self.text(since)
                if found := re.search(pattern, text):
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"timed out waiting for {pattern!r}; {self.state()}; the terminal has:\n{text[-4000:]}"
                self._changed.wait(left)

    def freeze(self) -> None:
        """Stop reading, so that the terminal fills up."""
        self._reading.clear()

    # ── the user's actions ───────────────────────────────────────────────────────────────────────────────────────────

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Resize the window."""
        termios.tcsetwinsize(self.master, (rows, columns))

    def modes(self) -> Modes:
        """Return the terminal's modes."""
        return termios.tcgetattr(self.slave)

    def echoes(self) -> bool:
        """Return whether the terminal echoes input. It does not while the view has it."""
        return bool(self.modes()[3] & termios.ECHO)

    def foreground(self) -> int:
        """Return the terminal's foreground process group."""
        return os.tcgetpgrp(self.master)

    def state(self) -> str:
        """Describe the terminal and its processes, for the message of a failure."""
        found = []
        for process in descendants(self.process.pid):
            with suppress(psutil.NoSuchProcess):  # it has ended since the listing
                found.append(f"{process.pid} {process.name()} {process.status()}")
        code, group = self.process.poll(), self.foreground()
        return f"exit code {code}, foreground group {group}, modes {self.modes()}, processes {found}"

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self) -> Watched:
        """Watch all its present processes."""
        watched = Watched(self.process.pid)
        self._watched.append(watched)
        return watched

    def exit_code(self) -> int:
        """Wait for its end, and until all its output was read; return the exit code."""
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; the terminal has:\n{self.text()[-4000:]}") from None
        self._read_up()
        return code


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def ask(url: str, path: str) -> None:
    """Make the service do something. It may die of that before it answers."""
    host, _, port = url.removeprefix("http://").strip("/").partition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        with suppress(ConnectionError):  # it is dead
            sock.recv(4096)
