"""Tries of set-ups, two at a time."""

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
"""They mostly wait."""


@dataclass(frozen=True)
class Result:
    """How a try went."""

    name: str
    setup: Setup
    fault: str
    """Empty: as it must be."""
    ms: int


def attempt(name: str, setup: Setup, source: Path) -> Result:
    """Try a set-up."""
    with _FOLDERS[setup.framework] if setup.framework else nullcontext():
        return _attempt(name, setup, source)


_FOLDERS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""All set-ups of a framework are tried in the one folder that has its packages."""


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
            except Exception:  # noqa: BLE001  one set-up's mistake must not hide how the others go
                faults.append(traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(name, setup, "\n".join(faults), round((time.monotonic() - began) * 1000))


@contextmanager
def attempts(chosen: dict[str, tuple[Setup, Path]]) -> Iterator[dict[str, Future[Result]]]:
    """Try them all, ``AT_ONCE`` at a time, in this order; those that were not begun at the end are not tried."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {name: pool.submit(attempt, name, setup, source) for name, (setup, source) in chosen.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def missing() -> str | None:
    """Why none can be tried here; ``None`` if they can."""
    if shutil.which("node") is None:
        return "there is no node on PATH"
    if not (PROJECTS / "node_modules" / "vite").is_dir():
        return "the npm packages of tests/projects are not installed (npm ci)"
    return None


def possible(setups: dict[str, tuple[Setup, Path]]) -> dict[str, tuple[Setup, Path]]:
    """Those that can be tried here."""
    return {
        name: (setup, source)
        for name, (setup, source) in setups.items()
        if (setup.framework is None or "SIDECAR_FRAMEWORKS" in os.environ)
        and (BINARY is None or (setup.frozen and not setup.rich))
        and (not setup.prefix or os.geteuid() == 0)
    }


def quick(setups: dict[str, tuple[Setup, Path]]) -> list[str]:
    """Names of those that the test command tries; of the frozen binary, which has the same code, one of each folder."""
    return [
        name
        for name, (setup, source) in possible(setups).items()
        if not setup.long and setup.framework is None and (BINARY is None or name == source.name)
    ]
