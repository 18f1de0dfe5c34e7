"""The example with a Python backend: build it, copy it, and read its page."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

if sys.platform != "linux":
    raise ImportError("WebKitWebDriver, which drives the windows, is on Linux only")

import psutil

from tests.app import support
from tests.app.support import App, Screen, Window
from tests.e2e.support import ROOT, WAIT_S

NOTES = ROOT / "tauri-integration" / "examples" / "python-backend"
NAME = "sidecar-notes"
IDENTIFIER = "dev.sidecar.notes"
HINT = "python3 build/dev.py backend installs what it can and runs these tests"


def missing() -> str | None:
    """Return why the example cannot be built and driven here; ``None`` if it can."""
    if not (NOTES / "backend" / ".venv" / "made-from.lock").exists():
        return f"the backend's packages are not installed: {HINT}"
    return support.missing(NOTES)


def copy_notes(folder: Path) -> Path:
    """Copy the files of the example that Vite, the backend and the plugin need."""
    left_out = shutil.ignore_patterns("node_modules", "dist", "src-tauri", ".venv", "__pycache__")
    shutil.copytree(NOTES, folder, ignore=left_out)
    (folder / "src-tauri").mkdir()
    for name in ("node_modules", "backend/.venv", "src-tauri/tauri.conf.json"):
        (folder / name).symlink_to(NOTES / name)
    return folder


class Notes(App):
    """The app, with its own data folder."""

    def __init__(self, binary: Path, project: Path, screen: Screen, folder: Path) -> None:
        self.data = folder / "data"
        super().__init__(binary, project, screen, folder, XDG_DATA_HOME=str(self.data))

    @property
    def database(self) -> Path:
        """The file with its notes."""
        return self.data / IDENTIFIER / "notes.sqlite3"

    def said(self) -> str:
        """Return the app's output, which includes its services' output."""
        logs = sorted((self.errors.parent / "state").rglob("*.log"))
        return "\n".join([super().said(), *(f"{it.name}:\n{it.read_text(errors='replace')}" for it in logs)])

    def written(self) -> list[str]:
        """Return the notes in the file, the oldest first. Assert that the file is intact."""
        with closing(sqlite3.connect(self.database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [text for (text,) in database.execute("SELECT text FROM note ORDER BY id")]

    def backend(self) -> psutil.Process:
        """Return the backend's oldest process, which the sidecar has started."""
        return self.backends()[0]

    def backends(self) -> list[psutil.Process]:
        """Return the backend's processes, the oldest first; none while it restarts."""
        found = [it for it in self.tree.living() if _environment(it).get("SIDECAR_SERVICE") == "api"]
        return sorted(found, key=lambda it: (it.create_time(), it.pid))

    def terminal(self) -> list[str]:
        """Return the services' lines in ``tauri dev``'s output."""
        return super().said().splitlines()


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}  # it has ended since the listing


class NotesWindow(Window):
    """The app, driven through its window."""

    app: Notes

    def __init__(self, app: Notes) -> None:
        super().__init__(app)
        self.app = app

    @property
    def address(self) -> str:
        """Return the backend's address, as the page knows it."""
        return str(self.script("return window.__SIDECAR__.services.api.origin"))

    @property
    def events(self) -> list[str]:
        """Return the events that the page has shown since it was loaded."""
        return list(self.script("return [...document.querySelectorAll('#events li')].map((it) => it.textContent)"))

    @property
    def notes(self) -> list[str]:
        """Return the notes on the page, the newest first."""
        return list(self.script("return [...document.querySelectorAll('#notes li')].map((it) => it.textContent)"))

    def await_connected(self) -> NotesWindow:
        """Wait until the page is connected to the backend's stream."""
        self.until(lambda: self.text("state") == "connected", "a page with a backend")
        self.until(lambda: (self.text("stream") or "").startswith("Tick "), "the stream")
        return self

    def write(self, text: str) -> None:
        """Write a note as a person does, and wait until it is in the list."""
        self.script("document.getElementById('text').value = arguments[0]", text)
        self.script("document.querySelector('#add button').click()")
        self.until(lambda: text in self.notes, f"the note {text!r}")

    def token(self) -> str:
        """Return the backend's token, as the page gets it."""
        ask = "window.__TAURI_INTERNALS__.invoke('plugin:sidecar|token', { service: 'api' }).then(arguments[0])"
        return str(self.web.execute_async_script(ask))


def ask(url: str, token: str | None = None, note: str | None = None, origin: str | None = None) -> tuple[int, Any]:
    """Send a request to the backend directly; return the status, and the body or the headers."""
    headers = {"Content-Type": "application/json"}
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= {} if origin is None else {"Origin": origin}
    body = None if note is None else json.dumps({"text": note}).encode()
    try:
        with urlopen(Request(url, body, headers), timeout=WAIT_S) as answer:
            return answer.status, dict(answer.headers) if origin else json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, dict(refused.headers)
