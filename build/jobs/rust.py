"""The jobs for the Tauri plugin, its build helper and the example apps: cargo, npm, and tests in a real window."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from build.jobs.needs import ensure_backend, ensure_freezer, ensure_screen, ensure_tauri, ready
from build.jobs.paths import BACKEND_EXAMPLE, BUILD, BUILD_HELPER, CRATES, EXAMPLE, PLUGIN, PYTHON, WINDOWS
from build.jobs.steps import Steps, frozen, pytest_step
from build.jobs.tools import CannotError, become, digest, user_cache, which

FOREIGN_TARGETS: Mapping[str, Mapping[str, str]] = {
    "x86_64-pc-windows-gnu": {},
    "aarch64-apple-darwin": {"CC_aarch64_apple_darwin": "true", "AR_aarch64_apple_darwin": "true"},
}
"""Other targets that Linux checks the Rust for → the variables for that. Checking links nothing. On macOS a dependency
compiles ten lines of Objective-C, so a compiler that does nothing is enough."""

MADE = frozenset({"target", "node_modules", "dist", "gen", "binaries", "notes-backend"})
"""Folders that builds make beside the sources."""

NICE = () if WINDOWS else ("nice", "-n", "10")
"""Compilers run with low priority: some tests beside them wait only seconds."""

BUILT_ONCE = {"CARGO_INCREMENTAL": "0"}
"""For a run of all tests: it builds each crate once, so what incremental builds keep costs more than it gives."""

APP_TESTS = ("tests/app", "tests/commands/init/test_scaffolds.py")
"""These drive real apps in real windows, with the frozen binary inside. Cargo has to build them first."""
PLUGIN_CHECKS = "the Tauri plugin"
WINDOW_TESTS = "pytest of the app in a real window"


def plugin(arguments: Sequence[str]) -> int:
    """Check and test the Tauri plugin and the example app: rustfmt, clippy, cargo test and doc, tsc, guest-js.

    On Linux clippy also checks the code for Windows and macOS, if the Rust has changed since that last passed. This
    needs Rust, and WebKitGTK's Debian packages. Arguments go to cargo test.
    """
    env = ready(packages=[EXAMPLE, BACKEND_EXAMPLE, PLUGIN])
    ensure_tauri(env)
    steps = Steps(env)
    plugin_steps(steps, *arguments)
    return steps.summary()


def app(arguments: Sequence[str]) -> int:
    """Build the example app, and test it in a real window: under Xvfb, driven through WebKitWebDriver.

    It needs Rust, and Debian's packages for a window. Arguments go to pytest (-k, a path, -x, ...).
    SIDECAR_SCREENSHOTS=1 renews the pictures in the README.
    """
    env = ready(packages=[EXAMPLE, BACKEND_EXAMPLE, PLUGIN])
    ensure_tauri(env)
    ensure_screen(env)
    ensure_backend(env)
    paths = [word for word in arguments if word.startswith("tests/")]
    become([PYTHON, "-m", "pytest", "-ra", *([] if paths else APP_TESTS), *arguments], env)


def tauri3(arguments: Sequence[str]) -> int:
    """Tell whether the plugin, which is for Tauri 2, compiles against the newest alpha of Tauri 3. A failure is news.

    This needs Rust 1.95, and compiles for minutes. It takes no arguments.
    """
    argparse.ArgumentParser(prog="build/dev.py tauri3").parse_args(arguments)
    env = ready()
    ensure_tauri(env)
    # its own folder, so that no other job waits for its lock
    env["CARGO_TARGET_DIR"] = str(user_cache() / "tauri-sidecar" / "tauri3-target")
    become([PYTHON, BUILD / "tauri3.py"], env)


def tauri_steps(steps: Steps) -> None:
    """Check and test the plugin, then the example app in a real window. Skip what this machine lacks, and name it.

    They run one after the other: cargo builds one thing at a time in its folder, and an app's test waits only seconds.
    """
    try:
        ensure_tauri(steps.env)
    except CannotError as problem:
        for name in (PLUGIN_CHECKS, WINDOW_TESTS):
            steps.skip(name, str(problem))
        return
    steps.env |= BUILT_ONCE
    plugin_steps(steps)
    try:
        ensure_screen(steps.env)
        ensure_freezer(steps.env)
    except CannotError as problem:
        steps.skip(WINDOW_TESTS, str(problem))
        return
    try:
        ensure_backend(steps.env)
    except CannotError as problem:
        steps.skip(f"{WINDOW_TESTS}: the Python backend", str(problem))
    with frozen(steps) as binary:  # once for all: each app takes it, instead of freezing its own
        pytest_step(steps, WINDOW_TESTS, APP_TESTS, variables=binary)


def fetch_crates(env: dict[str, str]) -> None:
    """Fetch the crates' dependencies, so that tests beside the first build find them, too."""
    if which("cargo", env):
        for folder in CRATES:
            words = ["cargo", "fetch", "--quiet", "--locked", *manifest_of(folder)]
            subprocess.run(words, env=env, stdin=subprocess.DEVNULL, check=False)  # a build reports what is missing


