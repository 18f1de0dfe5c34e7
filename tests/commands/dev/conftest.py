"""Fixtures of the tests of the standalone view; it exists on Linux only, so far."""

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
        """The command that is tried; test_darwin.py has another one."""
        return SIDECAR

    @pytest.fixture
    def folder(tmp_path: Path) -> Path:
        """Where the person stands."""
        made = tmp_path / "project"
        made.mkdir()
        return made

    @pytest.fixture
    def dev(folder: Path, sidecar: Sequence[str]) -> Iterator[Callable[..., Terminal]]:
        """Run ``sidecar dev`` in a terminal; it is ended with the test."""
        with ExitStack() as stack:

            def dev(*words: str, rows: int = 30, columns: int = 120, **env: str) -> Terminal:
                argv, variables = (
                    command(*words, sidecar=sidecar),
                    environment(folder, **{"BROWSER": "/bin/true", **env}),
                )
                return stack.enter_context(Terminal(argv, folder, variables, rows=rows, columns=columns))

            yield dev
