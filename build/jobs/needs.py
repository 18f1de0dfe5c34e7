"""Get what jobs need on this machine: .venv, packages, and parts from Debian, cargo or PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from build.jobs import debian
from build.jobs.node import ensure_node, ensure_packages, has_node_elsewhere
from build.jobs.paths import BACKEND_EXAMPLE, PYTHON, ROOT, TWINE_LOCK
from build.jobs.tools import CannotError, digest, environment, must, only_one_of_us, pip, say, user_cache, which
from build.jobs.venv import ensure_venv

TAURI_DRIVER = "2.1.0"
"""Selenium talks to it. It starts the app, and passes requests on to WebKit's driver."""
OLDEST_WINE = 8
"""The oldest version that was tried. Ubuntu 22.04 has 6, which lacks parts."""


@dataclass(frozen=True)
class Part:
    """A part of the system that Debian's packages provide."""

    name: str
    packages: str
    is_there: Callable[[Mapping[str, str]], bool]
    """Tells, for the environment of a job, whether the part is there."""

    def got(self, env: Mapping[str, str]) -> bool:
        """Install the part if it is missing; return whether it is there."""
        return self.is_there(env) or (debian.install(self.packages, self.name) and self.is_there(env))

    def ensure(self, env: Mapping[str, str], purpose: str) -> None:
        """Install the part if it is missing. Raises CannotError, which says that ``purpose`` needs it."""
        if not self.got(env):
            raise CannotError(f"{purpose} needs {self.name}; it comes with: {debian.command(self.packages)}")


def program(name: str, packages: str, *others: str) -> Part:
    """Return a part that is there if these programs are on the PATH."""
    return Part(name, packages, lambda env: all(which(it, env) for it in (name, *others)))


def _links_tauri(env: Mapping[str, str]) -> bool:
    asked = ["pkg-config", "--exists", "webkit2gtk-4.1"]
    return bool(which("pkg-config", env)) and not subprocess.run(asked, env=env, check=False).returncode


OWN_LIBRARY = "python{}.{}".format(*sys.version_info)

IP = program("ip", "iproute2")
OBJDUMP = program("objdump", "binutils")
LIBPYTHON = Part(f"lib{OWN_LIBRARY}.so", f"lib{OWN_LIBRARY}", lambda _env: bool(find_library(OWN_LIBRARY)))
"""A frozen program needs it. Debian's own Python does not."""
WEBKIT = Part(
    "WebKitGTK", "build-essential libwebkit2gtk-4.1-dev libxdo-dev libssl-dev librsvg2-dev pkg-config", _links_tauri
)
"""Tauri links these."""
XVFB = program("Xvfb", "xvfb")
"""A display without a monitor."""
WEBDRIVER = program("WebKitWebDriver", "webkit2gtk-driver")
WINE = program("wine", "wine wine64")
MINGW = program("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32")
"""Compiles a library that Vite needs and Wine lacks."""
MAKENSIS = program("makensis", "nsis")
DEBOOTSTRAP = program("debootstrap", "debootstrap")
RPM = program("rpm2archive", "rpm")
PATCHELF = program("patchelf", "patchelf")
BROWSER = program("chromium", "chromium chromium-driver", "chromedriver")
"""Opens the pages of the site."""
SHELLS = Part("zsh, fish and ksh", "zsh fish ksh", lambda env: all(which(it, env) for it in ("zsh", "fish", "ksh")))
"""Login shells that people use. They decide where node is found."""

FREEZER = (OBJDUMP, LIBPYTHON) if debian.completes_python() else (OBJDUMP,)
OF_TEST = (IP, *FREEZER, WEBKIT, XVFB, WEBDRIVER, WINE, MINGW, MAKENSIS, PATCHELF, SHELLS)
"""The parts that ``test`` uses. Tests of a missing part are skipped, and the summary names it."""


def ready(packages: Sequence[Path] = ()) -> dict[str, str]:
    """Make what a job needs; return the environment to run it in. packages are folders with a package-lock.json.

    npm and pip work at the same time, unless node itself is in .venv, or has yet to be put there.
    """
    env = environment()
    with only_one_of_us(), ThreadPoolExecutor(max_workers=1) as npm:
        beside = bool(packages) and has_node_elsewhere(env)
        doing = [npm.submit(ensure_packages, folder, env) for folder in packages] if beside else []
        try:
            ensure_venv()
            # With PYTHONDONTWRITEBYTECODE every start would compile our modules again, and a test would measure that.
            must([PYTHON, "-m", "compileall", "-q", ROOT / "sidecar"], "our own modules do not compile; see above")
            if packages and not beside:
                ensure_node(env)
                doing = [npm.submit(ensure_packages, folder, env) for folder in packages]
            for each in doing:
                each.result()
        except BaseException:  # also Ctrl-C: begin no other folder
            npm.shutdown(wait=False, cancel_futures=True)
            raise
    return env


