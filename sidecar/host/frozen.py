"""What differs in a frozen sidecar: its command line, the bootloader above it, the bootloader's folder and variables.

PyInstaller's bootloader unpacks into a temporary folder, starts us from it, waits for our end and removes the folder.
If the bootloader is killed, both we and the folder remain, and we have to remove the folder. The folder's name contains
the bootloader's pid. A marker in the folder tells it from other programs' folders.

Each process of ours that runs from the folder holds a lock on it, for two reasons. A sandbox may share the temporary
folder but have its own pids, so the pid in the name proves nothing there. And systemd-tmpfiles removes old files, but
not from a locked folder (tmpfiles.d(5)).

The guard loads this before it forks, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    from typing import Self

PREFIX = "_MEI"
MARKER = "tauri-sidecar.bundle"
PID_DIGITS = 8
"""After the prefix come the bootloader's pid, in hexadecimal, and six random characters (mkdtemp)."""

HOME = os.path.abspath(os.sep)
"""The folder in which we start ourselves again: one that cannot be removed meanwhile."""

_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
"""Used instead of ``-m``, which also searches the current folder and PYTHONPATH. Windows' embeddable Python searches
neither, so it would not find us."""

_OWN_VARIABLES = ("_PYI_", "_MEIPASS")

USERS_TMPDIR = "SIDECAR_USERS_TMPDIR"
"""The user's own TMPDIR; empty if there is none. This is set only if TMPDIR was changed for the bootloader, which
cannot unpack into the user's folder, or cannot run files there (``noexec``, full, not writable)."""


def unpacked_folder() -> str | None:
    """Return the folder that the bootloader unpacked for us; ``None`` if we are not frozen, or frozen as a folder."""
    folder: str | None = getattr(sys, "_MEIPASS", None)
    return folder if folder is not None and os.path.basename(folder).startswith(PREFIX) else None


def itself(*words: str) -> list[str]:
    """Return the command line that starts this very sidecar, not another program of that name."""
    start = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-c", _MAIN, _PACKAGE_HOME]
    return [*start, *words]


def is_intact() -> bool:
    """Tell whether the unpacked folder is still ours. True, too, if there is no such folder."""
    folder = unpacked_folder()
    if folder is None:
        return True
    try:
        found = os.lstat(folder)
    except OSError:
        return False  # ENOENT: a cleaner removed it, so another user could make a folder of that name
    return stat.S_ISDIR(found.st_mode) and not _is_foreign(found)


def seal() -> None:
    """Load no more modules from the unpacked folder. Does nothing if we are not frozen into one file.

    A cleaner of temporary files may remove that folder, and another user may then make it again, with other modules.
    Modules in the executable itself can still be loaded. Modules in the folder (those written in C, and those that
    Python needs for its own start) have to be loaded earlier.
    """
    if unpacked_folder() is None:
        return
    # PyInstaller's hook finds modules in the executable; the other hooks look into folders and archives
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if _finds_in_executable(hook)]
    sys.path_importer_cache.clear()


def _finds_in_executable(hook: object) -> bool:
    return getattr(getattr(hook, "__self__", None), "__name__", "") == "PyiFrozenFinder"


def forget_variables() -> None:
    """Restore our environment to its state before the bootloader: every program that we start inherits it."""
    before = os.environ.pop(USERS_TMPDIR, None)
    if before:
        os.environ["TMPDIR"] = before
    elif before is not None:
        os.environ.pop("TMPDIR", None)
    if not getattr(sys, "frozen", False):
        return
    for name in [name for name in os.environ if name.startswith(_OWN_VARIABLES)]:
        del os.environ[name]
    _restore_library_path()


if sys.platform == "win32":

    def _restore_library_path() -> None:
        """Undo the bootloader's search path, so that other programs find their own libraries, not ours."""
        from sidecar.host.windows import winapi

        winapi.forget_dll_folder()

    def _is_foreign(found: os.stat_result) -> bool:
        """Return ``False``: on Windows the access list of the user's temporary folder keeps others out."""
        del found
        return False

    def hold() -> None:
        """Do nothing: Windows has one set of pids, so another sidecar can see that our bootloader lives."""

    def keep_executable() -> None:
        """Do nothing: on Windows no one can write to the file of a running program, or remove it."""

    def _is_held(folder: str) -> bool:
        del folder
        return False

