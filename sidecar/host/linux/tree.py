"""Process trees on Linux: who is below a process, and how all of it is ended.

Everything is read from ``/proc/<pid>/stat`` (proc(5)). ``/proc/<pid>/task/<tid>/children`` would be quicker, but needs
CONFIG_PROC_CHILDREN, is per thread, and may miss entries unless the tree is frozen.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

TYPE_CHECKING = False  # see sidecar.errors

KILL_BOUND_S = 10.0
"""A tree that is not gone by then holds processes in uninterruptible sleep, or that we may not kill: they are named."""

RESCAN_S = 0.0005
"""Between two looks at a tree whose processes were all sent SIGKILL: about what a death takes."""

BLIND_S = 0.01
"""Between two tries to look while there is no descriptor or memory for it: others need the processor to let some go."""

EXEC_BOUND_S = 0.1
"""An exec takes a thousandth of this, unless a slow disk has the program: then it is gone past, and looked at later."""

LARGEST_PID = 1 << 22
"""PID_MAX_LIMIT of the kernel, proc(5): what a record or a folder's name gives may be any number."""

FIRST_OF_TIME = str(0xEFFFFFFA)
"""PROC_TIME_INIT_INO of the kernel: the time namespace that a system starts with, time_namespaces(7)."""

_MEMORY, _ENV_START, _ENV_END = 20, 47, 48
"""Where stat has these, from the state on."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""These say nothing of the process that was looked at: taken for its death they would end a search, or a living run."""

if TYPE_CHECKING:
    from typing import TypeVar

    _Seen = TypeVar("_Seen")


def once_seen(look: Callable[[], _Seen]) -> _Seen:
    """What ``look`` gives, as soon as the system has a descriptor and memory to spare for it.

    This waits without a bound. Whoever cannot look cannot say that a tree is gone, and has nothing better to do.
    """
    while True:
        try:
            return look()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            time.sleep(BLIND_S)


def raise_if_blind(error: OSError) -> None:
    """Raise it, if it is no answer about who was looked at."""
    if error.errno in _EXHAUSTED:
        raise error


class Process:
    """One line of /proc/<pid>/stat; pid and start (clock ticks since boot) together are an identity.

    A plain class: the guard loads this module before it forks, and dataclasses would cost it ten milliseconds.
    """

    __slots__ = ("dead", "leaderless", "pid", "ppid", "sid", "start", "stopped")

    def __init__(self, pid: int, ppid: int, sid: int, start: int, state: bytes, threads: int) -> None:
        """Keep what was read; ``state`` is the letter of proc(5)."""
        zombie = state in (b"Z", b"X")
        self.pid = pid
        self.ppid = ppid
        self.sid = sid
        self.start = start
        # a leader that called pthread_exit shows as a zombie while its other threads run on
        self.dead = zombie and threads <= 1
        self.leaderless = zombie and threads > 1
        self.stopped = state in (b"T", b"t")


UNSEEN = Process(0, 0, 0, 0, b"", 0)
"""Stands for one that the kernel has below us, and /proc hides (hidepid, and it is another user's by now)."""


def still_alive(process: Process) -> str:
    """What is said of one that has outlived SIGKILL."""
    who = f"process {process.pid}" if process is not UNSEEN else "a process that /proc does not show"
    return f"{who} could not be ended; it is in the kernel, or another user's"


def sees_itself() -> bool:
    """Whether /proc shows our processes by our numbers.

    In a sandbox it may be missing, or be that of the pid namespace outside (``unshare --pid`` without a /proc of its
    own): there our number is somebody else's, and whoever is below that one is none of ours.
    """
    return _is_shown(os.getpid())


@cache
def _is_shown(me: int) -> bool:
    try:
        return os.readlink("/proc/self") == str(me)
    except OSError:
        return False  # ENOENT: nothing is mounted there


def read_process(pid: int | str) -> Process | None:
    """The process, or ``None`` if there is none (any more), or it is hidden from us.

    Raises ``OSError`` where nothing can be looked at now.
    """
    if not sees_itself():
        return None
    stat = _stat_of(pid)
    if not stat:
        return None
    fields = stat.split(b" ", 20)
    return Process(int(pid), int(fields[1]), int(fields[3]), int(fields[19]), fields[0], int(fields[17]))


def is_gone(pid: int, start: int | None = None) -> bool:
    """Whether it is dead, or a zombie, or (not with that ``start``) another one by now.

    Who is only hidden from us is not: /proc may show less than there is (hidepid, a sandbox), to which a process of our
    own user that no other may look into (prctl(2), PR_SET_DUMPABLE) belongs. Raises ``OSError`` where nothing can be
    looked at now.
    """
    process = read_process(pid)
    if process is not None:
        return process.dead or start not in {None, process.start}
    if not 0 < pid <= LARGEST_PID:
        return True  # nobody has such a number; kill(2) would take some of them for groups
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's: it is there
    return False


