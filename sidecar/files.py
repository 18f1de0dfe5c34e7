"""Opens the files and folders of a project, which is not trusted. All code that reads a project uses this module.

A file may be a pipe, a device, or endless, and a folder may have a million entries. So reads and listings are bounded.
A link may lead anywhere, even to a remote machine that the kernel then asks. A command that only looks at a project
follows no link that leads out of it (``kept_in``). A service is not bound by this: it is a program that runs.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec

_Value = TypeVar("_Value")

ENTRIES_MOST = 10_000
"""Bound on the entries of one folder, and on those of all folders of one search."""

FILE_BYTES_MOST = 1 << 20
"""Bound on a manifest, and on a program to search for a word. People write both; a larger file is something else."""

LINKS_MOST = 40
"""Bound on links in one path. Linux follows as many."""

INSTALLED = "node_modules"
"""A folder of installed packages, which are not the project's own files."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without ``O_NONBLOCK``, opening a pipe would block."""


class _Kept(NamedTuple):
    """The project that we look at. ``home`` and ``root`` have no links; ``named`` is the root as the user spells it."""

    home: str
    root: str
    named: str


_kept: list[_Kept | None] = []
"""A stack: the innermost ``kept_in`` is the last. ``None`` stands for ``unkept``.

This is global, because a process looks at one project only.
"""


@contextmanager
def kept_in(home: str, root: str) -> Iterator[None]:
    """Within this context, open nothing outside of ``home``, and take no program of the project for the user's.

    ``root`` is the folder to look at, as the user spells it. ``home`` is the whole project or workspace around it. No
    link inside ``home`` is followed out of it. Links outside, such as one on the way to the project, are the user's own
    and are followed. In the folders above, only files that concern a project below may be opened, as package managers
    do: lock files, manifests, ``node_modules``.
    """
    _kept.append(_Kept(os.path.realpath(home), os.path.realpath(root), os.path.abspath(root)))
    try:
        yield
    finally:
        _kept.pop()


@contextmanager
def unkept() -> Iterator[None]:
    """Within this context, open the user's own files, such as those of a version manager."""
    _kept.append(None)
    try:
        yield
    finally:
        _kept.pop()


def is_own(program: str) -> bool:
    """Tell whether a program belongs to the project that we look at, or is in a ``node_modules`` folder above it."""
    kept = _kept[-1] if _kept else None
    if kept is None:
        return False
    home, root, _ = kept
    if _is_in(os.path.realpath(os.path.expanduser("~")), home):
        home = root  # a home folder may be a git repository, and the user's own node is in it
    for find in (os.path.normpath, os.path.realpath):
        real: str = find(program)
        above = real.partition(f"{os.sep}{INSTALLED}{os.sep}")[0]
        if _is_in(real, home) or (above != real and _is_in(root, above)):
            return True
    return False


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Read the first ``most`` bytes of a regular file. Raises ``OSError``, also for a pipe, a device or a folder."""
    real = _real(path)
    _check_regular(os.stat(real), real)  # check before opening: opening a device may have an effect
    fd = os.open(real, _FLAGS)
    try:
        _check_regular(os.fstat(fd), real)
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def read_head(path: str | os.PathLike[str], most: int) -> bytes:
    """Read up to ``most`` bytes of a regular file; return none if it does not exist or cannot be read."""
    try:
        return read_regular(path, most)
    except (OSError, ValueError):
        return b""  # ENOENT, EACCES, a pipe, an invalid name: nothing to read


def parse_json(data: bytes | str, type_: type[_Value]) -> _Value:
    """Return the value of a JSON text.

    Raises ``msgspec.DecodeError``, also for a text that is nested too deeply, and ``UnicodeDecodeError``.
    """
    try:
        return msgspec.json.decode(data, type=type_)
    except RecursionError:
        raise msgspec.DecodeError("JSON is malformed: it is nested too deeply") from None


def read_json(path: str | os.PathLike[str], type_: type[_Value]) -> _Value | None:
    """Read a JSON file as ``type_``; return ``None`` if it does not exist or does not have that type."""
    try:
        return parse_json(read_head(path, FILE_BYTES_MOST), type_)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # it is cut off, or no JSON, or nested more deeply than a person writes


def is_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether it is a regular file or a link to one."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether it is a folder or a link to one."""
    return stat.S_ISDIR(_mode(path))


