"""Write all edits, or none: first make each new file beside the old one, then put all of them in place."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from sidecar.commands.init.plan import Edit
from sidecar.errors import ConfigurationError
from sidecar.files import read_regular, real_in, way_out

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class _Prepared(Struct):
    edit: Edit
    target: Path
    """The file itself, so that a link to it stays."""
    fresh: Path
    made: list[Path]
    """Folders that did not exist before."""


def write(edits: Sequence[Edit], home: Path) -> None:
    """Put all edits in place, in the folder ``home``, which has no links.

    Raises ``ConfigurationError`` if a file cannot be written or was changed. Then all files are as before.
    """
    prepared: list[_Prepared] = []
    replaced: list[_Prepared] = []
    try:
        for edit in edits:
            _prepare(edit, home, prepared)
        for each in prepared:
            _check(each)
            replaced.append(each)  # before the replacement, because an interrupt may come right after it
            each.fresh.replace(each.target)
    except BaseException as error:
        _roll_back(prepared, replaced)
        if isinstance(error, OSError):  # ENOSPC, EACCES, EROFS
            what = f"{error.filename}: {error.strerror}. Nothing was written: all files are as they were."
            raise ConfigurationError(what) from None
        raise


def _prepare(edit: Edit, home: Path, prepared: list[_Prepared]) -> None:
    if way_out(home, edit.path) is not None:
        raise ConfigurationError(f"{edit.path} now leads out of {home}; nothing was written.")
    target = Path(real_in(home, edit.path))
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    each = _Prepared(edit, target, target, made)
    prepared.append(each)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    if edit.before is not None and not _is_writable(target):
        raise ConfigurationError(f"{edit.path} is read-only; nothing was written. Make it writable and start again.")
    mode = stat.S_IMODE(target.stat().st_mode) if edit.before is not None else 0o777 if edit.executable else 0o666
    with os.fdopen(os.open(fresh, _NEW, mode), "wb") as file:
        each.fresh = fresh
        file.write(edit.after)
    if edit.before is not None:
        fresh.chmod(mode)  # the umask may have removed bits


def _is_writable(file: Path) -> bool:
    """Tell whether the file itself is writable. To replace it, a writable folder would be enough."""
    return os.access(file, os.W_OK) and stat.S_IMODE(file.stat().st_mode) & 0o222 != 0


def _check(each: _Prepared) -> None:
    if _content(each.target, len(each.edit.before or b"") + 1) != each.edit.before:
        raise ConfigurationError(f"{each.edit.path} was changed meanwhile; nothing was written. Start again.")


def _content(path: Path, most: int) -> bytes | None:
    try:
        return read_regular(path, most)
    except FileNotFoundError:
        return None


def _roll_back(prepared: Sequence[_Prepared], replaced: Sequence[_Prepared]) -> None:
    """Restore all files that were replaced, and remove new ones."""
    for each in replaced:
        if each.fresh.exists():
            continue  # this one was not put in place
        if each.edit.before is None:
            each.target.unlink(missing_ok=True)
        else:
            each.target.write_bytes(each.edit.before)
    for each in prepared:
        if each.fresh != each.target:
            each.fresh.unlink(missing_ok=True)
    for folder in sorted({folder for each in prepared for folder in each.made}, key=lambda it: -len(it.parts)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
