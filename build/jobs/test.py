"""The job that runs everything."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from build.jobs.debian import command
from build.jobs.lanes import Work, at_once
from build.jobs.lint import lint_steps
from build.jobs.needs import IP, install_all, ready
from build.jobs.paths import BACKEND_EXAMPLE, EXAMPLE, PLUGIN, PROJECTS, PYTHON, WORKFLOW_LINT
from build.jobs.rust import PLUGIN_CHECKS, WINDOW_TESTS, build_tauri_first, fetch_crates, tauri_steps
from build.jobs.steps import Steps
from build.jobs.suites import (
    FROZEN_NAME,
    FROZEN_WINE_NAME,
    WINE_NAME,
    frozen_steps,
    frozen_wine_steps,
    source_steps,
    source_works,
    wine_steps,
)
from build.jobs.tools import say

PURE_FILES = "sidecar/core/*,sidecar/protocol/*"
ONLY_A_PART = "only a part of the tests was asked for"
COVERAGE = "--coverage"
GATE = "coverage of core and protocol is 100 %"


def test(arguments: Sequence[str]) -> int:
    """Run everything that guards the project: lint, all tests, and the gate: core and protocol are covered whole.

    It installs what it needs before the first test. Every step runs, whatever failed before it. The summary at the end
    has each step with its time, the slowest tests, and the skips with their reasons. Tests run in several lanes at
    once, because most of them wait. Arguments go to pytest (-k, a path, -x, ...). Then only those tests run, without
    lint and the gate. With --coverage all tests from source are measured, and so are the sidecar's own processes, which
    nearly doubles the work.
    """
    measured = COVERAGE in arguments
    arguments = [word for word in arguments if word != COVERAGE]
    env = ready(packages=[EXAMPLE, BACKEND_EXAMPLE, PLUGIN, PROJECTS, WORKFLOW_LINT])
    steps = Steps(env)
    if arguments:
        a_part(steps, arguments, measured=measured)
        return steps.summary()
    install_all(env)
    fetch_crates(env)
    build_tauri_first(steps)
    coverage(steps, "erase")
    at_once(
        steps,
        [
            Work("lint", lint_steps, 80),
            *source_works(measured=measured),
            Work("frozen", frozen_steps, 300),
            Work("Wine", wine_steps, 500),
            Work("Wine, frozen", frozen_wine_steps, 450),
            Work("Tauri", tauri_steps, 700),
        ],
    )
    coverage(steps, "combine", "--quiet")
    if measured:
        report(steps)
    steps.run(GATE, [PYTHON, "-m", "coverage", "report", f"--include={PURE_FILES}", "--fail-under=100"])
    return steps.summary()


def a_part(steps: Steps, arguments: Sequence[str], *, measured: bool) -> None:
    """Run the tests from source that were asked for."""
    if sys.platform == "linux" and not IP.got(steps.env):
        say(f"The tests of lost networks need ip and will be skipped; it comes with: {command(IP.packages)}")
    if measured:
        coverage(steps, "erase")
    source_steps(steps, "pytest", arguments, measured=measured)
    if measured:
        coverage(steps, "combine", "--quiet")
        report(steps)
    for name in ("lint", FROZEN_NAME, WINE_NAME, FROZEN_WINE_NAME, PLUGIN_CHECKS, WINDOW_TESTS, GATE):
        steps.skip(name, ONLY_A_PART)


def coverage(steps: Steps, *words: str) -> None:
    """Run a command of coverage on its data."""
    steps.run(f"coverage {words[0]}", [PYTHON, "-m", "coverage", *words], quiet=True)


def report(steps: Steps) -> None:
    """Print the coverage of each file."""
    steps.run("coverage of all of it", [PYTHON, "-m", "coverage", "report"])
