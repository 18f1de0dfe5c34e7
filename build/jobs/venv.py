"""The virtual environment that all jobs run in."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

from build.jobs import debian
from build.jobs.paths import LOCK, PYTHON, ROOT, VENV
from build.jobs.tools import CannotError, digest, must, pip, plain_environ, say

MADE_FROM = VENV / "made-from"
"""File with the stamp of what .venv was made from, see ``venv_stamp``."""


def ensure_venv() -> None:
    """Make .venv from the lock, with an editable install of the project, unless the one there is up to date."""
    if not LOCK.exists():
        message = f"{LOCK.relative_to(ROOT)} is missing: make it with python3 build/dev.py lock."
        raise CannotError(message)
    stamp = venv_stamp()
    if PYTHON.exists() and MADE_FROM.exists() and MADE_FROM.read_text(encoding="utf-8") == stamp:
        return
    began = time.monotonic()
    say(f"Making {VENV.name} from {LOCK.relative_to(ROOT)} ...")
    make_venv(VENV)
    locked = pip("install", "--no-deps", "--require-hashes", "-r", LOCK)
    must(locked, "pip could not install the lock; its own words are above")
    # hatchling is in the lock, so every download has a hash.
    project = pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
    must(project, "pip could not install this project into .venv; its own words are above")
    must(pip("check"), "the lock no longer fits pyproject.toml: renew it with python3 build/dev.py lock")
    MADE_FROM.write_text(stamp, encoding="utf-8")
    say(f"Made {VENV.name} in {time.monotonic() - began:.1f} s.")


def venv_stamp() -> str:
    """Return a text that changes whenever .venv has to be made anew.

    It has the lock, the project's metadata, the version of this Python, and the folder.
    """
    with (ROOT / "pyproject.toml").open("rb") as file:
        pyproject = tomllib.load(file)
    parts = [
        digest(LOCK.read_bytes()),
        digest(repr([pyproject["build-system"], pyproject["project"]]).encode()),
        "{}.{}".format(*sys.version_info),
        str(VENV),
    ]
    return "\n".join(parts) + "\n"


def make_venv(folder: Path) -> None:
    """Make a virtual environment with pip only. First install the part of Python that Debian has in another package."""
    if not has_ensurepip() and not (debian.install("python3-venv", "python3 -m venv") and has_ensurepip()):
        if debian.completes_python():
            message = f"this Python cannot make a virtual environment; run: {debian.command('python3-venv')}"
        else:
            message = f"{base_python()} has no ensurepip module: install a complete Python 3.11 or later."
        raise CannotError(message)
    must([base_python(), "-m", "venv", "--clear", folder], f"{base_python()} could not make {folder}")


def has_ensurepip() -> bool:
    """Ask the Python that will make the environment whether it has the module. It may have got it just now."""
    command = [base_python(), "-c", "import ensurepip, venv; ensurepip.version()"]
    return subprocess.run(command, env=plain_environ(), stderr=subprocess.DEVNULL, check=False).returncode == 0


def base_python() -> str:
    """Find the Python behind a virtual environment that we may have been started in."""
    return getattr(sys, "_base_executable", None) or sys.executable
