"""A control group (v2) for the supervisor and all that it starts: no fork, session or daemon leaves it.

The guard makes the group beside its own, puts the supervisor in before the supervisor may start anything, and stays
outside. One write to ``cgroup.kill`` then ends everything in it (cgroups(7)). The group's name identifies its guard. So
the next start can tell the orphans of a dead guard from the tree of a living one.

A move into a group takes a grace period of the kernel (about 8 ms). So only the supervisor is moved, once, while it
still loads. Its children start in the group.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.processes import (
    KILL_BOUND_S,
    RESCAN_S,
    Process,
    is_gone,
    pid_namespace,
    raise_if_blind,
    read_process,
    send,
)

PREFIX = "tauri-sidecar-"


def own_folder() -> str | None:
    """Return the folder of this process's group; ``None`` if version 2 is not mounted, or /proc does not show it."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            group = next((line[3:].rstrip(b"\n").decode() for line in file if line.startswith(b"0::")), None)
        mounts = _mounts()
    except (OSError, UnicodeDecodeError):
        return None  # /proc is hidden; or the group's name is no text, and a record could not keep it
    if group is None:
        return None
    for root, point in mounts:
        if root == "/":
            return os.path.normpath(point + group)
        if group == root or group.startswith(root + "/"):
            return os.path.normpath(point + group[len(root) :])
    return None


