"""Install the packages of the binary under test as a user does, without the internet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.dist.registry import serving
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
SITE = "https://example.com/docs/"
"""The address of the documentation that the packages contain."""
WAIT_S = 120.0
"""Timeout of an install from local files, which takes seconds on two idle cores."""
BUILD_S = 600.0
"""Timeout of building the packages, including a freeze: ten seconds on two idle cores."""


def run(folder: Path, *words: str | Path, timeout: float = WAIT_S, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command, for at most ``timeout`` seconds."""
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def must(folder: Path, *words: str | Path, timeout: float = WAIT_S, **env: str) -> str:
    """Run a command that must succeed; return its output."""
    done = run(folder, *words, timeout=timeout, **env)
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def build(out: Path, *, crates: bool = False) -> Path:
    """Build all packages with the binary under test, or a new one; on request also the crates, which need Rust."""
    command: list[str | Path] = [sys.executable, ROOT / "build" / "dist.py", "--out", out]
    options = [*([f"--binary={BINARY}"] if BINARY else []), *([] if crates else ["--no-crate"])]
    must(ROOT, *command, *options, "--repository=https://example.com/a/b", timeout=BUILD_S, SIDECAR_SITE=SITE)
    return out


def npm_install(dist: Path, project: Path, *words: str) -> Path:
    """Let npm install tauri-sidecar from our registry; return the path of its command in node_modules."""
    project.mkdir()
    (project / "package.json").write_text('{"name": "app", "private": true}\n', encoding="utf-8")
    with serving(dist / "npm") as registry:
        options = ["--no-audit", "--no-fund", f"--registry={registry.url}", f"--cache={project / 'npm-cache'}"]
        must(project, "npm", "install", "--save-dev", *options, *words, "tauri-sidecar")
        assert registry.refused == []
    return project / "node_modules" / ".bin" / "tauri-sidecar"


def pip_install(dist: Path, folder: Path) -> Path:
    """Let pip install tauri-sidecar from files, into an environment with its libraries; return its bin folder."""
    must(folder, sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    [libraries] = {path for path in map(Path, sys.path) if (path / "tomlkit").is_dir()}
    (site / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    options = [
        "--isolated",
        "--quiet",
        "--no-index",
        f"--find-links={dist / 'pypi'}",
        "--no-deps",
        "--ignore-installed",
    ]
    pip = [sys.executable, "-m", "pip", f"--python={python}"]
    # by name, so that pip takes only a wheel whose tag fits this machine
    must(folder, *pip, "install", *options, "tauri-sidecar", "tauri-sidecar-bin")
    return python.parent
