#!/usr/bin/env python3
"""Everything a developer runs, from a bare checkout: python3 build/dev.py JOB [ARGUMENTS].

This uses the standard library only. A job first makes what it needs: .venv from build/requirements.lock, node and npm,
the example's packages. If it cannot, it ends with one sentence that says what to install.

It installs Debian packages with --install or CI=true, and never with --no-install. Without these it asks, if there is a
terminal. Without a terminal it installs as root, as in a bare container; as another user it names the command.
"""

from __future__ import annotations

import inspect
import io
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

OLDEST_PYTHON = (3, 11)
if sys.version_info < OLDEST_PYTHON:  # before the first import of ours, which an older Python cannot parse
    FOUND = ".".join(str(part) for part in sys.version_info[:3])
    print(f"build/dev.py needs Python 3.11 or later, and {sys.executable} is {FOUND}: run it with a newer python3.")
    sys.exit(2)

# PyPI has a package named build. If this Python has it, an import would find it instead of this folder, which has no
# __init__.py.
PACKAGE = types.ModuleType("build")
PACKAGE.__path__ = [str(Path(__file__).resolve().parent)]
sys.modules["build"] = PACKAGE

from build.jobs import check, debian, lint, locks, rust, ship, site, test, tries, wine10  # noqa: E402 (see above)
from build.jobs.tools import CannotError, say  # noqa: E402

JOBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": tries.demo,
    "test": test.test,
    "check": check.check,
    "run": tries.run,
    "bench": tries.bench,
    "projects": tries.projects,
    "faults": tries.faults,
    "soak": tries.soak,
    "fuzz": tries.fuzz,
    "freeze": ship.freeze,
    "wine10": wine10.wine10,
    "plugin": rust.plugin,
    "tauri3": rust.tauri3,
    "app": rust.app,
    "package": ship.package,
    "backend": ship.backend,
    "dist": ship.dist,
    "docs": site.docs,
    "version": ship.version,
    "lint": lint.lint,
    "lock": locks.lock,
}
"""The jobs by name. A new job is a function with a docstring, in a module of build/jobs."""


def main(argv: Sequence[str]) -> int:
    """Run the job named first in argv with the rest as its arguments."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a Windows code page may lack a character: print ? then
    name, *arguments = argv or ["--help"]
    if name in {"-h", "--help", "help"}:
        say(overview())
        return 0 if argv else 2
    if name not in JOBS:
        say(f"There is no job named {name}. The jobs are: {', '.join(JOBS)}.")
        return 2
    if arguments[:1] in (["-h"], ["--help"]):
        say(f"python3 build/dev.py {name} [ARGUMENTS]\n\n{inspect.getdoc(JOBS[name])}")
        return 0
    try:
        return JOBS[name](debian.take_words(arguments))
    except CannotError as problem:
        say(f"\nCannot go on: {problem}")
        return 3
    except KeyboardInterrupt:
        return 130


def overview() -> str:
    """Return the help text: this file's own docstring and the first line of each job's."""
    lines = [(job.__doc__ or "").splitlines()[0] for job in JOBS.values()]
    jobs = "\n".join(f"  {name:<8} {line}" for name, line in zip(JOBS, lines, strict=True))
    return f"{__doc__}\nJobs:\n{jobs}\n\npython3 build/dev.py JOB --help says more about one."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
