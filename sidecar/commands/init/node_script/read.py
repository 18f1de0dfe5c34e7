"""Read a script and the files that it imports."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.commands.init.node_script.imports import Imports
from sidecar.commands.init.node_script.reading import Reading
from sidecar.commands.init.node_script.source import Source
from sidecar.commands.init.node_script.source_file import SUFFIXES, UnreadableError, find, tokens_of
from sidecar.commands.init.node_script.uses import Uses

FILES_MOST = 16
"""How many files are read for one script, including its imports."""


def read(file: Path, top: Path, folder: Path) -> Reading:
    """Read a script that runs in ``folder``, and the files that it imports, from the project in ``top``.

    Raises ``UnreadableError``.
    """
    reading = Reading(file)
    try:
        _Reader(reading, top, folder).read(file)
    except RecursionError:
        raise UnreadableError(f"{file} is nested too deeply") from None
    reading.unclear = list(dict.fromkeys(reading.unclear))
    return reading


class _Reader:
    """Reads one script and its imports into a reading."""

    def __init__(self, reading: Reading, top: Path, folder: Path) -> None:
        self._reading = reading
        self._top = top
        self._folder = folder
        self._seen: set[Path] = set()

    def read(self, file: Path) -> None:
        self._seen.add(Path(os.path.realpath(file)))
        place = Path(os.path.relpath(file, self._folder)).as_posix()
        source = Source(tokens_of(file, self._top), self._reading.unclear.append, f"./{place}")
        imports = Imports(source, self._reading)
        uses = Uses(source, imports, self._reading)
        for each in imports.find():
            if each.called is not None:
                uses.use(each.called, source.words[each.called])
            if each.module.startswith("."):
                self._follow(file, each.module)
        uses.look()

    def _follow(self, file: Path, name: str) -> None:
        found = find(file.parent / name)
        if found is None or found.suffix not in SUFFIXES:
            self._reading.unclear.append(f"it imports {name}, which is not read")
            return
        if Path(os.path.realpath(found)) in self._seen:
            return
        if len(self._seen) == FILES_MOST:
            self._reading.unclear.append(f"it imports more than {FILES_MOST} files")
            return
        self.read(found)
