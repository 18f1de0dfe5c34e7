"""A fake machine for a test: a home, a PATH, a login shell, and the folders in which programs are installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from msgspec import structs

if sys.platform == "win32":
    raise ImportError("Windows finds programs in another way")

from sidecar.host import programs
from sidecar.services import login_shell


def program(path: Path, text: str = "") -> Path:
    """Make an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return path


class Machine:
    """The machine's folders. At first PATH is empty, and no version manager's variable is set."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set up the environment of this process and its children."""
        self.home = top / "home"
        self.system = top / "system"
        """Replaces the root folder, below which managers install for the whole machine."""
        self.path = top / "path"
        self.project = top / "repository" / "app"
        self.state = top / "state"
        self.stdin_guard = str(self.state / "stdin_guard.cjs")
        for folder in (self.home, self.path, self.project):
            folder.mkdir(parents=True)
        self._monkeypatch = monkeypatch
        for name in [
            name for name in os.environ if name.startswith(("NVM_", "FNM_", "XDG_", "MISE_", "ASDF_", "VOLTA_"))
        ]:
            monkeypatch.delenv(name)
        for name in ("NODENV_ROOT", "N_PREFIX", "HOMEBREW_PREFIX", "BUN_INSTALL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (("HOME", self.home), ("PATH", self.path), ("SIDECAR_STATE_DIR", self.state)):
            monkeypatch.setenv(name, str(value))
        self.shell("exit 1")
        monkeypatch.setattr(login_shell, "_unanswered", [])
        managers = tuple(
            structs.replace(it, roots=tuple(self._inside(root) for root in it.roots)) for it in programs.MANAGERS
        )
        monkeypatch.setattr("sidecar.services.managers.MANAGERS", managers)

    def _inside(self, root: str) -> str:
        return f"{self.system}{root}" if root.startswith("/") else root

    def variable(self, name: str, value: object) -> None:
        """Set a variable."""
        self._monkeypatch.setenv(name, str(value))

    def shell(self, text: str) -> Path:
        """Make this script the login shell."""
        made = program(self.home.parent / "shell", text)
        self.variable("SHELL", made)
        return made


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without any node."""
    return Machine(tmp_path, monkeypatch)