def _stat_of(pid: int | str) -> bytes:
    """Its stat from the state on, with which proc(5) has field 3; empty if there is no such process, or it is hidden.

    Raises ``OSError`` where nothing can be looked at now.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError as error:
        raise_if_blind(error)
        return b""  # ENOENT: it went between listing and opening, or /proc hides it (hidepid)
    try:
        stat = os.read(fd, 1024)
    except OSError as error:
        raise_if_blind(error)
        return b""  # ESRCH: it went between opening and reading
    finally:
        os.close(fd)
    # the command is in parentheses and may contain any byte, parentheses too: look from the right
    return stat[stat.rfind(b")") + 2 :]


def pid_namespace() -> str:
    """The number of the namespace that our pids are of: in another one (a container) they are other processes'.

    With that of time, where it is not the first: in another one the same process has another start.
    """
    pids, times = _namespace("pid"), _namespace("time")
    return pids if times in {"0", FIRST_OF_TIME} else f"{pids}.{times}"


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}").removeprefix(f"{kind}:[").removesuffix("]")
    except OSError:
        return "0"  # ENOENT: a kernel without such namespaces, or /proc is hidden: then it is all one


def behind(pidfd: int) -> Process | None:
    """The process that a pidfd of ours holds; ``None`` if it is dead, or outside of our pid namespace."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
            pid = next((line[4:].strip() for line in file if line.startswith("Pid:")), "")
    except OSError:
        return None  # /proc is hidden
    return read_process(pid) if pid.isdigit() and pid != "0" else None  # -1: it is dead; 0: out of our sight


def all_processes() -> dict[int, Process]:
    """Every process that can be seen, by pid. Raises ``OSError`` where nothing can be looked at now."""
    found = {}
    for name in os.listdir("/proc"):
        if name[0] in "123456789" and (process := read_process(name)) is not None:
            found[process.pid] = process
    return found


def environment(pid: int) -> bytes:
    """The variables that a process was started with, each with a NUL behind it; empty if it is gone or another user's.

    A leader that has called pthread_exit has none to show any more; its threads have. Raises ``OSError`` where nothing
    can be looked at now.
    """
    deadline = time.monotonic() + EXEC_BOUND_S
    while (found := _environ_of(f"/proc/{pid}")) == b"" and _shows_too_little(pid) and time.monotonic() < deadline:
        time.sleep(RESCAN_S)
    if found:
        return found
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError as error:
        raise_if_blind(error)
        return b""  # ENOENT, ESRCH: it went since the listing
    return next((found for tid in threads if (found := _environ_of(f"/proc/{pid}/task/{tid}"))), b"")


def _shows_too_little(pid: int) -> bool:
    """Whether a process that has just shown no variables has some, or may get some in a moment.

    In the middle of an exec its memory is a new one already, and the variables are not there yet. One that execs all
    the time would often go for a stranger.
    """
    fields = _stat_of(pid).split(b" ")
    if len(fields) <= _ENV_END:
        return False
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    # a kernel thread, or a zombie, has no memory
    return int(fields[_MEMORY]) != 0 and (end == 0 or end != start)


def variable(pid: int, name: str) -> str | None:
    """A variable as the process was started with it; ``None`` if it has none, is gone, or is another user's."""
    key = os.fsencode(name) + b"="
    found = (it for it in environment(pid).split(b"\0") if it.startswith(key))
    value = next(found, None)
    return None if value is None else os.fsdecode(value.removeprefix(key))


def _environ_of(folder: str) -> bytes | None:
    try:
        with open(f"{folder}/environ", "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise_if_blind(error)
        return None  # ENOENT, ESRCH: it is gone; EACCES: another user's


def below(roots: Iterable[int], processes: dict[int, Process]) -> list[Process]:
    """All descendants of ``roots`` (not these themselves), parents before children."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    todo = list(roots)
    while todo:
        kids = children.pop(todo.pop(0), [])
        found.extend(kids)
        todo.extend(process.pid for process in kids)
    return found


def send(process: Process, number: int) -> None:
    """Signal exactly this process, or nothing.

    Raises ``PermissionError`` where it belongs to another user.
    """
    try:
        if process.ppid == os.getpid():
            os.kill(process.pid, number)  # our own child: its pid cannot be reused before we reap it
            return
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return  # it went since the scan
    try:
        # The descriptor pins one process. If its start time is the scanned one, it is the scanned process;
        # if the pid was reused between the two calls, the descriptor's process is dead and takes no signal.
        again = read_process(process.pid)
        if again is not None and again.start == process.start:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass  # it went between the check and the signal
    finally:
        os.close(fd)


def has_children() -> bool:
    """Whether anybody, dead or alive, is a child of ours that we have not reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill_until_empty(
    list_tree: Callable[[], list[Process]],
    bound_s: float = KILL_BOUND_S,
    is_empty: Callable[[], bool] = lambda: True,
) -> list[Process]:
    """SIGKILL what ``list_tree`` gives until it gives nothing alive; return who is left when the bound is reached.

    Each pass kills what the pass before could not see yet: a fork storm loses because a parent that was killed
    does not fork any more, and its orphans come to us, the subreaper.

    A process that forks and exits without end is hardly ever where a listing looks for it, so that it alone proves
    nothing. ``is_empty`` is asked then; a subreaper can tell (``has_children``), as such a one is always below it.
    """
    deadline = time.monotonic() + bound_s
    killed: set[tuple[int, int]] = set()
    while True:
        alive = [process for process in once_seen(list_tree) if not process.dead]
        if not alive and is_empty():
            return []
        fresh = [process for process in alive if (process.pid, process.start) not in killed]
        for process in fresh:
            try:
                send(process, signal.SIGKILL)
            except OSError:
                pass  # EPERM: another user's (set-id) process; EMFILE: the next passes have descriptors again
            else:
                killed.add((process.pid, process.start))
        if time.monotonic() >= deadline:
            return alive or [UNSEEN]
        if not fresh:
            time.sleep(RESCAN_S)
