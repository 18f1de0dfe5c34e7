"""Fixtures of the end-to-end tests, and the reasons to skip them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.support import Sidecar, copy_example, missing
from tests.support.command import Message

Launch = Callable[..., Sidecar]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    for item in items:
        if reason is not None and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Launch sidecars, and end them with the test. No process of theirs may be left."""
    with ExitStack() as stack:

        def launch(services: Message, *, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Sidecar:
            return stack.enter_context(Sidecar(tmp_path / "app", services, prefix=prefix, env=env))

        yield launch


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the example."""
    return copy_example(tmp_path / "project")
