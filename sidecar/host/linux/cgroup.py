"""A control group (v2) for the supervisor and all that it starts: a container that no fork, session or daemon leaves.

The guard makes the group beside its own, puts the supervisor in before that may start anything, and stays outside: one
write to ``cgroup.kill`` then ends all of it (cgroups(7)). The group's name says whose it is, so that the next start can
tell a dead guard's leftovers from a living one's tree.

Moving a process waits for a grace period of the kernel (about 8 ms), which is why the supervisor is moved once, while
it still loads, and not each child.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.tree import Process, is_gone, pid_namespace, raise_if_blind, read_process, send

PREFIX = "tauri-sidecar-"


def own_folder() -> str | None:
    """The folder of the group that this process is in, or ``None`` where version 2 is not mounted or not shown."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            group = next((line[3:].rstrip(b"\n").decode() for line in file if line.startswith(b"0::")), None)
        mounts = _mounts()
    except (OSError, UnicodeDecodeError):
        return None  # /proc is hidden; or the group's name is no text, which a record could not keep
    if group is None:
        return None
    for root, point in mounts:
        if root == "/":
            return os.path.normpath(point + group)
        if group == root or group.startswith(root + "/"):
            return os.path.normpath(point + group[len(root) :])
    return None


def _mounts() -> list[tuple[str, str]]:
    """Root and place of each mount of version 2. Raises ``OSError``, ``UnicodeDecodeError`` where these are no text.

    Other mounts' places need not be, such as that of a stick with an old system's name: those are passed by as bytes.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        # fields up to the separator: id parent device root mount-point options…; after it the type (proc(5))
        found = [line.split(b" ")[3:5] for line in file if b" - cgroup2 " in line]
    return [(_plain(root), _plain(point)) for root, point in found]


def _plain(field: bytes) -> str:
    return field.replace(b"\\040", b" ").decode()


def make(guard: int, member: int) -> str | None:
    """A new group beside that of ``guard`` (our own pid), with ``member`` in it; ``None`` where we may not."""
    return _make(guard, "cgroup.procs", str(member))


def make_indivisible(guard: int) -> str | None:
    """The same with nobody in it yet, and who enters can make no group below; ``None`` where we may not."""
    return _make(guard, "cgroup.max.descendants", "0")


def _make(guard: int, name: str, text: str) -> str | None:
    try:
        parent = own_folder()
        process = read_process(guard)
        if parent is None or process is None:
            return None
        folder = folder_of(process, parent)
        os.mkdir(folder)
    except OSError:
        # EACCES, EROFS: not ours to divide (an SSH session, a container); ENOSPC: a limit on groups; EMFILE, ENFILE,
        # ENOMEM: not now, and we can do without
        return None
    try:
        _write(f"{folder}/{name}", text)
    except OSError:
        remove(folder)  # EACCES: the parent's own cgroup.procs is not ours; ESRCH: it is dead already
        return None
    return folder


def enter(folder: str) -> None:
    """Move ourselves into it. Raises ``OSError``."""
    _write(f"{folder}/cgroup.procs", "0")


def folder_of(guard: Process, parent: str) -> str:
    """Where the group of this guard is: its name says whose it is, and in which pid namespace that is so."""
    return f"{parent}/{PREFIX}{pid_namespace()}-{guard.pid}-{guard.start}"


def kill(folder: str) -> None:
    """SIGKILL everything in the group, forks under way included."""
    try:
        _write(f"{folder}/cgroup.kill", "1")
    except OSError:
        pass  # ENOENT: a kernel before 5.14, where the guard's loop does it, or the group is gone already


def kill_leaderless(folder: str) -> None:
    """SIGKILL what ``kill`` does not end: processes whose first thread has called pthread_exit.

    To be called before it, as it ends the supervisor: were its caller killed between the two, nobody would be left.
    The kernel names a process as long as one of its threads lives, but no thread that is dead; so two lists tell who
    may be such a one, and not each process of a storm, which grows meanwhile, has to be looked at.
    """
    for pid in set(members(folder)) - set(_listed(folder, "cgroup.threads")):
        try:
            process = read_process(pid)  # of the others, most were only born, or died, between the two lists
        except OSError:
            return  # EMFILE, ENFILE, ENOMEM: what comes next does not depend on us
        if process is not None and process.leaderless:
            _try_to_kill(process)


def kill_each(folder: str) -> None:
    """SIGKILL the members one by one, by identity.

    ``cgroup.kill`` signals each process's first thread only. One whose first thread has called pthread_exit does not
    mind that, and a kernel before 5.14 does not have it at all. Raises ``OSError`` where nobody can be looked at now.
    """
    processes = [process for pid in members(folder) if (process := read_process(pid)) is not None]
    still = set(members(folder))  # a pid that was reused between the listing and the reading is not among these
    for process in processes:
        if process.pid in still:
            _try_to_kill(process)


def _try_to_kill(process: Process) -> None:
    try:
        send(process, signal.SIGKILL)
    except OSError:
        pass  # EPERM: another user's (set-id) process; EMFILE: the next pass has descriptors again


def wait_empty(folder: str, bound_s: float) -> None:
    """Sleep until nothing in the group is alive: the kernel tells by ``cgroup.events`` (cgroups(7)).

    Whoever looks through /proc meanwhile takes the processor from those who are dying.
    """
    try:
        fd = os.open(f"{folder}/cgroup.events", os.O_RDONLY)
    except OSError:
        return  # ENOENT: the group is gone already
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + bound_s
        while b"populated 1" in os.pread(fd, 256, 0) and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
    except OSError:
        pass  # ENODEV: it is being removed
    finally:
        os.close(fd)


def members(folder: str) -> list[int]:
    """The pids in the group, and in those below it."""
    return _listed(folder, "cgroup.procs")


def _listed(folder: str, name: str) -> list[int]:
    found: list[int] = []
    for group in _with_inner(folder):
        try:
            with open(f"{group}/{name}", encoding="ascii") as file:
                found += map(int, file)
        except OSError:
            continue  # ENOENT: it is gone; ENODEV: it is being removed; EOPNOTSUPP: its domain tells its processes
    return found


def _with_inner(folder: str) -> list[str]:
    """The group, behind those below it, the deepest first: a service may make some, and a sidecar in a service does."""
    inner = [f"{path}/{name}" for path, names, _ in os.walk(folder, topdown=False) for name in names]
    return [*inner, folder]


def remove(folder: str) -> bool:
    """Remove the empty group, and those below it; whether it is gone."""
    for group in _with_inner(folder):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            continue  # its own maker, or another start, was quicker
        except OSError:
            return False  # EBUSY: a process is still being buried
    return True


def leave(folder: str) -> None:
    """Move ourselves out and remove it: the supervisor's last act when there is no guard left to do it."""
    try:
        enter(os.path.dirname(folder))
    except OSError:
        return  # no longer ours to move; the next start removes it
    remove(folder)


