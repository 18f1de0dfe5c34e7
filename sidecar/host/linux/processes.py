"""Process trees on Linux: find all descendants of a process, and end them.

We read ``/proc/<pid>/stat`` (proc(5)). ``/proc/<pid>/task/<tid>/children`` would be quicker, but it needs
CONFIG_PROC_CHILDREN, is per thread, and may miss entries unless the tree is frozen. So it only saves a look at the tree
where no thread reaps meanwhile.
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
"""The bound of a kill. Processes that are left are in uninterruptible sleep, or we may not kill them. We name them."""

RESCAN_S = 0.0005
"""The time between two looks at a tree after SIGKILL was sent to all of it: about as long as a death takes."""

BLIND_S = 0.01
"""The time between two tries if there is no descriptor or memory for a look. Other processes need it to free some."""

EXEC_BOUND_S = 0.1
"""The bound for another process's exec. It takes a thousandth of this, unless the program is on a slow disk. Then this
look misses the variables, and a later one reads them."""

LARGEST_PID = 1 << 22
"""PID_MAX_LIMIT of the kernel, proc(5). The number in a record or a folder's name may be larger."""

FIRST_OF_TIME = str(0xEFFFFFFA)
"""PROC_TIME_INIT_INO of the kernel: the system's first time namespace, time_namespaces(7)."""

_MEMORY, _ENV_START, _ENV_END = 20, 47, 48
"""The positions of these fields in stat, counted from the state."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that say nothing about the process that we read. If we took them for its death, we could miss processes of a
tree, or end a living run."""

if TYPE_CHECKING:
    from typing import TypeVar

    _Seen = TypeVar("_Seen")


def once_seen(look: Callable[[], _Seen]) -> _Seen:
    """Return the result of ``look``. Repeat it until the system has a descriptor and memory to spare for it.

    This waits without a bound: without a look we can neither end a tree nor say that it is gone.
    """
    while True:
        try:
            return look()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            time.sleep(BLIND_S)


def raise_if_blind(error: OSError) -> None:
    """Raise the error if it says nothing about the process that we read."""
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
        # a first thread that has called pthread_exit shows as a zombie while the other threads go on
        self.dead = zombie and threads <= 1
        self.leaderless = zombie and threads > 1
        self.stopped = state in (b"T", b"t")


UNSEEN = Process(0, 0, 0, 0, b"", 0)
"""Stands for a process below us that /proc does not show (with hidepid, if it has become another user's)."""


def still_alive(process: Process) -> str:
    """Make the message for a process that survived SIGKILL."""
    who = f"process {process.pid}" if process is not UNSEEN else "a process that /proc does not show"
    return f"{who} could not be ended; it hangs in the kernel, or is another user's"


def sees_itself() -> bool:
    """Tell whether /proc shows our processes by our pids.

    In a sandbox /proc may be missing, or belong to the outer pid namespace (``unshare --pid`` without a new /proc).
    There our pid is another process's, and the processes below that one are not ours.
    """
    return _is_shown(os.getpid())


@cache
def _is_shown(me: int) -> bool:
    try:
        return os.readlink("/proc/self") == str(me)
    except OSError:
        return False  # ENOENT: nothing is mounted there


def read_process(pid: int | str) -> Process | None:
    """Read a process; ``None`` if it does not exist (any more), or is hidden from us.

    Raises ``OSError`` if no process can be read now.
    """
    if not sees_itself():
        return None
    stat = _stat_of(pid)
    if not stat:
        return None
    fields = stat.split(b" ", 20)
    return Process(int(pid), int(fields[1]), int(fields[3]), int(fields[19]), fields[0], int(fields[17]))


def is_gone(pid: int, start: int | None = None) -> bool:
    """Tell whether the process is dead or a zombie, or another process has the pid now (one with another ``start``).

    A process that is only hidden from us counts as alive: /proc hides some by hidepid or in a sandbox. That includes
    processes of our own user that are not dumpable (prctl(2), PR_SET_DUMPABLE). Raises ``OSError`` if no process can be
    read now.
    """
    process = read_process(pid)
    if process is not None:
        return process.dead or start not in {None, process.start}
    if not 0 < pid <= LARGEST_PID:
        return True  # no process has such a pid; kill(2) would take some of these for groups
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists and is another user's
    return False


