"""A service's processes on Windows: those of its job, or, where it has none, those that descend from its program."""

from __future__ import annotations

import os
import subprocess
import sys
import time

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from msgspec import Struct

from sidecar.diagnostics import say
from sidecar.host.base import Ended
from sidecar.host.windows import winapi

KILLED = 0x5344_4B4C
"""The exit code that we end processes with: nobody else's, so that a death by us is told from an exit."""

CONTROL_C_EXIT = 0xC000_013A
"""The exit code of a program that did not handle Ctrl-C or Ctrl-Break."""

KILL_BOUND_S = 10.0
"""A job that is not empty by then holds processes that are in the kernel: they are named."""

RESCAN_S = 0.001
"""Between two looks at a job that was ended: about what a death takes."""


class Tree(Struct):
    """A service's program; ``code`` is its exit code once it is dead, ``asked`` whether it was asked to end."""

    pid: int
    process: int
    """Its handle, which keeps the pid its own."""
    job: int | None
    stdin: int | None
    """Our end of its stdin, which is never written to; ``None`` once it is closed."""
    code: int | None = None
    asked: bool = False
    left: tuple[int, ...] = ()
    """Who has outlived a kill: nobody waits for them any more."""


def exit_code(process: int) -> int | None:
    """``None`` while it runs: the handle tells, as a program may end with the code that stands for one that runs."""
    if _winapi.WaitForSingleObject(process, 0) != _winapi.WAIT_OBJECT_0:
        return None
    return _winapi.GetExitCodeProcess(process)


def ended(service: str, tree: Tree) -> Ended:
    """What its exit code means: only Windows' own and ours stand for what are signals elsewhere."""
    if tree.code is None or tree.code == KILLED:
        return Ended(service, None, "SIGKILL", tree.left)
    if tree.code == CONTROL_C_EXIT:
        return Ended(service, None, "SIGBREAK" if tree.asked else "SIGINT", tree.left)
    return Ended(service, tree.code, None, tree.left)


def members(tree: Tree) -> list[int]:
    """Who lives of it: what is in its job. Where it has none, its descendants as far as their parents live."""
    if tree.job is not None:
        return winapi.pids_in_job(tree.job)
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid", "create_time"]):
        children.setdefault(process.info["ppid"], []).append(process)
    # our handle of the program keeps its pid its own, even when it is dead; another parent's may be somebody else's now
    found = [] if exit_code(tree.process) is not None else [tree.pid]
    todo = [(tree.pid, 0.0)]
    while todo:
        parent, since = todo.pop()
        kids = [it for it in children.pop(parent, []) if (it.info["create_time"] or 0.0) >= since]
        found += [it.pid for it in kids]
        todo += [(it.pid, it.info["create_time"] or 0.0) for it in kids]
    return found


def lives(tree: Tree) -> bool:
    """Whether anything of it does."""
    return bool(members(tree)) if tree.job is None else winapi.count_in_job(tree.job) > 0


def has_no_owner(pid: int) -> bool:
    """Whether the pid that a table of sockets names is no process's.

    Wine names none (0). A socket that was handed on is listed with the process that made it, which may be dead.
    """
    if pid == 0:
        return True
    try:
        process = _winapi.OpenProcess(winapi.PROCESS_QUERY_LIMITED_INFORMATION | winapi.SYNCHRONIZE, False, pid)
    except OSError as error:
        return error.winerror == winapi.ERROR_INVALID_PARAMETER  # else it is there, and another user's
    try:
        return exit_code(process) is not None
    finally:
        _winapi.CloseHandle(process)


def strike(tree: Tree) -> None:
    """Kill all of it, and wait for nothing."""
    if tree.job is not None:
        winapi.terminate_job(tree.job, KILLED)
        return
    import psutil

    pids = members(tree)  # before its head is cut off
    terminate(tree.process)
    for pid in pids:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            pass  # it went since the look
        except psutil.AccessDenied:
            # another user's; where we are an administrator, the system's own tool may do more than we
            tool = [f"{os.environ['SYSTEMROOT']}\\System32\\taskkill.exe", "/T", "/F", "/PID", str(pid)]
            subprocess.run(tool, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def end(tree: Tree) -> None:
    """Kill all of it, and wait until it is gone, within a bound."""
    deadline = time.monotonic() + KILL_BOUND_S
    strike(tree)
    while lives(tree):
        if time.monotonic() >= deadline:
            tree.left = tuple(members(tree))
            for pid in tree.left:
                say("error", f"process {pid} could not be ended; it is in the kernel, or another user's")
            return
        time.sleep(RESCAN_S)
        if tree.job is None:
            strike(tree)  # a walk misses what is started meanwhile; a job does not


def terminate(process: int) -> None:
    """End the program itself."""
    try:
        _winapi.TerminateProcess(process, KILLED)
    except OSError:
        pass  # ERROR_ACCESS_DENIED: it is dying already


def close_stdin(tree: Tree) -> None:
    """Let its stdin end."""
    if tree.stdin is not None:
        os.close(tree.stdin)
        tree.stdin = None


def close(tree: Tree) -> None:
    """It is gone: let go of what we hold of it."""
    close_stdin(tree)
    _winapi.CloseHandle(tree.process)
    if tree.job is not None:
        _winapi.CloseHandle(tree.job)
