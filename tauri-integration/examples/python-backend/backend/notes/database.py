"""The notes, in a SQLite file in the app's data folder.

SQLite's write-ahead log keeps the file whole if the app is killed in the middle of a write. The backend keeps one
connection open for as long as it serves.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import platformdirs

APP = "dev.sidecar.notes"
"""The identifier in tauri.conf.json."""

BUSY_S = 10.0
"""How long a writer waits for a writer in another process, such as the one before a reload."""

MIGRATIONS = (
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",
    "ALTER TABLE note ADD COLUMN written TEXT NOT NULL DEFAULT ''",
)
"""What makes the newest database out of any older one. Add at the end, and never change what was released."""


def file() -> Path:
    """Return the database's path, in the folder that Tauri calls the app's data folder."""
    return platformdirs.user_data_path(APP, appauthor=False, roaming=True) / "notes.sqlite3"


def migrate() -> int:
    """Bring the database up to date, and return how many migrations ran. An interrupted one leaves no trace."""
    file().parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file(), timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        [done] = connection.execute("PRAGMA user_version").fetchone()
        for statement in MIGRATIONS[done:]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
        return len(MIGRATIONS) - int(done)
    finally:
        connection.close()


class Notes:
    """The open database. Any thread may use it: they take turns, and each statement is a transaction."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(file(), timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        self._turn = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def add(self, text: str) -> int:
        """Write a note down, and return its number. The note is on the disk when this returns."""
        statement = "INSERT INTO note (text, written) VALUES (?, datetime('now')) RETURNING id"
        [(number,)] = self._all(statement, text)
        return int(number)

    def last(self, count: int) -> list[str]:
        """Return the texts of the last notes, the newest first."""
        return [str(text) for (text,) in self._all("SELECT text FROM note ORDER BY id DESC LIMIT ?", count)]

    def total(self) -> int:
        """Return how many notes there are."""
        [(number,)] = self._all("SELECT count(*) FROM note")
        return int(number)

    def _all(self, statement: str, *values: str | int) -> list[tuple[str | int, ...]]:
        with self._turn:
            return self._connection.execute(statement, values).fetchall()
