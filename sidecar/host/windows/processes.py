"""Processes by handle: one that is held keeps its pid from being used anew."""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi

from sidecar.host import records
from sidecar.host.windows import winapi

WATCHED = winapi.SYNCHRONIZE | winapi.PROCESS_QUERY_LIMITED_INFORMATION


def open_process(pid: int) -> int | None:
    """A handle by which the process can be waited for; ``None`` where we may not. Raises ``ProcessLookupError``."""
    try:
        handle = _winapi.OpenProcess(WATCHED, False, pid)
    except OSError as error:
        if error.winerror == winapi.ERROR_ACCESS_DENIED:
            return None  # a process of the system's, or of another user
        raise ProcessLookupError from None
    if _winapi.WaitForSingleObject(handle, 0) == _winapi.WAIT_OBJECT_0:
        _winapi.CloseHandle(handle)  # it is dead, and only somebody's handle keeps its pid
        raise ProcessLookupError
    return handle


def identify(pid: int) -> records.Identity | None:
    """Who has the pid now; ``None`` if nobody has, or it is hidden from us."""
    try:
        handle = open_process(pid)
    except ProcessLookupError:
        return None
    if handle is None:
        return None
    try:
        return records.Identity(pid, winapi.created(handle))
    finally:
        _winapi.CloseHandle(handle)


def lives(identity: records.Identity) -> bool:
    """Whether the process is there. One that may not be looked at is not taken for dead."""
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


def parent_of(pid: int, process: int) -> tuple[int, int] | None:
    """Pid and handle of its parent; ``None`` where there is none to be watched. Raises ``ProcessLookupError``.

    Windows keeps the parent's pid but not the parent: one that was created later only has its pid.
    """
    import psutil

    parent = psutil.Process(pid).ppid()
    if parent == 0:
        return None  # started by nothing that Windows knows, such as a program of Linux's, under Wine
    handle = open_process(parent)
    if handle is None:
        return None
    if winapi.created(handle) > winapi.created(process):
        _winapi.CloseHandle(handle)
        raise ProcessLookupError
    return parent, handle
