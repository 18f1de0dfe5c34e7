"""The job of the inner loop."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import PurePath

from build.jobs.lanes import Work, at_once
from build.jobs.lint import contracts_step, mypy_step, ruff_steps, workflow_step
from build.jobs.needs import ready
from build.jobs.paths import BACKEND_EXAMPLE, EXAMPLE, PLUGIN, ROOT, WORKFLOW_LINT
from build.jobs.rust import format_steps, type_steps
from build.jobs.steps import Steps, pytest_step
from build.jobs.tools import which

CORE_TESTS = ("tests/core",)
OTHER_TESTS = ("tests/protocol", "tests/services", "tests/config", "tests/test_jobs.py")
"""Tests that start few processes or none, and take seconds."""


def check(arguments: Sequence[str]) -> int:
    """Check what has changed since the last commit, in less than a minute: the inner loop, and the pre-commit hook.

    Lint of the changed files, types for this platform, and the tests of core, protocol, services and configuration.
    Arguments go to pytest (-k, -x, ...); paths among them are tested in place of those.
    """
    env = ready(packages=[EXAMPLE, BACKEND_EXAMPLE, PLUGIN, WORKFLOW_LINT])
    steps = Steps(env)
    changed_steps(steps, changed_files())
    works = [Work("check: types", mypy_step, 20)]
    if any(not it.startswith("-") and (ROOT / it.partition("::")[0]).exists() for it in arguments):
        works.append(Work("check: the tests asked for", lambda it: pytest_step(it, "pytest", arguments), 15))
    else:
        works += [
            Work("check: core", lambda it: pytest_step(it, "pytest of core", [*CORE_TESTS, *arguments]), 15),
            Work("check: others", lambda it: pytest_step(it, "pytest of the rest", [*OTHER_TESTS, *arguments]), 10),
        ]
    at_once(steps, works)
    return steps.summary()


def changed_steps(steps: Steps, changed: Sequence[str] | None) -> None:
    """Add the lint of these files, or of all."""
    suffixes = {PurePath(it).suffix for it in changed or ()}
    if changed is None or ".py" in suffixes:
        ruff_steps(steps, [it for it in changed or () if it.endswith(".py")])
        contracts_step(steps)
    if changed is None or any(it.startswith(".github/workflows/") for it in changed):
        workflow_step(steps)
    if changed is None or ".rs" in suffixes:
        if which("cargo", steps.env):
            format_steps(steps)
        else:
            steps.skip("rustfmt", "it needs Rust: install it from https://rustup.rs.")
    if changed is None or suffixes & {".ts", ".tsx"}:
        type_steps(steps)


def changed_files() -> list[str] | None:
    """Return the files that are new or differ from the last commit, by paths from the root; None if git cannot tell."""
    asked = (
        ["git", "diff", "--name-only", "--diff-filter=d", "HEAD"],
        ["git", "ls-files", "--others", "--exclude-standard"],
    )
    found: list[str] = []
    for words in asked:
        try:
            answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None  # there is no git, or no repository
        found += answer.stdout.splitlines()
    return found
