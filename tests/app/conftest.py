"""Fixtures of the app's tests: one build and one screen for all tests, apps and windows for each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

from tests.app import support

if TYPE_CHECKING:
    from tests.app.support import App, Screen, Window


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lift pytest's timeout: the first test waits for the build, and each wait has its own bound."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(2 * support.BUILD_S))


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example as ``tauri dev`` would, with the frozen sidecar beside it.

    Both are copied out of cargo's folder, as a later build would replace them there.
    """
    reason = support.missing()
    if reason is not None:
        pytest.skip(reason)
    built = support.build()
    folder = tmp_path_factory.mktemp("app")
    for name in (built.name, "sidecar"):
        shutil.copy2(built.with_name(name), folder)
    return folder / built.name


@pytest.fixture(scope="session")
def screen(binary: Path) -> Iterator[Screen]:
    """Start one screen for all, after the build: a machine that cannot build may have no Xvfb either."""
    with support.Screen() as screen:
        yield screen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the example."""
    return support.copy_app(tmp_path / "project")


@pytest.fixture
def app(binary: Path, project: Path, screen: Screen, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Make apps of the project that end with the test."""
    with ExitStack() as stack:
        yield lambda **env: stack.enter_context(support.App(binary, project, screen, tmp_path, **env))


@pytest.fixture
def window(app: Callable[..., App]) -> Iterator[Callable[..., Window]]:
    """Start apps of the project, and drive their windows."""
    with ExitStack() as stack:
        yield lambda **env: stack.enter_context(support.Window(app(**env)))