def is_there(path: str | os.PathLike[str]) -> bool:
    """Tell whether anything has that name. A dangling link counts."""
    folder, name = os.path.split(os.fspath(path))
    try:
        _check_place(path)
        os.lstat(os.path.join(_real(folder or os.curdir), name))
    except (OSError, ValueError):
        return False  # ENOENT, ENOTDIR, EACCES, an invalid name, a folder outside of the project
    return True


def leads_out(path: str | os.PathLike[str]) -> bool:
    """Tell whether a link on this path leads out of the project that we look at."""
    try:
        _real(path)
    except OSError:
        return True
    except ValueError:
        pass  # an invalid name leads nowhere
    return False


def real_in(home: str | os.PathLike[str], path: str | os.PathLike[str]) -> str:
    """Return the path without links. It must be in ``home``, which has no links.

    Raises ``OSError`` if it is not; ``filename2`` is the place that it leads to.
    """
    real = _real(path, os.fspath(home))
    if sys.platform == "win32":
        real = os.path.realpath(real)  # no link is left, but a folder may be given by its short name
    if not _is_in(real, os.fspath(home)):
        raise _out(os.fspath(path), real)
    return real


def way_out(home: str | os.PathLike[str], path: str | os.PathLike[str]) -> str | None:
    """Return the place outside of ``home`` that a path leads to; ``None`` if it stays in ``home``."""
    try:
        real_in(home, path)
    except OSError as error:
        return os.fsdecode(error.filename2 or path)
    return None


def list_folder(path: str | os.PathLike[str], most: int = ENTRIES_MOST) -> list[str]:
    """Return the names in a folder, sorted; of a huge folder only the first ``most``. Raises ``OSError``."""
    with os.scandir(_real(path)) as entries:
        return sorted(entry.name for entry in islice(entries, most))


def files_below(top: str | os.PathLike[str], skips: Callable[[str], bool] = lambda _name: False) -> Iterator[str]:
    """Yield the paths of all files below, folder by folder. Leave out linked folders and those that ``skips`` names."""
    left = ENTRIES_MOST
    folders = [os.fspath(top)]
    while folders and left > 0:
        folder = folders.pop()
        try:
            names = list_folder(folder, left)
        except OSError:
            continue  # ENOENT, EACCES: it was removed, or we may not read it
        left -= len(names)
        paths = [os.path.join(folder, name) for name in names]
        yield from (path for path in paths if is_file(path))
        folders += [path for path in reversed(paths) if _is_own_folder(path) and not skips(os.path.basename(path))]


def find_below(top: str | os.PathLike[str], pattern: str) -> list[str]:
    """Return the paths below that match a pattern such as ``packages/*/package.json``, sorted.

    Skip ``node_modules``.
    """
    from fnmatch import fnmatchcase  # noqa: PLC0415  a start in an app has no pattern

    left = ENTRIES_MOST
    found: list[str] = []
    words = [word for word in pattern.split("/") if word not in {"", os.curdir}]
    todo = [(os.fspath(top), tuple(words))] if words and os.pardir not in words else []
    while todo:
        place, (word, *rest) = todo.pop()
        if word == "**":
            todo += [(place, tuple(rest))] if rest else []
            here = [name for name in _names(place, left) if _is_own_folder(os.path.join(place, name))]
            todo += [(os.path.join(place, name), (word, *rest)) for name in here]
            left -= len(here)
        else:
            here = _names(place, left) if set(word) & set("*?[") else [word]
            left -= len(here)
            paths = [os.path.join(place, name) for name in here if fnmatchcase(name, word) or name == word]
            if rest:
                todo += [(path, tuple(rest)) for path in paths if is_folder(path)]
            else:
                found += [path for path in paths if is_there(path)]
        if left <= 0:
            break
    return sorted(dict.fromkeys(found))


