"""Install all packages of dist/ in a fresh app; build, show and kill the app. Then do the same in a clone of it.

The npm packages come from a registry on loopback, the PyPI packages from files, and our crates from unpacked folders.
Everything else comes from the ordinary registries. ``build/dev.py dist --prove`` runs this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("apps are built and shown on Linux only, so far", allow_module_level=True)

from build.version import version
from tests.commands.init.scaffold import BUILD_S, NETWORK_S, Workshop, missing, opened
from tests.dist.support import must

DIST = Path(os.environ.get("SIDECAR_DIST", "dist"))
PLACED = "src-tauri/binaries/*sidecar-*"

pytestmark = pytest.mark.timeout(3 * BUILD_S)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with opened(DIST, tmp_path_factory.mktemp("apps")) as workshop:
        yield workshop


def init_by_npm(workshop: Workshop, project: Path) -> None:
    workshop.npm_install(project, "--save-dev", "tauri-sidecar")
    told = must(project, "npx", "--no-install", "tauri-sidecar", "init", "--yes", timeout=NETWORK_S)
    assert told.splitlines()[-1] == "Done. Start the app with: npm run tauri:dev"


def init_by_pip(workshop: Workshop, project: Path) -> None:
    """Install without a compiler, and once the libraries are there also without an index."""
    folder = project.parent
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    fetch = ["download", "-q", "--only-binary=:all:", f"--find-links={workshop.dist / 'pypi'}", "-d", "wheels"]
    must(folder, *pip, *fetch, "tauri-sidecar", timeout=NETWORK_S)
    must(folder, sys.executable, "-m", "venv", "--without-pip", "venv", timeout=NETWORK_S)
    words = ["--isolated", f"--python={folder / 'venv' / 'bin' / 'python'}", "install", "-q", "--no-index"]
    must(folder, *pip, *words, "--find-links=wheels", "tauri-sidecar", timeout=NETWORK_S, PATH=str(folder / "venv/bin"))
    must(project, folder / "venv" / "bin" / "sidecar", "init", "--yes", timeout=NETWORK_S)
    workshop.npm_install(project)


@pytest.mark.parametrize(("by", "init"), [("npm", init_by_npm), ("pip", init_by_pip)])
def test_an_app_and_its_clone_are_built_shown_killed_and_leave_nothing(
    workshop: Workshop, by: str, init: Callable[[Workshop, Path], None]
) -> None:
    project = workshop.scaffold(by, "vanilla-ts")
    init(workshop, project)
    assert f'tauri-plugin-sidecar = "{version()}"' in (project / "src-tauri" / "Cargo.toml").read_text()
    workshop.show_and_kill(project)
    clone = project.with_name("clone")
    identity = ["-c", "user.name=proof", "-c", "user.email=proof@localhost"]
    must(project, "git", "init", "--quiet", timeout=NETWORK_S)
    must(project, "git", "add", "--all", timeout=NETWORK_S)
    must(project, "git", *identity, "commit", "--quiet", "--message=app", timeout=NETWORK_S)
    must(project.parent, "git", "clone", "--quiet", project, clone, timeout=NETWORK_S)
    assert list(clone.glob(PLACED)) == []
    # not npm ci, which refuses a lock without the optional packages that this registry lacks
    workshop.npm_install(clone)
    workshop.show_and_kill(clone)
    assert [file.stat().st_size > 0 for file in clone.glob(PLACED)] == [True]
