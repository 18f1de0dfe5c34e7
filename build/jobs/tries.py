"""The jobs that show the sidecar, measure it, and try to break it."""

from __future__ import annotations

from collections.abc import Sequence

from build.jobs.needs import ensure_screen, ensure_tauri, ready
from build.jobs.node import ensure_frameworks
from build.jobs.paths import BUILD, EXAMPLE, PEERS, PROJECTS, PYTHON
from build.jobs.tools import CannotError, become, say


def demo(arguments: Sequence[str]) -> int:
    """Show the main job by doing it: a busy port, a real Vite, a hot update, the app's death, and no survivors.

    Arguments go to build/demo.
    """
    env = ready(packages=[EXAMPLE])
    become([PYTHON, BUILD / "demo", *arguments], env)


def run(arguments: Sequence[str]) -> int:
    """Start the example in the terminal: sidecar dev tauri-integration/examples/vite-app.

    Arguments go to sidecar dev (--port N, --open, --json, ...).
    """
    env = ready(packages=[EXAMPLE])
    become([PYTHON, "-m", "sidecar", "dev", EXAMPLE, *arguments], env)


def bench(arguments: Sequence[str]) -> int:
    """Measure us and our peers side by side in one run.

    Arguments go to tests/bench.
    """
    env = ready(packages=[EXAMPLE, PEERS])
    try:
        ensure_tauri(env)
        ensure_screen(env)
    except CannotError as problem:
        say(f"The bench of the app's window is left out: {problem}")
    become([PYTHON, "-m", "tests.bench", *arguments], env)


def projects(arguments: Sequence[str]) -> int:
    """Try the sidecar on projects that people have, each a folder in tests/projects, and print a table.

    Arguments go to tests/projects: NAME ... (as in 'https*'), --list, --wait SECONDS. SIDECAR_BINARY names a frozen
    binary to try in place of the source. The frameworks, 1.5 GB with their packages and a newer node, stay in the
    user's cache folder; --no-frameworks leaves them out.
    """
    env = ready(packages=[PROJECTS])
    words = [word for word in arguments if word != "--no-frameworks"]
    if len(words) == len(arguments) and "--list" not in words:
        ensure_frameworks(env, [word for word in words if not word.startswith("-")])
    become([PYTHON, "-m", "tests.projects", *words], env)


def faults(arguments: Sequence[str]) -> int:
    """Run the whole fault matrix: which process dies, how, when, with which tree and layers; half an hour.

    Arguments go to tests/faults/matrix.py: --seed N, --cells PATTERN, --jobs N, --list. SIDECAR_BINARY names a frozen
    binary to try in place of the source, and adds its bootloader to the victims.
    """
    become([PYTHON, "-m", "tests.faults.matrix", *arguments], ready(packages=[EXAMPLE]))


def soak(arguments: Sequence[str]) -> int:
    """Strike three apps with random faults again and again, and check that nothing grows.

    Arguments go to tests/faults/soak.py: --cycles N, --seed S, --first N.
    """
    become([PYTHON, "-m", "tests.faults.soak", *arguments], ready())


def fuzz(arguments: Sequence[str]) -> int:
    """Try the parsers (of lines, a project's texts, records, the kernel's tables) on new examples; ten minutes.

    Arguments go to tests/fuzz: --minutes N, --examples N, --seed S, -k NAME. For each finding it prints a command that
    finds it again.
    """
    become([PYTHON, "-m", "tests.fuzz", *arguments], ready())
