"""The groups of tests: from source, with the frozen binary, under Wine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from build.jobs import debian
from build.jobs.lanes import Work
from build.jobs.needs import MAKENSIS, MINGW, ensure_freezer, ensure_wine, wine_folder
from build.jobs.paths import BUILD, PYTHON, ROOT
from build.jobs.rust import APP_TESTS
from build.jobs.steps import Steps, frozen, pytest_step
from build.jobs.tools import CannotError
from build.jobs.wine10 import wine_10_steps

PURE = "core and protocol"
"""The group that has to reach each branch of these two. They do not touch the system, so tests can."""

GROUPS: dict[str, tuple[float, tuple[str, ...]]] = {
    "commands": (120, ("tests/commands",)),
    "dev": (60, ("tests/commands/dev", "tests/terminal")),
    PURE: (30, ("tests/core", "tests/protocol")),
    "host": (60, ("tests/host", "tests/services", "tests/state", "tests/runtime")),
    "e2e": (90, ("tests/e2e",)),
    "projects": (100, ("tests/projects",)),
    "faults": (90, ("tests/faults",)),
    "deaths": (90, tuple(f"tests/faults/test_{it}.py" for it in ("darwin_death", "death", "matrix", "odd"))),
    "rest": (120, ("tests",)),
}
"""The tests from source: usual seconds on two busy cores, and paths. A group leaves out the paths of other groups."""

FROZEN_TESTS: dict[str, tuple[str, ...]] = {
    "linux": (
        "tests/frozen",
        *(f"tests/dist/test_{it}.py" for it in ("npm", "pypi")),
        "tests/test_cli.py",
        *(f"tests/commands/dev/test_{it}.py" for it in ("terminal", "piped", "opener", "vite")),
        *(f"tests/e2e/test_{it}.py" for it in ("life", "stdin_guard", "surroundings")),
        *(f"tests/commands/test_{it}.py" for it in ("prove", "ps")),
        *(f"tests/faults/test_{it}.py" for it in ("clients", "matrix", "nested", "soak")),
        *(f"tests/faults/test_{it}.py" for it in ("inherited", "late_imports", "wedged")),
        *(f"tests/faults/test_system_{it}.py" for it in ("fork", "limits", "surroundings")),
    ),
    "win32": ("tests/windows", "tests/test_cli.py"),
    "darwin": ("tests/posix", "tests/test_cli.py"),
}
"""Tests that a frozen sidecar could fail although one from source passes; tests/README.md gives the reasons. All others
run the same code in the same Python. On systems with few of these tests, CI also runs the demo with the binary
(.github/workflows/ci.yml)."""

FROZEN_WINE_TESTS = tuple(f"tests/windows/test_{it}.py" for it in ("commands", "death", "frozen", "session", "vite"))
"""Tests of the frozen sidecar under Wine. From source, all of Windows' tests run there."""

NEWER_WINE_TESTS = tuple(f"tests/windows/test_{it}.py" for it in ("contract", "paths", "session", "windows"))
"""The quick Windows tests, which also run on a newer Python."""

FROZEN_NAME = "pytest of the frozen binary"
WINE_NAME = "pytest of Windows under Wine"
FROZEN_WINE_NAME = f"{WINE_NAME}, frozen"
SIGKILL_NAME = "SIGKILL of Windows programs"


def source_works(*, measured: bool = False) -> list[Work]:
    """Return all tests from source, in groups that may run at the same time. Unless ``measured``, only PURE is."""

    def work(name: str) -> Work:
        def do(steps: Steps) -> None:
            source_steps(steps, f"pytest of {name}", arguments_of(name), measured=measured or name == PURE)

        return Work(f"source: {name}", do, GROUPS[name][0])

    return [work(name) for name in GROUPS]


def arguments_of(name: str) -> list[str]:
    """Return pytest's words for a group: its paths, without those of other groups."""
    own = GROUPS[name][1]
    others = [path for other, (_, paths) in GROUPS.items() if other != name for path in paths]
    inside = [path for path in (*others, *APP_TESTS) if any(path.startswith(f"{it}/") for it in own)]
    return [*own, *(f"--ignore={path}" for path in inside)]


