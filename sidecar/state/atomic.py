"""Replace a file as a whole: write a draft beside it, then rename the draft.

A writer that is killed in between leaves its draft. The draft's name has the writer's pid, and so tells whether the
writer lives. But a pid counts only in its own pid namespace, and a container may share the folder. So writers also hold
a flock on the folder; the kernel releases it when they die, in any pid namespace. We remove a draft only while no
process writes.
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
"""How often, and at what interval, we retry what another process blocks. In total less than ``record_writer.CLOSE_S``.

Our writers hold a folder, and on Windows readers hold a file, for a millisecond. A virus scanner takes longer.
"""

_DRAFT = ".tmp"


def draft_of(path: str) -> str:
    """Return the path of the draft that becomes ``path`` when it is complete."""
    return f"{os.path.splitext(path)[0]}.{os.getpid()}{_DRAFT}"


def write_atomically(path: str, data: bytes) -> None:
    """Write a file of mode 0600. A reader sees the old file or the new one, nothing between. Raises ``OSError``.

    Only one thread may call this at a time: all threads of a process use the same draft.
    """
    with writing_in(os.path.dirname(path)):
        replace(path, data)


def replace(path: str, data: bytes) -> None:
    """``write_atomically`` for a caller that has locked the folder. Raises ``OSError``, and leaves no draft then."""
    fresh = draft_of(path)
    remove(fresh)
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)  # all of it: on a nearly full disk a single write(2) may write a part without an error
        _insist(lambda: os.replace(fresh, path))
    except OSError:
        remove(fresh)
        raise


def remove(path: str) -> None:
    """Remove the file, if it is there. Raises ``OSError``."""
    _insist(partial(_unlink, path))


def left_in(folder: str, is_gone: Callable[[int], bool]) -> list[str]:
    """Find the drafts of killed writers. ``is_gone`` tells whether a pid's process is gone. Raises ``OSError``."""
    drafts = [name for name in sorted(os.listdir(folder)) if name.endswith(_DRAFT)]
    writers = {name: name.removesuffix(_DRAFT).rpartition(".")[2] for name in drafts}
    # a reused pid only delays the removal
    left = [os.path.join(folder, name) for name, pid in writers.items() if pid.isdecimal() and is_gone(int(pid))]
    if not left:
        return []  # the usual case: no lock is needed
    with writing_in(folder, alone=True) as alone:
        return [path for path in left if alone and os.path.lexists(path)]


def remove_left(draft: str) -> None:
    """Remove the draft of a killed writer. Raises ``OSError``, also while another process writes in the folder."""
    with writing_in(os.path.dirname(draft), alone=True) as alone:
        if not alone:
            raise BlockingIOError(
                errno.EAGAIN, "another sidecar is writing in its folder, or was stopped while it wrote", draft
            )
        _unlink(draft)


if sys.platform == "win32":

    @contextmanager
    def writing_in(folder: str, *, alone: bool = False) -> Iterator[bool]:
        """Do nothing: Windows has one pid namespace, and a file that is being written cannot be removed."""
        del folder, alone
        yield True

else:
    import fcntl

    @contextmanager
    def writing_in(folder: str, *, alone: bool = False) -> Iterator[bool]:
        """Lock the folder, shared with other writers or ``alone``. Yield whether it is locked. Raises ``OSError``.

        The wait has a bound, because a stopped process (SIGSTOP) may hold the lock forever. After that a writer goes on
        without the lock. At worst another process removes its draft, and the write fails.
        """
        # no program that we start inherits the lock; a fork has it only until its exec
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
                return True  # ENOLCK, EOPNOTSUPP, EBADF (NFS): this file system has no locks, so the pid has to suffice
            else:
                return True
        return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # it need not exist


def _insist(work: Callable[[], object]) -> None:
    """Do the work. Repeat it on Windows, which cannot replace or remove a file while a process reads it."""
    for turn in range(BUSY_TRIES):
        try:
            work()
        except PermissionError:
            if sys.platform != "win32" or turn == BUSY_TRIES - 1:
                raise
            time.sleep(BUSY_S)  # the reader is a thread of ours, the sweep of another start, or a virus scanner
        else:
            return