def build_tauri_first(steps: Steps) -> None:
    """Build Tauri if this machine never has, before anything is tested.

    It takes both processors for minutes. Beside the tests it would take longer than all of them, and tests that wait
    only seconds would fail.
    """
    first = Steps(steps.env | BUILT_ONCE)
    try:
        ensure_tauri(first.env)
    except CannotError:
        return  # tauri_steps names it
    if any((Path(first.env["CARGO_TARGET_DIR"]) / "debug" / "deps").glob("libtauri-*.rlib")):
        return
    plugin, example = manifest_of(PLUGIN), manifest_of(EXAMPLE / "src-tauri")
    first.run("Tauri's first build: checks", ["cargo", "clippy", "--locked", "--all-targets", *plugin])
    first.run("Tauri's first build: tests", ["cargo", "test", "--locked", "--no-run", *plugin])
    first.run("Tauri's first build: an app", ["cargo", "build", "--locked", *example])
    steps.done.add(first.done)


def plugin_steps(steps: Steps, *arguments: str) -> None:
    """Add the checks and tests of the plugin, and the checks of the examples. The arguments go to cargo test."""
    format_steps(steps)
    clippy_steps(steps)
    foreign_clippy_steps(steps)
    cargo_test = [*NICE, "cargo", "test", "--locked"]
    steps.run("cargo test of the build helper", [*cargo_test, *manifest_of(BUILD_HELPER)])
    steps.run("cargo test", [*cargo_test, *manifest_of(PLUGIN), *arguments])
    type_steps(steps)
    steps.run("guest-js", ["npm", "--prefix", PLUGIN, "test", "--silent"])


def format_steps(steps: Steps) -> None:
    """Add rustfmt."""
    for folder in CRATES:
        steps.run(f"rustfmt {_name(folder)}", ["cargo", "fmt", "--check", *manifest_of(folder)])


def type_steps(steps: Steps) -> None:
    """Add TypeScript's checks."""
    for folder in (PLUGIN, EXAMPLE, BACKEND_EXAMPLE):
        steps.run(f"tsc {folder.name}", ["npm", "--prefix", folder, "run", "--silent", "typecheck"])


def _name(crate: Path) -> str:
    """Return a crate's name for the name of a step."""
    return crate.parent.name if crate.name == "src-tauri" else crate.name


def manifest_of(crate: Path) -> tuple[str, str]:
    """Return the words that name a crate to cargo."""
    return ("--manifest-path", str(crate / "Cargo.toml"))


def clippy_steps(steps: Steps) -> None:
    """Add clippy and cargo doc for this system, unless they have passed for exactly the same Rust."""

    def check() -> None:
        for crate in CRATES:
            _clippy(steps, "clippy", crate)
        doc = [*NICE, "cargo", "doc", "--locked", "--no-deps", *manifest_of(PLUGIN)]
        steps.run("cargo doc", doc, variables={"RUSTDOCFLAGS": "-Dwarnings"})

    unless_passed(steps, "clippy and cargo doc", "debug", check)


def foreign_clippy_steps(steps: Steps) -> None:
    """Add clippy of what apps depend on for other systems, unless it has passed for exactly the same Rust."""
    if sys.platform != "linux":
        return  # the job of each system checks it there
    for target in FOREIGN_TARGETS:
        name = f"clippy for {target}"
        unless_passed(steps, name, target, partial(_foreign_clippy, steps, name, target))


def _foreign_clippy(steps: Steps, name: str, target: str) -> None:
    added = ["rustup", "target", "add", target]
    if not which("rustup", steps.env) or subprocess.run(added, env=steps.env, check=False).returncode:
        steps.skip(name, f"the target's standard library is missing; it comes with: {' '.join(added)}")
        return
    # The examples have no code for one system only: the job of each system checks them.
    for crate in (PLUGIN, BUILD_HELPER):
        _clippy(steps, f"{name}:", crate, f"--target={target}", variables=FOREIGN_TARGETS[target])


def _clippy(steps: Steps, name: str, crate: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
    command = [*NICE, "cargo", "clippy", "--locked", "--all-targets", *options, *manifest_of(crate)]
    steps.run(f"{name} {_name(crate)}", [*command, "--", "-Dwarnings"], variables=variables)


def unless_passed(steps: Steps, name: str, target: str, check: Callable[[], None]) -> None:
    """Check the crates for a target, unless that has passed for exactly the same Rust.

    A file in cargo's folder for that target records that it has passed, with a digest of everything that it read.
    """
    stamp = Path(steps.env["CARGO_TARGET_DIR"]) / target / "clippy-passed"
    wanted = rust_digest(target, versions(steps.env))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        steps.unchanged(name)
        return
    before = len(steps.done.steps)
    check()
    if all(result == "ok" for _, result, _ in steps.done.steps[before:]):
        stamp.write_text(wanted, encoding="utf-8")


def versions(env: dict[str, str]) -> bytes:
    """Return the versions of cargo's tools."""
    asked = (["cargo", "clippy", "--version"], ["rustc", "--version"])
    return b"".join(subprocess.run(it, env=env, capture_output=True, check=False).stdout for it in asked)


def rust_digest(target: str, versions: bytes, crates: Sequence[Path] = CRATES) -> str:
    """Return a digest of all files that clippy reads of the crates, of the compiler's version, and of this file."""
    parts = [target.encode(), versions, Path(__file__).read_bytes()]
    for crate in crates:
        for file in _sources(crate):
            parts += [file.relative_to(crate).as_posix().encode(), file.read_bytes()]
    return digest(b"".join(digest(part).encode() for part in parts))


def _sources(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name not in MADE:
            yield from _sources(entry)
        elif entry.is_file():
            yield entry