def source_steps(steps: Steps, name: str, arguments: Sequence[str], *, measured: bool) -> None:
    """Run tests from source. If ``measured``, coverage records which lines pytest and the sidecar's processes run."""
    under = ["-m", "coverage", "run"] if measured else []
    program: list[str | Path] = [PYTHON, *under, "-m", "pytest", "-ra", "--color=no"]
    # each Python of .venv reads COVERAGE_PROCESS_START when it starts
    more = {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(ROOT / ".coverage")}
    pytest_step(steps, name, arguments, program=program, variables=more if measured else None)


def frozen_steps(steps: Steps) -> None:
    """Freeze the sidecar, and run the tests that could differ with the binary."""
    try:
        ensure_freezer(steps.env)
    except CannotError as problem:
        steps.skip(FROZEN_NAME, str(problem))
        return
    with frozen(steps) as binary:
        if binary:
            pytest_step(steps, FROZEN_NAME, FROZEN_TESTS[sys.platform], variables=binary)


def wine_steps(steps: Steps) -> None:
    """Run the tests of Windows under Wine, from source."""
    if not has_wine(steps, WINE_NAME):
        return
    wine = wine_program()
    with wine_session(steps, wine):
        pytest_step(steps, WINE_NAME, [], program=[*wine, "pytest"])
        # Python 3.12 turns file modes into access lists, and gets the machine's name in another way
        pytest_step(steps, f"{WINE_NAME}, Python 3.12", NEWER_WINE_TESTS, program=[*wine, "pytest-3.12"])
        pytest_step(steps, SIGKILL_NAME, ["tests/wine"], variables=in_wine())
    wine_10_steps(steps)


def frozen_wine_steps(steps: Steps) -> None:
    """Freeze the sidecar under Wine, and run those of Windows' tests that could differ with the binary."""
    if not has_wine(steps, FROZEN_WINE_NAME):
        return
    if not MAKENSIS.got(steps.env):
        steps.skip("installer of Windows", f"it is missing; it comes with: {debian.command(MAKENSIS.packages)}")
    vite = MINGW.got(steps.env)  # else its test is skipped
    wine = wine_program()
    with wine_session(steps, wine), tempfile.TemporaryDirectory(prefix="sidecar-wine-") as folder:
        steps.run("freeze under Wine", [*wine, "freeze", "--out", folder])
        for binary in Path(folder).glob("*.exe"):
            variables = in_wine() | {"SIDECAR_BINARY": str(binary)}
            pytest_step(steps, FROZEN_WINE_NAME, FROZEN_WINE_TESTS, program=[*wine, "pytest"], variables=variables)
            pytest_step(steps, f"{SIGKILL_NAME}, frozen", ["tests/wine"], variables=variables)
            demo = "demo under Wine, frozen"
            if vite:
                steps.run(demo, [*wine, "demo"], variables=variables)
            else:
                steps.skip(demo, f"{MINGW.name} is missing; it comes with: {debian.command(MINGW.packages)}")


def has_wine(steps: Steps, name: str) -> bool:
    """Tell whether there is a Wine to run a step in; if not, remember that it was left out, and why."""
    if sys.platform != "linux":
        steps.skip(name, "Wine is used on Linux only")
        return False
    try:
        ensure_wine(steps.env)
    except CannotError as problem:
        steps.skip(name, str(problem))
        return False
    return True


def wine_program() -> list[str | Path]:
    """Return the words that run build/wine.py."""
    return [PYTHON, BUILD / "wine.py", wine_folder()]


def in_wine() -> dict[str, str]:
    """Return the variable that tells tests/wine where the Windows Python is."""
    return {"SIDECAR_WINE": str(wine_folder())}


@contextmanager
def wine_session(steps: Steps, wine: Sequence[str | Path]) -> Iterator[None]:
    """Keep one session of Wine for all steps. Else its server and services would start and end with each step."""
    with subprocess.Popen(
        [*wine, "session"],
        cwd=ROOT,
        env=steps.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as session:
        if session.stdin is None or session.stdout is None:
            raise AssertionError("Popen was told to make pipes")
        for line in session.stdout:  # it may first make the Python, which takes minutes; print its lines
            if line == "session\n":
                break
            print(line, end="", file=steps.log, flush=True)
        yield
        session.stdin.close()