def orphaned() -> list[str]:
    """Groups beside ours whose guard is dead. Raises ``OSError`` where nobody can be looked at now."""
    parent = own_folder()
    if parent is not None and os.path.basename(parent).startswith(PREFIX):
        parent = os.path.dirname(parent)  # the supervisor asks from inside its own group
    try:
        names = os.listdir(parent) if parent is not None else []
    except OSError:
        return []  # not ours to read
    return [f"{parent}/{name}" for name in names if is_orphaned(f"{parent}/{name}")]


def is_orphaned(folder: str) -> bool:
    """Whether it is a group of ours by its name, and the guard in that name is dead.

    The guard of another pid namespace cannot be looked for here. A group that we are in ourselves would be our own end:
    who started us (a terminal, say) is left of that run, and a start from outside finds it. Raises ``OSError`` where
    nobody can be looked at now.
    """
    name = os.path.basename(folder)
    namespace, pid, start = (*name.removeprefix(PREFIX).split("-"), "", "")[:3]
    if not (name.startswith(PREFIX) and pid.isdigit() and start.isdigit() and os.path.isdir(folder)):
        return False
    if namespace != pid_namespace() or not _is_group(folder) or _are_in(folder):
        return False
    # a guard that is a zombie does nothing any more: whoever launched it only has not asked for its exit code
    return is_gone(int(pid), int(start))


def _are_in(folder: str) -> bool:
    own = own_folder()
    return own is not None and f"{own}/".startswith(f"{folder}/")


def _is_group(folder: str) -> bool:
    """Whether it lies in the kernel's own file system: a record is only a file, and could name any folder.

    A list of pids that somebody wrote into a plain file is nobody's to be killed by.
    """
    try:
        where = os.lstat(folder).st_dev
        points = [point for _, point in _mounts()]
    except OSError as error:
        raise_if_blind(error)
        return False  # ENOENT: it is gone, or /proc is hidden
    except UnicodeDecodeError:
        return False  # a place that no record has
    return any(_device_of(point) == where for point in points)


def _device_of(point: str) -> int | None:
    try:
        return os.stat(point).st_dev
    except OSError:
        return None  # EACCES: a mount that is not ours to see


def _write(path: str, text: str) -> None:
    """One write(2), as the kernel's interface wants it. Raises ``OSError``."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
