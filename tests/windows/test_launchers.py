"""Launchers between the app and the sidecar: a virtual environment's python.exe, and pip's sidecar.exe.

Both start another program and wait for its end, even after the app's death. These tests use copies of Python that do
the same, and identify themselves to the next process by the same means.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from tests.support.command import MODULE, from_source
from tests.windows.support import PYTHON, ROOT, Client, await_end, held
from tests.windows.test_commands import environment, told

pytestmark = [
    from_source,
    pytest.mark.skipif(
        sys.prefix != sys.base_prefix, reason="in a virtual environment real launchers are already there"
    ),
]

RUN = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:], stdin=0, stdout=1, stderr=2))"
APP = "import subprocess, sys; subprocess.call(sys.argv[1:], stdin=0, stdout=1, stderr=2); sys.stdin.read()"
"""An app that outlives the program that it started."""
REDIRECT = f"import os, sys; os.environ['__PYVENV_LAUNCHER__'] = sys.executable\n{RUN}"
SCRIPT = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom sidecar.cli import main\nsys.exit(main())\n"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with copies of python.exe, its DLLs and its ``._pth`` file."""
    home = Path(sys.executable).parent
    folder = tmp_path / "Scripts"
    folder.mkdir()
    for file in (*home.glob("*.dll"), Path(sys.executable)):
        shutil.copy(file, folder)
    for paths in home.glob("*._pth"):
        lines = [str(home / it) if (home / it).exists() else it for it in paths.read_text("utf-8").splitlines()]
        (folder / paths.name).write_text("\n".join(lines), encoding="utf-8")
    return folder


LAUNCHERS = {
    "Python": 0,
    "a virtual environment": 1,
    "sidecar.exe": 1,
    "sidecar.exe of a virtual environment": 2,
}
"""What the app starts, and the number of launchers between the app and the sidecar."""
BOTH = "sidecar.exe of a virtual environment"


def command(folder: Path, kind: str) -> list[str]:
    redirector = [str(folder / "python.exe"), "-c", REDIRECT, sys.executable]
    python = redirector if "virtual" in kind else [sys.executable]
    if "exe" not in kind:
        return [*python, *MODULE]
    launcher = folder / "sidecar.exe"
    shutil.copy(folder / "python.exe", launcher)
    with zipfile.ZipFile(launcher, "a") as archive:  # appended to the program, as pip does
        archive.writestr("__main__.py", SCRIPT)
    return [str(launcher), "-c", RUN, *python, str(launcher)]


class Chain:
    """The app, the launchers and the supervisor. They inherit the test's pipes, so the app's death closes none."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.client = Client(process)
        self.supervisor = held(self.client.hello({})["pid"])
        self.app = held(process.pid)
        above = self.supervisor.parents()
        self.launchers = above[: above.index(self.app)]


@contextmanager
def started(folder: Path, words: list[str]) -> Iterator[Chain]:
    with subprocess.Popen(
        [*PYTHON, "-c", APP, *words],
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        try:
            yield Chain(process)
        finally:
            process.kill()
            process.stdin.close()  # ends a sidecar that is left


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_the_app_is_found_above_the_launchers_and_its_death_is_seen(copies: Path, tmp_path: Path, kind: str) -> None:
    with started(tmp_path, command(copies, kind)) as it:
        assert len(it.launchers) == LAUNCHERS[kind]
        [run] = told(tmp_path, "ps")["runs"]
        assert run["app"]["pid"] == it.app.pid
        it.app.kill()
        await_end(it.supervisor)


@pytest.mark.parametrize("which", range(LAUNCHERS[BOTH]))
def test_the_death_of_each_launcher_is_seen(copies: Path, tmp_path: Path, which: int) -> None:
    with started(tmp_path, command(copies, BOTH)) as it:
        it.launchers[which].kill()
        await_end(it.supervisor)
        assert it.app.is_running()
