"""A service's processes on Windows: those in its job, or without a job the descendants of its program."""

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
"""The exit code of processes that we kill. Programs do not use it, so we can tell a kill from an exit."""

CONTROL_C_EXIT = 0xC000_013A
"""The exit code of a program that did not handle Ctrl-C or Ctrl-Break."""

KILL_BOUND_S = 10.0
"""The bound of a kill. Survivors hang in the kernel. We name them."""

RESCAN_S = 0.001
"""Seconds between two checks of a killed job: about as long as a death takes."""


class Tree(Struct):
    """A service's program. ``code`` is its exit code once it is dead, ``asked`` whether it was asked to end."""

    pid: int
    process: int
    """Its handle. While we hold it, no other process gets the pid."""
    job: int | None
    stdin: int | None
    """Our end of its stdin. We never write to it. ``None`` once it is closed."""
    code: int | None = None
    asked: bool = False
    left: tuple[int, ...] = ()
    """Pids of the processes that survived a kill. We no longer wait for them."""


def exit_code(process: int) -> int | None:
    """Return the exit code; ``None`` while it runs. Ask the handle: a program may exit with the code STILL_ACTIVE."""
    if _winapi.WaitForSingleObject(process, 0) != _winapi.WAIT_OBJECT_0:
        return None
    return _winapi.GetExitCodeProcess(process)


def ended(service: str, tree: Tree) -> Ended:
    """Translate the exit code. Windows' code for Ctrl-C and our own for a kill become signals, as on other systems."""
    if tree.code is None or tree.code == KILLED:
        return Ended(service, None, "SIGKILL", tree.left)
    if tree.code == CONTROL_C_EXIT:
        return Ended(service, None, "SIGBREAK" if tree.asked else "SIGINT", tree.left)
    return Ended(service, tree.code, None, tree.left)


def members(tree: Tree) -> list[int]:
    """Return the tree's living pids: those in its job. If it has no job: its descendants through living parents."""
    if tree.job is not None:
        return winapi.pids_in_job(tree.job)
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid", "create_time"]):
        children.setdefault(process.info["ppid"], []).append(process)
    # our handle reserves the program's pid even after its death; a dead parent's pid may be another process's now
    found = [] if exit_code(tree.process) is not None else [tree.pid]
    todo = [(tree.pid, 0.0)]
    while todo:
        parent, since = todo.pop()
        kids = [it for it in children.pop(parent, []) if (it.info["create_time"] or 0.0) >= since]
        found += [it.pid for it in kids]
        todo += [(it.pid, it.info["create_time"] or 0.0) for it in kids]
    return found


def lives(tree: Tree) -> bool:
    """Tell whether any process of the tree lives."""
    return bool(members(tree)) if tree.job is None else winapi.count_in_job(tree.job) > 0


def has_no_owner(pid: int) -> bool:
    """Tell whether no process has this pid from the table of sockets.

    Wine names no owner (0). Windows names the process that made the socket. That process may be dead, if another one
    has inherited the socket.
    """
    if pid == 0:
        return True
    try:
        process = _winapi.OpenProcess(winapi.PROCESS_QUERY_LIMITED_INFORMATION | winapi.SYNCHRONIZE, False, pid)
    except OSError as error:
        return error.winerror == winapi.ERROR_INVALID_PARAMETER  # any other error: it exists and is another user's
    try:
        return exit_code(process) is not None
    finally:
        _winapi.CloseHandle(process)


def strike(tree: Tree) -> None:
    """Kill the whole tree, without waiting."""
    if tree.job is not None:
        winapi.terminate_job(tree.job, KILLED)
        return
    import psutil

    pids = members(tree)  # before the kill: without a living parent, its children could not be found
    terminate(tree.process)
    for pid in pids:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            pass  # it has ended since
        except psutil.AccessDenied:
            # another user's process; if we are an administrator, the system's own tool may do more than we can
            tool = [f"{os.environ['SYSTEMROOT']}\\System32\\taskkill.exe", "/T", "/F", "/PID", str(pid)]
            subprocess.run(tool, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def end(tree: Tree) -> None:
    """Kill the whole tree, and wait until it is gone, within a bound."""
    deadline = time.monotonic() + KILL_BOUND_S
    strike(tree)
    while lives(tree):
        if time.monotonic() >= deadline:
            tree.left = tuple(members(tree))
            for pid in tree.left:
                say("error", f"process {pid} could not be ended; it hangs in the kernel, or is another user's")
            return
        time.sleep(RESCAN_S)
        if tree.job is None:
            strike(tree)  # without a job, a strike misses processes that start meanwhile


def terminate(process: int) -> None:
    """Kill the program itself."""
    try:
        _winapi.TerminateProcess(process, KILLED)
    except OSError:
        pass  # ERROR_ACCESS_DENIED: it is dying already


def close_stdin(tree: Tree) -> None:
    """Close the program's stdin."""
    if tree.stdin is not None:
        os.close(tree.stdin)
        tree.stdin = None


def close(tree: Tree) -> None:
    """Close our handles of a tree that is gone."""
    close_stdin(tree)
    _winapi.CloseHandle(tree.process)
    if tree.job is not None:
        _winapi.CloseHandle(tree.job)
