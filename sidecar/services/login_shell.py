"""Ask the login shell for its PATH. A desktop starts programs without it.

The shell's startup files may do anything: print, wait for a key, start programs. So the shell gets no stdin and no
terminal, its answer stands between two marks, it has five seconds, and the answer is cached.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import msgspec
from msgspec import Struct

from sidecar.diagnostics import say
from sidecar.files import parse_json
from sidecar.state import run_record

SHELL_S = 5.0
"""The bound for the shell. With many plugins it takes a second or two. One that takes longer will never answer."""

KEPT_S = 86_400
"""How long an answer counts: a day, or until a startup file changes."""

SILENT_S = 60.0
"""Do not ask a silent shell again so soon: each restart of a service would wait for it."""

ANSWER_MOST = 1 << 20
"""Read no more output than this. A PATH is short, but a greeting may be long."""

FILE = "login-path.json"

_BEGIN, _END = "tauri-sidecar-path:", "tauri-sidecar-end"

_asking = threading.Lock()
"""Held while we ask, so that two services that start together ask once."""

_unanswered: list[tuple[float, Answer]] = []
"""The time of the last failure, and what it was. At most one entry."""


class Answer(Struct, frozen=True):
    """A PATH; if it is empty, ``problem`` says why, for people."""

    path: str = ""
    problem: str = ""


class _Kept(Struct):
    path: str
    shell: str
    files: dict[str, int]
    at: float


if sys.platform == "win32":

    def search_path() -> Answer:
        """Return nothing: on Windows every program gets the user's PATH."""
        return Answer()

else:
    import select
    import signal
    import subprocess

    _FILES = (
        *("/etc/profile", "/etc/paths", "/etc/zprofile", "/etc/zshenv", "/etc/bash.bashrc"),
        *("~/.profile", "~/.bash_profile", "~/.bash_login", "~/.bashrc"),
        *("~/.zshenv", "~/.zprofile", "~/.zshrc", "~/.zlogin", "~/.config/fish/config.fish"),
    )
    """Startup files. We notice a change in a file that they include only after a day."""

    def search_path() -> Answer:
        """Return the login shell's PATH, from the cache if it is there."""
        with _asking:
            shell = os.environ.get("SHELL") or _users_shell()
            files = {file: changed for file in _FILES if (changed := _changed(os.path.expanduser(file)))}
            kept = _read()
            if kept is not None and kept.shell == shell and kept.files == files and 0 <= time.time() - kept.at < KEPT_S:
                return Answer(kept.path)
            if _unanswered and time.monotonic() - _unanswered[-1][0] < SILENT_S:
                return _unanswered[-1][1]
            answer = _ask(shell)
            if answer.path:
                _write(_Kept(answer.path, shell, files, time.time()))
            else:
                _unanswered[:] = [(time.monotonic(), answer)]
            return answer

    def _users_shell() -> str:
        import pwd

        try:
            return pwd.getpwuid(os.getuid()).pw_shell
        except KeyError:
            return "/bin/sh"  # a user without an entry, as in a container

    def _changed(file: str) -> int:
        try:
            return os.stat(file).st_mtime_ns
        except OSError:
            return 0  # most of them do not exist

    def _read() -> _Kept | None:
        try:
            return parse_json(run_record.read_file(FILE), _Kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None  # there is none yet, or it is unreadable: ask the shell

    def _write(kept: _Kept) -> None:
        try:
            run_record.write_file(FILE, msgspec.json.encode(kept))
        except (OSError, UnicodeEncodeError) as error:
            say("debug", f"the login shell's PATH cannot be kept: {error}")

    def _ask(shell: str) -> Answer:
        name = os.path.basename(shell)
        # printenv, not the shell, prints it: fish keeps PATH as a list
        words = [shell, "-ilc", f"echo {_BEGIN}; /usr/bin/env printenv PATH; echo {_END}"]
        try:
            process = subprocess.Popen(
                words,
                cwd=os.path.expanduser("~"),  # not in the project: startup files may run programs of the current folder
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # without a terminal, so that it cannot ask a question there
            )
        except OSError as error:
            return Answer(problem=f"the login shell {shell} cannot be run ({error.strerror})")
        deadline = time.monotonic() + SHELL_S
        with process:
            said = _read_answer(process, deadline)
            try:
                process.wait(max(0.0, deadline - time.monotonic()) if said else 0)
            except subprocess.TimeoutExpired:
                _end(process)
        if said is None:
            return Answer(problem=f"the login shell {name} did not say its PATH within {SHELL_S:g} s")
        return Answer(said) if said else Answer(problem=f"the login shell {name} does not say its PATH")

    def _read_answer(process: subprocess.Popen[bytes], deadline: float) -> str | None:
        """Return the text between the marks; empty if the shell ends without it, ``None`` if the time is over."""
        assert process.stdout is not None
        fd = process.stdout.fileno()
        said = b""
        while len(said) < ANSWER_MOST:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(fd, 65_536)
            said += chunk
            answer, end, _ = said.partition(f"{_BEGIN}\n".encode())[2].partition(f"{_END}\n".encode())
            if end:
                return os.fsdecode(answer).strip("\n")  # do not wait for EOF: another program may hold the pipe
            if not chunk:
                return ""
        return ""

    def _end(process: subprocess.Popen[bytes]) -> None:
        """Kill the shell and its descendants."""
        import psutil

        try:
            below = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            below = []  # it has ended just now
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # the group has ended, or has only zombies (macOS)
        for each in below:
            try:
                each.kill()  # it may be in another session; psutil checks its start time first
            except psutil.Error:
                pass  # it has ended, or is another user's