def _mounts() -> list[tuple[str, str]]:
    """Return root and mount point of each mount of version 2.

    Raises ``OSError``, and ``UnicodeDecodeError`` if one of them is no text. Other mounts may have any bytes as their
    mount point (a USB stick with an old system's name): their lines are skipped undecoded.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        # fields up to the separator: id parent device root mount-point options…; after it the type (proc(5))
        found = [line.split(b" ")[3:5] for line in file if b" - cgroup2 " in line]
    return [(_plain(root), _plain(point)) for root, point in found]


def _plain(field: bytes) -> str:
    """Decode a field of mountinfo, where white space and backslashes are octal escapes."""
    for escape, meant in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escape, meant)
    return field.decode()


def make(guard: int, member: int) -> str | None:
    """Make a group beside that of ``guard`` (our own pid), and move ``member`` into it; ``None`` if we may not."""
    return _make(guard, "cgroup.procs", str(member))


def make_indivisible(guard: int) -> str | None:
    """Make an empty group beside that of ``guard``. No member can make a group below it. ``None`` if we may not."""
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
        # EACCES, EROFS: we may not make groups here (an SSH session, a container); ENOSPC: a limit on groups; EMFILE,
        # ENFILE, ENOMEM: not now. The group is optional
        return None
    try:
        _write(f"{folder}/{name}", text)
    except OSError:
        remove(folder)  # EACCES: the parent's own cgroup.procs is not ours; ESRCH: the member is dead already
        return None
    return folder


def enter(folder: str) -> None:
    """Move ourselves into the group. Raises ``OSError``."""
    _write(f"{folder}/cgroup.procs", "0")


def folder_of(guard: Process, parent: str) -> str:
    """Return the folder of this guard's group. Its name has the guard's pid namespace, pid and start."""
    return f"{parent}/{PREFIX}{pid_namespace()}-{guard.pid}-{guard.start}"


def kill(folder: str) -> None:
    """SIGKILL everything in the group, forks under way included."""
    try:
        _write(f"{folder}/cgroup.kill", "1")
    except OSError:
        pass  # ENOENT: a kernel before 5.14, and the guard's loop kills instead; or the group is gone already


def kill_leaderless(folder: str) -> None:
    """SIGKILL the processes that ``kill`` does not end: those whose first thread has called pthread_exit.

    Call this before ``kill``, which ends the supervisor: if the guard were killed between the two calls, no process
    would be left to finish.

    The kernel lists a process in ``cgroup.procs`` while any of its threads lives, but lists only living threads in
    ``cgroup.threads``. So only a pid that is in the first list and not in the second has to be read. To read each
    process of a fork storm would take too long: the storm grows meanwhile.
    """
    for pid in set(members(folder)) - set(_listed(folder, "cgroup.threads")):
        try:
            process = read_process(pid)  # most pids that differ belong to processes born or dead between the two lists
        except OSError:
            return  # EMFILE, ENFILE, ENOMEM: the next steps of the kill do not need this one
        if process is not None and process.leaderless:
            _try_to_kill(process)


def kill_each(folder: str) -> None:
    """SIGKILL the members one by one, by identity.

    ``cgroup.kill`` signals only each process's first thread. A process whose first thread has called pthread_exit
    survives that. A kernel before 5.14 has no ``cgroup.kill``. Raises ``OSError`` if no process can be read now.
    """
    processes = [process for pid in members(folder) if (process := read_process(pid)) is not None]
    still = set(members(folder))  # without a pid that another process got between the listing and the reading
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

    Scans of /proc would take the processor from the dying processes.
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


def end(folder: str) -> bool:
    """Kill all members, remove the group, return whether it is gone. Raises ``OSError`` if no process can be read."""
    deadline = time.monotonic() + KILL_BOUND_S
    while True:
        kill(folder)
        kill_each(folder)
        if remove(folder):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(RESCAN_S)


def members(folder: str) -> list[int]:
    """Return the pids in the group and in the groups below it."""
    return _listed(folder, "cgroup.procs")


def _listed(folder: str, name: str) -> list[int]:
    found: list[int] = []
    for group in _with_inner(folder):
        try:
            with open(f"{group}/{name}", "rb") as file:
                found += map(int, file)
        except OSError:
            continue  # ENOENT: it is gone; ENODEV: it is being removed; EOPNOTSUPP: its domain lists its processes
    return found


def _with_inner(folder: str) -> list[str]:
    """Return the group and those below it, deepest first. A service may make groups; a sidecar in a service does."""
    inner = [f"{path}/{name}" for path, names, _ in os.walk(folder, topdown=False) for name in names]
    return [*inner, folder]


def remove(folder: str) -> bool:
    """Remove the empty group, and those below it. Return whether it is gone."""
    for group in _with_inner(folder):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            continue  # its maker, or another start, was quicker
        except OSError:
            return False  # EBUSY: a process is not completely dead yet
    return True


def leave(folder: str) -> None:
    """Move ourselves out and remove the group. The supervisor does this last if its guard is dead."""
    try:
        enter(os.path.dirname(folder))
    except OSError:
        return  # we may not move ourselves any more; the next start removes the group
    remove(folder)


def orphaned() -> list[str]:
    """Find the groups beside ours that have a dead guard. Raises ``OSError`` if no process can be read now."""
    parent = own_folder()
    if parent is not None and os.path.basename(parent).startswith(PREFIX):
        parent = os.path.dirname(parent)  # we are the supervisor, inside its own group
    try:
        names = os.listdir(parent) if parent is not None else []
    except OSError:
        return []  # we may not read the folder
    return [f"{parent}/{name}" for name in names if is_orphaned(f"{parent}/{name}")]


def is_orphaned(folder: str) -> bool:
    """Tell whether ``folder`` is a group of a sidecar by its name, and the guard in that name is dead.

    A group of another pid namespace does not count: we cannot see its guard. A group that we are in does not count
    either, because its kill would end us. This happens if a process that a dead run left (a terminal, say) starts us;
    a start from outside then finds the group. Raises ``OSError`` if no process can be read now.
    """
    name = os.path.basename(folder)
    namespace, pid, start = (*name.removeprefix(PREFIX).split("-"), "", "")[:3]
    if not (name.startswith(PREFIX) and pid.isdigit() and start.isdigit() and os.path.isdir(folder)):
        return False
    if namespace != pid_namespace() or not _is_group(folder) or _are_in(folder):
        return False
    # a zombie guard does nothing any more: only its launcher has not read its exit code yet
    return is_gone(int(pid), int(start))


def _are_in(folder: str) -> bool:
    own = own_folder()
    return own is not None and f"{own}/".startswith(f"{folder}/")


def _is_group(folder: str) -> bool:
    """Tell whether the folder lies in cgroupfs. A record is only a file, and could name any folder.

    Never trust pids from a file outside of cgroupfs.
    """
    try:
        where = os.lstat(folder).st_dev
        points = [point for _, point in _mounts()]
    except OSError as error:
        raise_if_blind(error)
        return False  # ENOENT: it is gone, or /proc is hidden
    except UnicodeDecodeError:
        return False  # no record has such a path
    return any(_device_of(point) == where for point in points)


def _device_of(point: str) -> int | None:
    try:
        return os.stat(point).st_dev
    except OSError:
        return None  # EACCES: we may not see this mount


def _write(path: str, text: str) -> None:
    """One write(2), as the kernel's interface wants it. Raises ``OSError``."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