else:
    import fcntl

    _LIBRARY_PATH = "LD_LIBRARY_PATH"

    class _Executable:
        """Our executable as it was when we started: the part of a file object that PyInstaller's module reader uses."""

        def __init__(self, fd: int) -> None:
            self._fd = fd
            self._at = 0

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Leave the descriptor open: all readers share it."""

        def seek(self, offset: int) -> None:
            self._at = offset

        def read(self, size: int) -> bytes:
            data = b""
            while len(data) < size and (more := os.pread(self._fd, size - len(data), self._at + len(data))):
                data += more
            return data

    def keep_executable() -> None:
        """Load modules from the executable that we were started from, even if another file has its name by then.

        PyInstaller's reader opens the executable by its name at each import. An update replaces the file, an
        uninstaller removes it, and a macOS app may be moved while it runs. Then the import would fail, and end us.
        """
        reader = sys.modules.get("pyimod01_archive")
        if reader is None:
            return  # not frozen
        try:
            fd = os.open(sys.executable, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # ENOENT: it was moved while we started; EACCES: we may run it but not read it
        setattr(reader, "open", lambda _name, _mode: _Executable(fd))  # noqa: B010  the module looks this name up

    def _restore_library_path() -> None:
        before = os.environ.pop(f"{_LIBRARY_PATH}_ORIG", None)
        os.environ.pop(_LIBRARY_PATH, None)
        if before is not None:
            os.environ[_LIBRARY_PATH] = before

    def _is_foreign(found: os.stat_result) -> bool:
        return found.st_uid != os.geteuid()

    def hold() -> None:
        """Lock our folder until we, and all forks of us, are dead. No program that we start inherits the lock."""
        folder = unpacked_folder()
        if folder is None:
            return
        try:
            # exclusively: systemd-tmpfiles, like us, checks with a shared lock, which it holds only for a moment
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_EX)
        except OSError:
            pass  # ENOENT: our bootloader is dead already, and the folder was removed; ENOLCK: the pid has to suffice

    def _is_held(folder: str) -> bool:
        """Tell whether one of our processes runs from the folder."""
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return True  # ENOENT: it is gone already; EMFILE: leave it to the next start
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False


if sys.platform == "linux":
    from sidecar.host.linux.processes import is_gone as _is_dead
    from sidecar.host.linux.processes import sees_itself

    def bootloader() -> int | None:
        """Return the bootloader's pid: our parent's, if we are frozen into one file.

        Raises ``ProcessLookupError`` if the bootloader is dead already. Our parent is the bootloader if it runs our own
        file. If /proc does not show our own processes, we cannot check this, and take any parent for the bootloader.
        """
        if unpacked_folder() is None:
            return None
        pid = os.getppid()
        if not sees_itself():
            return pid
        try:
            if os.path.samefile(f"/proc/{pid}/exe", sys.executable):
                return pid
        except OSError:
            pass  # EACCES: another user's process, so not the bootloader; ENOENT: it is gone, or our file was replaced
        raise ProcessLookupError

else:

    def _is_dead(pid: int) -> bool:
        import psutil

        return not psutil.pid_exists(pid)


def left_behind() -> list[str]:
    """Find the folders that killed bootloaders of this sidecar left; none if we are not frozen into one file.

    They are beside our own folder, or in the user's temporary folder, if a bootloader failed to unpack there (see
    ``USERS_TMPDIR``).
    """
    own = unpacked_folder()
    if own is None:
        return []
    places = dict.fromkeys((os.path.dirname(own), _temporary_folder()))
    orphaned = [path for place in places for path in _orphaned_in(place) if path != own]
    if not orphaned:
        return []  # the usual case: then we need not read our own folder
    ours = set(_files(own))
    return [path for path in orphaned if _is_ours(path, ours) and not _is_held(path)]


def _temporary_folder() -> str:
    """Return the folder in which a bootloader unpacks by default."""
    if sys.platform == "win32":
        return os.path.dirname(unpacked_folder() or "")  # on Windows we never set another folder
    return os.path.abspath(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108  the bootloader's own choice


def _orphaned_in(place: str) -> list[str]:
    try:
        names = os.listdir(place)
    except OSError:
        return []  # EACCES: we may use the folder but not list it; ENOENT: the user's variable names none
    return [f"{place}/{name}" for name in names if name.startswith(PREFIX) and _bootloader_is_dead(name)]


def _bootloader_is_dead(name: str) -> bool:
    """Tell whether no process has the pid in the folder's name. A reused pid only delays the removal."""
    try:
        pid = int(name[len(PREFIX) :][:PID_DIGITS], 16)
    except ValueError:
        return False  # a folder of PyInstaller before 6, whose names have no pid
    return _is_dead(pid)


def _is_ours(folder: str, ours: set[str]) -> bool:
    """Tell whether our binary unpacked the folder: it has the marker, or only files that our own folder also has."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False  # ENOENT: another process removed it
    if not stat.S_ISDIR(found.st_mode) or _is_foreign(found):
        return False
    files = set(_files(folder))
    return MARKER in files or files <= ours


def _files(folder: str) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        yield from (os.path.relpath(f"{path}/{name}", folder) for name in names)


def remove(folder: str) -> bool:
    """Remove an unpacked folder; return whether it is gone. Files in use stay readable: only their names go.

    If another user has made a folder in its place, leave it alone: a link in it could redirect our removal.
    """
    try:
        if _is_foreign(os.lstat(folder)):
            return True
    except OSError:
        return True  # ENOENT: it is gone already
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            _try(os.unlink, f"{path}/{name}")
        for name in folders:
            _try(os.unlink if os.path.islink(f"{path}/{name}") else os.rmdir, f"{path}/{name}")
    _try(os.rmdir, folder)
    return not os.path.lexists(folder)


def _try(work: Callable[[str], None], path: str) -> None:
    try:
        work(path)
    except OSError:
        pass  # ENOENT: the bootloader or another sidecar removes it, too; else the caller sees that it is still there
