"""How a file is replaced whole: what is to be in it is written into a draft beside it, which then takes its name.

A writer that is killed in between leaves its draft. The pid in the draft's name tells whether it is left, but only in
the pid namespace of that pid: a container may share the folder. So whoever writes into a folder has it locked, in which
the kernel lets the dead go wherever they were, and a draft is left, and removed, only where nobody writes.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

BUSY_TRIES, BUSY_S = 20, 0.02
"""So often and so far apart is tried what another one keeps us from: together less than ``ledger.CLOSE_S``.

A writer of ours has a folder, and on Windows a reader has a file, for a millisecond; a virus scanner, for some more.
"""

_DRAFT = ".tmp"


def draft_of(path: str) -> str:
    """What becomes ``path`` when it is whole."""
    return f"{os.path.splitext(path)[0]}.{os.getpid()}{_DRAFT}"


def write_atomically(path: str, data: bytes) -> None:
    """Write a file of mode 0600 so that a reader sees the old one or the new one. Raises ``OSError``.

    For one thread at a time: all of this process have the same draft.
    """
    with writing_in(os.path.dirname(path)):
        replace(path, data)


def replace(path: str, data: bytes) -> None:
    """``write_atomically``, for who has the folder already. Raises ``OSError``, and leaves no draft then."""
    fresh = draft_of(path)
    remove(fresh)
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)  # all of it: a nearly full disk takes a part from a single write(2), and says nothing
        _insist(lambda: os.replace(fresh, path))
    except OSError:
        remove(fresh)
        raise


def remove(path: str) -> None:
    """Remove the file, if it is there. Raises ``OSError``."""
    _insist(partial(_unlink, path))


def left_in(folder: str, is_gone: Callable[[int], bool]) -> list[str]:
    """Drafts whose writers were killed; ``is_gone`` tells who has no pid here any more. Raises ``OSError``."""
    drafts = [name for name in sorted(os.listdir(folder)) if name.endswith(_DRAFT)]
    writers = {name: name.removesuffix(_DRAFT).rpartition(".")[2] for name in drafts}
    # a pid that is used again only puts the removal off
    left = [os.path.join(folder, name) for name, pid in writers.items() if pid.isdecimal() and is_gone(int(pid))]
    if not left:
        return []  # as in nearly every start, which locks nothing then
    with writing_in(folder, alone=True) as alone:
        return [path for path in left if alone and os.path.lexists(path)]


def remove_left(draft: str) -> None:
    """Remove one that is left, for good: no writer of it lives. Raises ``OSError``, also where somebody writes."""
    with writing_in(os.path.dirname(draft), alone=True) as alone:
        if not alone:
            raise BlockingIOError(errno.EAGAIN, "another sidecar writes beside it, or was stopped at that", draft)
        _unlink(draft)


if sys.platform == "win32":

    @contextmanager
    def writing_in(folder: str, *, alone: bool = False) -> Iterator[bool]:
        """Nothing to do: all pids are of one namespace, and a file that is being written cannot be removed."""
        del folder, alone
        yield True

else:
    import fcntl

    @contextmanager
    def writing_in(folder: str, *, alone: bool = False) -> Iterator[bool]:
        """Have the folder locked: with all others who write, or ``alone``. Gives whether it is. Raises ``OSError``.

        It is not waited for without a bound: another one that was stopped (SIGSTOP) has it for as long as it likes, and
        what is to be written is worth more than its draft.
        """
        # no program of ours inherits it; a fork on its way to an exec has it a moment longer
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield _lock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def _lock(fd: int, how: int) -> bool:
        for _ in range(BUSY_TRIES):
            try:
                fcntl.flock(fd, how | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(BUSY_S)
            except OSError:
                return True  # ENOLCK, EOPNOTSUPP, and NFS's EBADF: the file system has no such locks; the pid has to do
            else:
                return True
        return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # it need not be there


def _insist(work: Callable[[], object]) -> None:
    """Do it, on Windows again and again: there a file cannot be replaced or removed while somebody reads it."""
    for turn in range(BUSY_TRIES):
        try:
            work()
        except PermissionError:
            if sys.platform != "win32" or turn == BUSY_TRIES - 1:
                raise
            time.sleep(BUSY_S)  # a reader of ours, another start's sweep, or a scanner
        else:
            return