def _names(folder: str, most: int) -> list[str]:
    try:
        return [name for name in list_folder(folder, max(most, 0)) if name not in {INSTALLED, ".git"}]
    except OSError:
        return []  # ENOENT, ENOTDIR, EACCES: the pattern may match a file


def _is_own_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False  # ENOENT: it was removed


def _mode(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(_real(path)).st_mode
    except (OSError, ValueError):
        return 0  # ENOENT, ENOTDIR, EACCES, an invalid name, a link that we do not follow


def _check_regular(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _real(path: str | os.PathLike[str], home: str | None = None) -> str:
    """Return the path to open. Raises ``OSError`` for a link that we do not follow."""
    name = os.fspath(path)
    kept = _kept[-1] if _kept and home is None else None
    home = kept.home if kept else home
    if home is None:
        return name
    place = os.path.join(os.getcwd(), name)
    if kept is not None:
        _check_place(name)
        if _is_in(place, kept.named):
            place = kept.root + place[len(kept.named) :]  # resolve the user's own links and short names
    drive, rest = os.path.splitdrive(place)
    return _follow(drive + os.sep, _words(rest), home, within=False, links=[name] * LINKS_MOST)


def _check_place(name: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` unless it is in the project, or in the folders above where package managers look."""
    kept = _kept[-1] if _kept else None
    path = os.path.normpath(os.path.join(os.getcwd(), name)) if kept else ""
    if kept and not _may_be(path, kept):
        raise OSError(errno.EXDEV, "it is outside of the project", path, None, path)


def _may_be(path: str, kept: _Kept) -> bool:
    top = path.partition(f"{os.sep}{INSTALLED}{os.sep}")[0]
    above = top if top != path else os.path.dirname(path)
    return any(
        _is_in(path, folder) or _is_in(folder, above) or _is_in(folder, path) for folder in (kept.home, kept.named)
    )


def _follow(real: str, words: list[str], home: str, *, within: bool, links: list[str]) -> str:
    """Return the place that ``words`` lead to from ``real``.

    ``within`` says that the words come from a link in ``home``, and must not leave it. This check touches nothing
    outside: a link into an automounter's folder would make it ask a remote machine.
    """
    for word in words:
        if word == os.pardir:
            real = os.path.dirname(real)
        else:
            place = os.path.join(real, word)
            target = _target(place)
            if target is None:
                real = place
            elif not links:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)
            else:
                links.pop()
                owned = within or _is_in(real, home)
                drive, rest = os.path.splitdrive(target)
                begin = real
                if drive or rest.startswith(os.sep):
                    begin = drive + os.sep
                    if owned and _is_in(os.path.normpath(target), home):
                        begin, rest = home, os.path.relpath(os.path.normpath(target), home)
                    elif owned:
                        raise _out(place, target)
                real = _follow(begin, _words(rest), home, within=owned, links=links)
        if within and not _is_in(real, home):
            raise _out(real, real)
    return real


def _target(place: str) -> str | None:
    """Return the target of a link; ``None`` for anything else."""
    try:
        return os.readlink(place).removeprefix("\\\\?\\")  # Windows adds this prefix
    except OSError:
        return None  # EINVAL: not a link; ENOENT, ENOTDIR, EACCES: opening it will report that


def _words(path: str) -> list[str]:
    return [word for word in path.replace(os.altsep or os.sep, os.sep).split(os.sep) if word not in {"", os.curdir}]


def _is_in(path: str, folder: str) -> bool:
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _out(path: str, target: str) -> OSError:
    return OSError(errno.ELOOP, "it is a link that leads out of the project", path, None, target)
