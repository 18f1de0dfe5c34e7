"""What being frozen into one file means: another command line, a bootloader above us, its folder, its variables.

PyInstaller's bootloader unpacks into a temporary folder, starts us from it, waits for our end and removes the folder.
Killed, it leaves both behind: then the folder is ours to remove. Its name carries the bootloader's pid, and a marker in
it tells it from other programs' folders. While one of ours runs from it, it is locked: a sandbox may share the folder
for temporary files, and have pids of its own; and systemd-tmpfiles, which tidies up there what is some days old, leaves
alone what is locked (tmpfiles.d(5)).

Light on purpose: the guard loads this before it forks.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator

PREFIX = "_MEI"
MARKER = "tauri-sidecar.bundle"
PID_DIGITS = 8
"""After the prefix: the bootloader's pid, in hexadecimal; then six random characters (mkdtemp)."""

HOME = os.path.abspath(os.sep)
"""The folder to start ourselves again in: nobody removes it meanwhile."""

_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
"""``-m`` looks in the current folder and in variables, and an embedded Python in neither."""

_OWN_VARIABLES = ("_PYI_", "_MEIPASS")


def unpacked_folder() -> str | None:
    """The folder that the bootloader unpacked for us; ``None`` if we are not frozen, or frozen as a folder."""
    folder: str | None = getattr(sys, "_MEIPASS", None)
    return folder if folder is not None and os.path.basename(folder).startswith(PREFIX) else None


def itself(*words: str) -> list[str]:
    """The command line that starts this sidecar, and no other thing that is called so."""
    start = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-c", _MAIN, _PACKAGE_HOME]
    return [*start, *words]


def forget_variables() -> None:
    """Put our environment back to what it was before the bootloader: every program that we start inherits it."""
    if not getattr(sys, "frozen", False):
        return
    for name in [name for name in os.environ if name.startswith(_OWN_VARIABLES)]:
        del os.environ[name]
    _restore_library_path()


if sys.platform == "win32":

    def _restore_library_path() -> None:
        """Libraries of ours must not be found by other programs before their own."""
        from sidecar.host.windows import winapi

        winapi.forget_dll_folder()

    def _is_foreign(found: os.stat_result) -> bool:
        """The access list of the user's own folder for temporary files guards it."""
        del found
        return False

    def hold() -> None:
        """There are no other pids than ours, so that nobody takes our bootloader for dead."""

    def _is_held(folder: str) -> bool:
        del folder
        return False

else:
    import fcntl

    _LIBRARY_PATH = "LD_LIBRARY_PATH"

    def _restore_library_path() -> None:
        before = os.environ.pop(f"{_LIBRARY_PATH}_ORIG", None)
        os.environ.pop(_LIBRARY_PATH, None)
        if before is not None:
            os.environ[_LIBRARY_PATH] = before

    def _is_foreign(found: os.stat_result) -> bool:
        return found.st_uid != os.geteuid()

    def hold() -> None:
        """Lock our folder for as long as we live, or one that is forked from us. No program inherits it."""
        folder = unpacked_folder()
        if folder is None:
            return
        try:
            # exclusively: systemd-tmpfiles looks with a shared lock, as we do; such a look is over in no time
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_EX)
        except OSError:
            pass  # ENOENT: our bootloader is dead already, and somebody tidied up; ENOLCK: the pid has to do

    def _is_held(folder: str) -> bool:
        """Whether one of ours runs from it."""
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return True  # ENOENT: it is removed already; EMFILE: the next start sees to it
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False


if sys.platform == "linux":
    from sidecar.host.linux.tree import is_gone as _is_dead
    from sidecar.host.linux.tree import sees_itself

    def bootloader() -> int | None:
        """The bootloader's pid: our parent, if we are frozen into one file.

        Raises ``ProcessLookupError`` if it is dead already. A parent that runs our own file can only be it. Without a
        /proc of ours that cannot be seen, and the parent is taken for it.
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
            pass  # EACCES: another user's process, and so not it; ENOENT: it went, or our file was replaced meanwhile
        raise ProcessLookupError

else:

    def _is_dead(pid: int) -> bool:
        import psutil

        return not psutil.pid_exists(pid)


def left_behind() -> list[str]:
    """Folders of killed bootloaders, beside ours, with what ours has in them; none if we are not frozen into a file."""
    own = unpacked_folder()
    if own is None:
        return []
    parent, own_name = os.path.split(own)
    try:
        names = os.listdir(parent)
    except OSError:
        return []  # EACCES: a folder that we may use and not list
    orphaned = [it for it in names if it.startswith(PREFIX) and it != own_name and _bootloader_is_dead(it)]
    if not orphaned:
        return []  # as in nearly every start, which need not look into its own folder then
    ours = set(_files(own))
    return [path for name in orphaned if _is_ours(path := f"{parent}/{name}", ours) and not _is_held(path)]


def _bootloader_is_dead(name: str) -> bool:
    """Whether the folder's name has a pid that nobody has here. One that is used again only puts the removal off."""
    try:
        pid = int(name[len(PREFIX) :][:PID_DIGITS], 16)
    except ValueError:
        return False  # a folder of a PyInstaller before 6, which does not say whose it is
    return _is_dead(pid)


def _is_ours(folder: str, ours: set[str]) -> bool:
    """Whether it was unpacked from a binary of ours: marked so, or (not yet) with nothing in it that ours has not."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False  # ENOENT: somebody else removed it
    if not stat.S_ISDIR(found.st_mode) or _is_foreign(found):
        return False
    files = set(_files(folder))
    return MARKER in files or files <= ours


def _files(folder: str) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        yield from (os.path.relpath(f"{path}/{name}", folder) for name in names)


def remove(folder: str) -> bool:
    """Remove an unpacked folder; whether it is gone. The files in it may be in use: they live on without a name."""
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
        pass  # ENOENT: the bootloader, or another of ours, removes it too; else the caller sees that it is still there