def install_all(env: Mapping[str, str]) -> None:
    """Install all parts that ``test`` uses, before its first step. Else a step could lack what a later one installs.

    Install all at once if that works, because each call of apt-get is slow. Name the parts that cannot be installed.
    """
    if sys.platform != "linux":
        return
    missing = [part for part in OF_TEST if not part.is_there(env)]
    if not missing:
        return
    names, packages = ", ".join(it.name for it in missing), " ".join(it.packages for it in missing)
    if debian.install(packages, names):
        return
    for part in missing:  # this system may have some of them
        if not part.got(env):
            say(f"{part.name} is missing, and its tests are skipped; it comes with: {debian.command(part.packages)}")


def ensure_tauri(env: dict[str, str]) -> None:
    """Get what building a Tauri app needs, and tell cargo in env where to build. Raises CannotError."""
    if not which("cargo", env):
        raise CannotError("it needs Rust: install it from https://rustup.rs.")
    if sys.platform == "linux":  # elsewhere the web view is a part of the system
        WEBKIT.ensure(env, "Tauri")
    # 2.4 GB, and minutes of work, so it is kept outside of the checkout.
    env.setdefault("CARGO_TARGET_DIR", str(user_cache() / "tauri-sidecar" / "cargo-target"))
    # these builds are not debugged, and debug information makes compiling and linking slower
    env.setdefault("CARGO_PROFILE_DEV_DEBUG", "none")
    env["SIDECAR_PYTHON"] = str(PYTHON)


def ensure_backend(env: dict[str, str]) -> None:
    """Install the packages of the example's Python backend from its lock. Raises CannotError."""
    install = ["node", str(BACKEND_EXAMPLE / "backend" / "python.mjs"), "install"]
    if subprocess.run(install, env={**env, "PYTHON": sys.executable}, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CannotError("the packages of the Python backend could not be installed; pip's own words are above.")


def ensure_freezer(env: dict[str, str]) -> None:
    """Get what PyInstaller needs on Linux; elsewhere it needs nothing more. Raises CannotError."""
    if sys.platform == "linux":
        for part in FREEZER:
            part.ensure(env, "PyInstaller")


def ensure_twine(env: dict[str, str]) -> None:
    """Install twine into the user's cache folder, and tell in env where it is. Raises CannotError."""
    env["SIDECAR_TWINE"] = str(ensure_tool("twine", TWINE_LOCK))


def ensure_tool(name: str, lock: Path) -> Path:
    """Install a lock's packages into a folder of the user's cache; return that folder. Raises CannotError."""
    folder = user_cache() / "tauri-sidecar" / name
    stamp = folder / "made-from"
    wanted = "{} {}.{}".format(digest(lock.read_bytes()), *sys.version_info)  # some are compiled for one Python
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"Installing {lock.relative_to(ROOT)} from PyPI into {folder} ...")
        shutil.rmtree(folder, ignore_errors=True)
        must(
            pip("install", "--no-deps", "--require-hashes", f"--target={folder}", "-r", lock),
            f"pip could not install {lock.relative_to(ROOT)}; its own words are above",
        )
        stamp.write_text(wanted, encoding="utf-8")
    return folder


def ensure_wine(env: dict[str, str]) -> None:
    """Get a Wine that is new enough. Raises CannotError."""
    WINE.ensure(env, "Windows' Python")
    asked = subprocess.run(["wine", "--version"], env=env, capture_output=True, text=True, check=False)
    version = re.match(r"wine-(\d+)", asked.stdout)
    if version is None or int(version[1]) < OLDEST_WINE:
        found = asked.stdout.strip() or "one that does not run"
        raise CannotError(f"Wine {OLDEST_WINE} or later is needed, and here is {found}: Debian 12 and later have it.")


def ensure_screen(env: dict[str, str]) -> None:
    """Get the display and the driver for a built app, and put them on the PATH of env. Raises CannotError."""
    for part in (XVFB, WEBDRIVER):
        part.ensure(env, "a window that is tested")
    tools = user_cache() / "tauri-sidecar" / "tools"
    env["PATH"] = os.pathsep.join([env["PATH"], str(tools / "bin")])
    installed = tools / ".crates.toml"  # cargo's list of what it has installed there
    if installed.exists() and f'"tauri-driver {TAURI_DRIVER} ' in installed.read_text(encoding="utf-8"):
        return
    say(f"Installing tauri-driver {TAURI_DRIVER} into {tools} ...")
    words = ["cargo", "install", "--quiet", "--locked", "--version", TAURI_DRIVER, "--root", str(tools), "tauri-driver"]
    if subprocess.run(words, env=env, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CannotError("cargo could not install tauri-driver; its own words are above.")


def wine_folder() -> Path:
    """Return the folder of the Windows Python, which all checkouts share."""
    return user_cache() / "tauri-sidecar" / "wine"
