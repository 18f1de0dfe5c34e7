"""Fixtures of the tests of the standalone view. They run on Linux only, so far."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.commands.dev.support import Terminal, command, environment
    from tests.support.command import SIDECAR

    @pytest.fixture
    def sidecar() -> Sequence[str]:
        """The command under test; test_darwin.py has another one."""
        return SIDECAR

    @pytest.fixture
    def folder(tmp_path: Path) -> Path:
        """The user's working folder."""
        made = tmp_path / "project"
        made.mkdir()
        return made

    @pytest.fixture
    def dev(folder: Path, sidecar: Sequence[str]) -> Iterator[Callable[..., Terminal]]:
        """Run ``sidecar dev`` in a terminal, and end it with the test."""
        with ExitStack() as stack:

            def dev(*words: str, rows: int = 30, columns: int = 120, **env: str) -> Terminal:
                argv, variables = (
                    command(*words, sidecar=sidecar),
                    environment(folder, **{"BROWSER": "/bin/true", **env}),
                )
                return stack.enter_context(Terminal(argv, folder, variables, rows=rows, columns=columns))

            yield dev
