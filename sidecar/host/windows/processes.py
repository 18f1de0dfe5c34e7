"""Processes by handle: while a handle is open, no other process gets the pid."""

from __future__ import annotations

import sys
from collections.abc import Sequence

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from sidecar.host.windows import winapi
from sidecar.state import run_record

WATCHED = winapi.SYNCHRONIZE | winapi.PROCESS_QUERY_LIMITED_INFORMATION


def open_process(pid: int) -> int | None:
    """Open a handle to wait for the process; ``None`` if we may not. Raises ``ProcessLookupError``."""
    try:
        handle = _winapi.OpenProcess(WATCHED, False, pid)
    except OSError as error:
        if error.winerror == winapi.ERROR_ACCESS_DENIED:
            return None  # a process of the system or of another user
        raise ProcessLookupError from None
    if _winapi.WaitForSingleObject(handle, 0) == _winapi.WAIT_OBJECT_0:
        _winapi.CloseHandle(handle)  # it is dead; another program's handle keeps its pid reserved
        raise ProcessLookupError
    return handle


def identify(pid: int) -> run_record.Identity | None:
    """Return the identity of the process that has the pid now; ``None`` if there is none, or it is hidden from us."""
    try:
        handle = open_process(pid)
    except ProcessLookupError:
        return None
    if handle is None:
        return None
    try:
        return run_record.Identity(pid, winapi.created(handle))
    finally:
        _winapi.CloseHandle(handle)


def lives(identity: run_record.Identity) -> bool:
    """Tell whether the process lives. If we may not look, it counts as alive."""
    try:
        handle = open_process(identity.pid)
    except ProcessLookupError:
        return False
    if handle is None:
        return True
    try:
        return winapi.created(handle) == identity.start
    finally:
        _winapi.CloseHandle(handle)


def below(pids: Sequence[int]) -> dict[int, list[int]]:
    """Return the pids of each process's descendants; none if it is gone."""
    return {pid: _below(pid) for pid in pids}


def _below(pid: int) -> list[int]:
    import psutil

    try:
        return [it.pid for it in psutil.Process(pid).children(recursive=True)]
    except (psutil.Error, OSError):
        return []  # OSError: psutil does not wrap every error of the system


def environment(pid: int) -> dict[str, str]:
    """Return the variables that the process was started with; none if it is gone, or hidden from us."""
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}  # it is gone, or another user's; OSError: psutil cannot read this kind of process


def variable(pid: int, name: str) -> str | None:
    """Return a variable of the process; ``None`` if it has none, is gone, or is another user's."""
    return environment(pid).get(name)


def parent_of(pid: int, process: int) -> tuple[int, int] | None:
    """Return pid and handle of the parent; ``None`` if there is none that we can watch. Raises ``ProcessLookupError``.

    Windows keeps the parent's pid even after the parent's death. A process that was created later is not the parent.
    """
    import psutil

    parent = psutil.Process(pid).ppid()
    if parent == 0:
        return None  # Windows does not know the parent, for example a Linux program under Wine
    handle = open_process(parent)
    if handle is None:
        return None
    if winapi.created(handle) > winapi.created(process):
        _winapi.CloseHandle(handle)
        raise ProcessLookupError
    return parent, handle