def _stat_of(pid: int | str) -> bytes:
    """Return the process's stat from the state on (field 3 in proc(5)); empty if it does not exist, or is hidden.

    Raises ``OSError`` if no process can be read now.
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
    # the command is in parentheses and may contain any byte, also parentheses, so search from the right
    return stat[stat.rfind(b")") + 2 :]


def pid_namespace() -> str:
    """Return the number of our pid namespace. In another one (a container) our pids belong to other processes.

    If we are not in the system's first time namespace, add the number of ours: start times differ between them.
    """
    pids, times = _namespace("pid"), _namespace("time")
    return pids if times in {"0", FIRST_OF_TIME} else f"{pids}.{times}"


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}").removeprefix(f"{kind}:[").removesuffix("]")
    except OSError:
        return "0"  # ENOENT: a kernel without such namespaces; or /proc is hidden, and the number does not matter


def behind(pidfd: int) -> Process | None:
    """Read the process of a pidfd of ours; ``None`` if it is dead, or outside of our pid namespace."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", "rb") as file:
            pid = next((line[4:].strip() for line in file if line.startswith(b"Pid:")), b"").decode("ascii")
    except OSError:
        return None  # /proc is hidden
    return read_process(pid) if pid.isdigit() and pid != "0" else None  # -1: it is dead; 0: outside of our namespace


def all_processes() -> dict[int, Process]:
    """Read every process that we can see, by pid. Raises ``OSError`` if no process can be read now."""
    found = {}
    for name in os.listdir("/proc"):
        if name[0] in "123456789" and (process := read_process(name)) is not None:
            found[process.pid] = process
    return found


def environment(pid: int) -> bytes:
    """Read the variables that a process was started with, each with a final NUL; empty if it is gone or another user's.

    A first thread that has called pthread_exit shows none any more, but the other threads do. Raises ``OSError`` if no
    process can be read now.
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
        return b""  # ENOENT, ESRCH: it has gone since the listing
    return next((found for tid in threads if (found := _environ_of(f"/proc/{pid}/task/{tid}"))), b"")


def _shows_too_little(pid: int) -> bool:
    """Tell whether a process that has just shown no variables has some, or may get some in a moment.

    In the middle of an exec a process has its new memory already, but not its variables yet. Without this check we
    would often take a process that execs again and again for a stranger.
    """
    fields = _stat_of(pid).split(b" ")
    if len(fields) <= _ENV_END:
        return False
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    # a kernel thread, or a zombie, has no memory
    return int(fields[_MEMORY]) != 0 and (end == 0 or end != start)


def variable(pid: int, name: str) -> str | None:
    """Read a variable that the process was started with; ``None`` if it has none, is gone, or is another user's."""
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


def belonging(
    candidates: Iterable[Process], processes: dict[int, Process], belongs: Callable[[Process], bool | None]
) -> list[Process]:
    """Return the candidates for which ``belongs`` is ``True``. ``processes`` is the listing that they are from.

    ``None`` means that the process does not show it. It may have died since the listing, in which its children still
    have it as their parent. So they become candidates in its place.
    """
    found: list[Process] = []
    to_ask = list(candidates)
    asked = set()  # a listing is no snapshot: with a pid that was reused, two processes may be each other's parent
    while to_ask:
        process = to_ask.pop()
        asked.add(process.pid)
        answer = belongs(process)
        if answer:
            found.append(process)
        elif answer is None:
            to_ask += [it for it in processes.values() if it.ppid == process.pid and it.pid not in asked]
    return found


def below(roots: Iterable[int], processes: dict[int, Process]) -> list[Process]:
    """Return all descendants of ``roots``, without ``roots`` themselves, parents before children."""
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
    """Signal exactly this process, or none.

    Raises ``PermissionError`` if it belongs to another user.
    """
    try:
        if process.ppid == os.getpid():
            os.kill(process.pid, number)  # our own child: its pid cannot be reused before we reap it
            return
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return  # it has gone since the scan
    try:
        # The descriptor pins one process. If the start time is the scanned one, it is the scanned process. If the pid
        # was reused between the two calls, the descriptor's process is dead and takes no signal.
        again = read_process(process.pid)
        if again is not None and again.start == process.start:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass  # it went between the check and the signal
    finally:
        os.close(fd)


def has_children() -> bool:
    """Tell whether we have a child, dead or alive, that we have not reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children_of_ours() -> list[int] | None:
    """Return the pids of this thread's children; ``None`` if the kernel does not list them (CONFIG_PROC_CHILDREN).

    The list may miss a child while another one is reaped, proc(5). Other threads may reap, so it is no proof: ask
    ``has_children``.
    """
    try:
        with open("/proc/thread-self/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return None  # ENOENT: the kernel has no such list, or /proc is hidden; EMFILE: not now


def kill_until_empty(
    list_tree: Callable[[], list[Process]],
    bound_s: float = KILL_BOUND_S,
    is_empty: Callable[[], bool] = lambda: True,
) -> list[Process]:
    """SIGKILL what ``list_tree`` returns until nothing in it is alive. Return what is left when the bound is reached.

    Each pass kills what the pass before could not see yet. A fork storm loses, because a killed parent forks no more,
    and its orphans come to us, the subreaper.

    A chain of processes that fork and exit may hide from each listing, so an empty one proves nothing. Then
    ``is_empty`` decides. A subreaper can ask the kernel (``has_children``): such a chain is always below it.
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
