"""``sidecar logs``: print the services' output from a project's log files. No sidecar has to run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sidecar.config.strict import did_you_mean
from sidecar.diagnostics import say_error
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED
from sidecar.runtime.streams import write_all
from sidecar.state import run_record
from sidecar.state.log_files import FOLDER, PROJECT, file_name

LOOK_S = 0.2
"""Seconds between two checks for new lines, with ``--follow``."""

_READ = 1 << 16


def run(name: str | None, lines: int, *, follow: bool) -> int:
    """Print the last ``lines`` of one service or of all, and with ``follow`` new ones; return the exit code."""
    here = os.path.realpath(".")
    try:
        folder = find_folder(here)
    except OSError as error:
        say_error(f"the log files cannot be read: {error}", "options", "sidecar logs")
        return EXIT_FAILED
    if folder is None:
        say_error(
            f"there are no logs for {here}. Run this in the app's folder, or where the sidecar was started",
            "options",
            "sidecar logs",
        )
        return EXIT_FAILED
    names = _names_in(folder)
    if name is not None and file_name(name).removesuffix(".log") not in names:
        said, _ = did_you_mean(name, names)
        say_error(f"there is no log for {name} ({said})", "options", "sidecar logs")
        return EXIT_FAILED
    chosen = names if name is None else [file_name(name).removesuffix(".log")]
    wide = max(map(len, chosen), default=0)
    files = {each: _Tail(folder / f"{each}.log") for each in chosen}
    found = [(line, each) for each, file in files.items() for line in file.last(lines)]
    found.sort(key=lambda it: it[0].split(b" ", 1)[0])  # by time; the sort is stable, so each file keeps its order

    def label(each: str) -> bytes:
        return b"" if name is not None else f"{each:<{wide}} ".encode()

    if not _show(label(each) + line for line, each in (found[-lines:] if lines else ())):
        return EXIT_FAILED
    while follow:
        for each in _names_in(folder) if name is None else ():
            files.setdefault(each, _Tail(folder / f"{each}.log"))  # a service may have started for the first time
        for each, file in files.items():
            if not _show(label(each) + line for line in file.more()):
                return EXIT_FAILED
        time.sleep(LOOK_S)
    return EXIT_CLEAN


def _names_in(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.log"))


def find_folder(here: str) -> Path | None:
    """Find the folder with the logs of the project at, above or below ``here``. Raises ``OSError``."""
    found: list[tuple[int, float, Path]] = []
    for folder in Path(run_record.state_folder(FOLDER)).iterdir():
        try:
            project = os.fsdecode((folder / PROJECT).read_bytes())
            newest = max(file.stat().st_mtime for file in folder.iterdir())
        except FileNotFoundError:
            continue  # another sidecar is making or removing it
        if _is_in(here, project):
            found.append((len(project), newest, folder))
        elif _is_in(project, here):
            found.append((-len(project), newest, folder))
    return max(found)[2] if found else None


def _is_in(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


class _Tail:
    """A log file, and the position up to which it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._inode = -1
        self._rest = b""

    def last(self, count: int) -> list[bytes]:
        """Return the last lines, if needed from older files, too. ``more`` then continues after them."""
        lines = list(self.more())
        number = 1
        while len(lines) < count:
            try:
                older = self._path.with_name(f"{self._path.name}.{number}").read_bytes()
                lines = [*older.splitlines(keepends=True), *lines]
            except FileNotFoundError:
                break  # there are no older ones
            number += 1
        return lines[-count:] if count else []

    def more(self) -> Iterator[bytes]:
        """Yield the lines since the last call. After a rotation, start at the beginning of the new file."""
        try:
            with self._path.open("rb") as file:
                now = os.fstat(file.fileno())
                if now.st_ino != self._inode or now.st_size < self._at:
                    self._inode, self._at, self._rest = now.st_ino, 0, b""
                file.seek(self._at)
                while data := file.read(_READ):
                    self._at += len(data)
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    yield from (line + b"\n" for line in lines)
        except FileNotFoundError:
            return  # it is being rotated


def _show(lines: Iterable[bytes]) -> bool:
    """Print the lines; return whether stdout still takes them."""
    data = b"".join(lines)
    return not data or write_all(1, data)
