"""Find and read the files of a script. The project is not trusted: files that no person wrote are refused."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.commands.init import javascript as js
from sidecar.commands.init.javascript import Token
from sidecar.files import INSTALLED, is_file, read_regular, real_in, way_out

SCRIPT_BYTES_MOST = 64 << 10
"""Bound on the size of a script. One that starts a dev server is a page long."""
LINE_MOST = 4_000
"""Bound on the characters of a line. Longer lines are generated."""
TOKENS_MOST = 10_000
DEPTH_MOST = 100
"""Bounds on tokens and nested brackets. The time to find the ends of brackets and expressions grows with the square of
both."""

SUFFIXES = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts")


class UnreadableError(ValueError):
    """The file is not read; the message says why."""


def text_of(file: Path, top: Path) -> str:
    """Return the text of a regular file below ``top``. Raises ``UnreadableError``."""
    home = os.path.realpath(top)
    real = None if way_out(home, file) else real_in(home, file)
    if real is None or INSTALLED in Path(os.path.relpath(real, home)).parts:
        raise UnreadableError(f"{file} is not a file of this project")
    try:
        data = read_regular(real, SCRIPT_BYTES_MOST + 1)
    except OSError as error:  # ENOENT, EACCES, EISDIR: a command may name what is not there
        raise UnreadableError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > SCRIPT_BYTES_MOST:
        raise UnreadableError(f"{file} is larger than {SCRIPT_BYTES_MOST >> 10} KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"{file} is not UTF-8") from None
    if max(map(len, text.split("\n"))) > LINE_MOST:
        raise UnreadableError(f"{file} has a line of more than {LINE_MOST} characters")
    return text


def tokens_of(file: Path, top: Path) -> list[Token]:
    """Return the tokens of a script below ``top``. Raises ``UnreadableError``."""
    tokens = js.tokenize(text_of(file, top))
    if len(tokens) > TOKENS_MOST:
        raise UnreadableError(f"{file} has more than {TOKENS_MOST} words and marks")
    depth = 0
    for word in js.texts(tokens):
        if word:
            depth = max(0, depth + (word in js.OPEN) - (word in js.CLOSE))
        if depth > DEPTH_MOST:
            raise UnreadableError(f"{file} is nested too deeply")
    return tokens


def find(file: Path) -> Path | None:
    """Return the file that a script's name stands for, as node and tsx resolve it."""
    names = (
        file,
        *(file.with_name(file.name + suffix) for suffix in SUFFIXES),
        *(file / f"index{it}" for it in SUFFIXES),
    )
    if file.suffix in {".js", ".mjs"}:  # TypeScript imports dev.ts as dev.js, the name after compilation
        names = (*names, file.with_suffix(file.suffix.replace("js", "ts")))
    return next((name for name in names if is_file(name)), None)
