"""The example with a Python backend as a Debian package: the frozen backend, the page that is built in, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Debian packages", allow_module_level=True)

import shutil
import signal
import sqlite3
from contextlib import closing

from tests.app.notes import IDENTIFIER, NAME, Notes, NotesWindow, ask
from tests.app.support import Screen
from tests.package.support import App, machine
from tests.support.waiting import until

DEB = Path(os.environ.get("SIDECAR_BACKEND_DEB", ""))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to install a package on a copy of this machine needs root")


@pytest.fixture(scope="module")
def shown() -> Iterator[Screen]:
    with Screen() as screen:
        yield screen


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Unpack the package into a folder."""
    folder = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--extract", str(DEB), str(folder)], check=True)
    return folder


def test_built_in_page_has_the_frozen_backend_and_sigkill_leaves_nothing(
    tmp_path: Path, unpacked: Path, shown: Screen
) -> None:
    """The page is shown before the backend is ready, and the app delays the page's requests until then."""
    (tmp_path / "project" / "src-tauri").mkdir(parents=True)
    with (
        Notes(unpacked / "usr/bin" / NAME, tmp_path / "project", shown, tmp_path) as app,
        NotesWindow(app) as seen,
    ):
        seen.until(lambda: seen.url.startswith("tauri://localhost"), "the page that is built in")
        seen.await_connected()
        seen.write("from the release")
        assert seen.events == ["connected"]
        assert Path(app.backend().exe()) == unpacked / "usr/lib" / NAME / "notes-backend" / "notes-backend"
        assert ask(f"{seen.address}/notes", "wrong")[0] == 401
        app.tree.hit(app.backend(), signal.SIGKILL)
        seen.until(lambda: seen.events == ["connected", "the backend does not answer", "connected"], "it again")
        seen.write("from the next one")
        port = int(seen.address.rsplit(":", 1)[1])
        app.hit(signal.SIGKILL)
        app.assert_nothing_left(port)
        assert app.written() == ["from the release", "from the next one"]


@as_root
def test_it_installs_runs_and_is_purged_and_leaves_only_the_persons_notes(tmp_path: Path, shown: Screen) -> None:
    with machine(tmp_path) as there:

        def run(*words: str, code: int = 0) -> str:
            done = subprocess.run([*there, *words], capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout

        run("dpkg", "--install", str(DEB))
        files = [it for it in run("dpkg", "--listfiles", NAME).split() if it != "/."]
        notes = tmp_path / "home" / ".local" / "share" / IDENTIFIER / "notes.sqlite3"
        with App(tmp_path, shown.display, [*there, f"/usr/bin/{NAME}"]) as app:
            app.await_service()
            app.await_page()
            until(notes.exists, "the migration's database")
            app.kill()
        with closing(sqlite3.connect(notes)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA user_version").fetchone() == (2,)
        run("dpkg", "--purge", NAME)
        left = run("sh", "-c", 'for it in "$@"; do test -d "$it" || ! test -e "$it" || echo "$it"; done', "sh", *files)
        assert left == ""
        run("test", "-e", f"/usr/lib/{NAME}", code=1)
        assert notes.exists()
    assert list((tmp_path / "state" / "runs").iterdir()) == []
    assert list((tmp_path / "unpacked").glob("_MEI*")) == []
    shutil.rmtree(tmp_path / "home")
