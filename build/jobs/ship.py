"""The jobs that make the binary, the app's packages, and the published packages."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build.jobs import debian
from build.jobs.needs import (
    RPM,
    XVFB,
    ensure_backend,
    ensure_freezer,
    ensure_screen,
    ensure_tauri,
    ensure_twine,
    ensure_wine,
    ready,
    wine_folder,
)
from build.jobs.paths import BACKEND_EXAMPLE, BUILD, EXAMPLE, PLUGIN, PYTHON, ROOT, WINDOWS
from build.jobs.steps import Steps
from build.jobs.tools import become, plain_environ

WINDOWS_TARGET = "x86_64-pc-windows-msvc"


def freeze(arguments: Sequence[str]) -> int:
    """Make the one-file binary that an app ships, named by this machine's target, where the example looks for it.

    Arguments go to build/freeze.py: --folder for a folder, which starts at once, --out for another place. On Linux,
    --target x86_64-pc-windows-msvc as the first argument makes it under Wine.
    """
    env = ready()
    if list(arguments[:2]) == ["--target", WINDOWS_TARGET] and not WINDOWS:
        ensure_wine(env)
        become([PYTHON, BUILD / "wine.py", wine_folder(), "freeze", *arguments[2:]], env)
    ensure_freezer(env)
    become([PYTHON, BUILD / "freeze.py", *arguments], env)


def package(arguments: Sequence[str]) -> int:
    """Make a .deb and an .rpm of the example with a service, and check them: install, run, kill, remove.

    It needs Rust, and Debian's packages of WebKitGTK, Xvfb and rpm. The checks are tests/package. The one that installs
    needs root, and works on an overlay of this machine that is deleted afterwards. With --debug it builds an
    unoptimized app in a third of the time. It is not a part of test, because a cold build takes minutes.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py package")
    parser.add_argument("--debug", action="store_true", help="build an unoptimized app")
    mode = ["--debug"] if parser.parse_args(arguments).debug else []
    env = ready(packages=[EXAMPLE])
    ensure_tauri(env)
    ensure_freezer(env)
    XVFB.ensure(env, "a window that is tested")
    target = Path(env["CARGO_TARGET_DIR"])
    made = target / ("debug" if mode else "release")
    build = ["npm", "--prefix", str(EXAMPLE), "run", "tauri", "--", "build", "--ci", *mode]
    steps = Steps(env)
    with tempfile.TemporaryDirectory(prefix="sidecar-package-") as folder:
        steps.run("freeze", [PYTHON, BUILD / "freeze.py"])
        steps.run("the app as a release without services", [*build, "--no-bundle"])
        for name in ("sidecar-example", "sidecar"):  # the next build overwrites them
            if (made / name).exists():
                shutil.copy2(made / name, folder)
        shutil.rmtree(made / "bundle", ignore_errors=True)
        more = str(ROOT / "tests" / "package" / "app.conf.json")
        steps.run("the packages, with a service", [*build, "--bundles", "deb,rpm", "--config", more])
        if not RPM.got(env):
            steps.skip("pytest of the .rpm", f"rpm2archive is missing; it comes with: {debian.command(RPM.packages)}")
        for deb, rpm in zip(made.glob("bundle/deb/*.deb"), made.glob("bundle/rpm/*.rpm"), strict=True):
            # the checks for other systems leave an empty file for each
            [binary] = (it for it in (EXAMPLE / "src-tauri" / "binaries").glob("sidecar-*") if it.stat().st_size)
            steps.run(
                "pytest of the packages",
                [PYTHON, "-m", "pytest", "-ra", "tests/package"],
                variables={
                    "SIDECAR_BINARY": str(binary),
                    "SIDECAR_DEB": str(deb),
                    "SIDECAR_RPM": str(rpm),
                    "SIDECAR_PLAIN_APP": f"{folder}/sidecar-example",
                },
            )
    return steps.summary()


def backend(arguments: Sequence[str]) -> int:
    """Try the example with a Python backend: in a real window, then as a .deb that is installed, run and purged.

    test runs only the window's first test; here all run. It needs what app needs, and freezes the backend. With --debug
    it builds an unoptimized package in a third of the time. With --window it leaves the package out.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py backend")
    parser.add_argument("--debug", action="store_true", help="build an unoptimized package")
    parser.add_argument("--window", action="store_true", help="leave the package out")
    options = parser.parse_args(arguments)
    env = ready(packages=[BACKEND_EXAMPLE])
    ensure_tauri(env)
    ensure_freezer(env)
    ensure_screen(env)
    ensure_backend(env)
    mode = ["--debug"] if options.debug else []
    bundles = Path(env["CARGO_TARGET_DIR"]) / ("debug" if mode else "release") / "bundle" / "deb"
    build = ["npm", "--prefix", str(BACKEND_EXAMPLE), "run", "tauri", "--", "build", "--ci", *mode, "--bundles", "deb"]
    tests: list[str | Path] = [PYTHON, "-m", "pytest", "-ra"]
    steps = Steps(env)
    with tempfile.TemporaryDirectory(prefix="sidecar-backend-") as folder:
        steps.run("freeze the sidecar", [PYTHON, BUILD / "freeze.py", "--out", folder])
        [binary] = Path(folder).iterdir()
        env["SIDECAR_BINARY"] = str(binary)  # the tests take it, and so does the app's build script
        window = [*tests, "tests/app/test_python_backend.py"]
        steps.run("pytest of the app in a real window", window, variables={"SIDECAR_ALL_BACKEND": "1"})
        if options.window:
            return steps.summary()
        shutil.rmtree(bundles, ignore_errors=True)
        steps.run("the package, with the frozen backend", build)
        for deb in bundles.glob("*.deb"):
            package = [*tests, "tests/package/test_python_backend.py"]
            steps.run("pytest of the package", package, variables={"SIDECAR_BACKEND_DEB": str(deb)})
    return steps.summary()


def dist(arguments: Sequence[str]) -> int:
    """Build the published packages for this platform into dist/, and check their content: wheels, npm packages, crates.

    Arguments go to build/dist.py: --binary FILE, --out FOLDER, --repository URL, --binary-only, --no-crate, --verify.
    With --prove it then installs all of them into a fresh app, which is built, shown and killed
    (tests/dist/test_prove.py). That takes minutes, and needs Rust and what app needs.
    """
    parser = argparse.ArgumentParser(prog="build/dev.py dist", add_help=False)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options, words = parser.parse_known_args(arguments)
    out = options.out.resolve()
    env = ready(packages=[PLUGIN])
    ensure_freezer(env)
    ensure_twine(env)
    if options.prove or "--verify" in words:
        ensure_tauri(env)
    if options.prove:
        XVFB.ensure(env, "a window that is tested")
    steps = Steps(env)
    steps.run("the packages", [PYTHON, BUILD / "dist.py", f"--out={out}", *words])
    if options.prove and not steps.failed():
        proof: list[str | Path] = [PYTHON, "-m", "pytest", "-ra", "--color=no", "tests/dist/test_prove.py"]
        steps.run("the packages, installed and used", proof, variables={"SIDECAR_DIST": str(out)})
    return steps.summary()


def version(arguments: Sequence[str]) -> int:
    """Set the version of all published packages, or print it: version X.Y.Z."""
    become([sys.executable, BUILD / "version.py", *arguments], plain_environ())
