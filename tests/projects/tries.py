"""Run set-ups, two at a time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "linux":
    raise ImportError("see case.py")

from tests.projects.case import Case
from tests.projects.setups import PROJECTS, Setup
from tests.support.command import BINARY

AT_ONCE = 2
"""Set-ups that run at once. They mostly wait."""


@dataclass(frozen=True)
class Result:
    """The result of one set-up."""

    name: str
    setup: Setup
    fault: str
    """Why it failed; empty if it passed."""
    ms: int


def attempt(name: str, setup: Setup, source: Path) -> Result:
    """Try a set-up."""
    with _FOLDERS[setup.framework] if setup.framework else nullcontext():
        return _attempt(name, setup, source)


_FOLDERS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""A lock for each framework: its set-ups share the folder with its packages."""


def _attempt(name: str, setup: Setup, source: Path) -> Result:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sidecar-project-")).resolve()
    faults = []
    try:
        case = Case(setup, source, folder)
        for part in (case.perform, case.close):
            try:
                part()
            except AssertionError as fault:
                faults.append(str(fault))
            except Exception:  # noqa: BLE001  an error in one set-up must not hide the others' results
                faults.append(traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(name, setup, "\n".join(faults), round((time.monotonic() - began) * 1000))


@contextmanager
def attempts(chosen: dict[str, tuple[Setup, Path]]) -> Iterator[dict[str, Future[Result]]]:
    """Run the set-ups in this order, ``AT_ONCE`` at a time. At the end of the block, begin no further one."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {name: pool.submit(attempt, name, setup, source) for name, (setup, source) in chosen.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def missing() -> str | None:
    """Return why this machine cannot run set-ups; ``None`` if it can."""
    if shutil.which("node") is None:
        return "no node on PATH"
    if not (PROJECTS / "node_modules" / "vite").is_dir():
        return "the npm packages of tests/projects are not installed (npm ci)"
    return None


def possible(setups: dict[str, tuple[Setup, Path]]) -> dict[str, tuple[Setup, Path]]:
    """Return the set-ups that this machine can run."""
    return {
        name: (setup, source)
        for name, (setup, source) in setups.items()
        if (setup.framework is None or "SIDECAR_FRAMEWORKS" in os.environ)
        and (BINARY is None or (setup.frozen and not setup.rich))
        and (not setup.prefix or os.geteuid() == 0)
    }


def quick(setups: dict[str, tuple[Setup, Path]]) -> list[str]:
    """Return the names of the set-ups that the ``test`` job runs; for a frozen binary, one of each folder."""
    return [
        name
        for name, (setup, source) in possible(setups).items()
        if not setup.long and setup.framework is None and (BINARY is None or name == source.name)
    ]
