"""Processes on macOS, by libproc (proc_info(2)) and, for environments, by psutil (sysctl KERN_PROCARGS2).

A look at all of them is three system calls a process. psutil would make an object of each, and knows neither births nor
forkers. PROC_PIDUNIQIDENTIFIERINFO, which does, is not in the public headers, but as old as OS X 10.7, and without it
there is nothing on macOS that tells whose an orphan is.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any

assert sys.platform != "win32"  # for mypy: sessions

from sidecar.errors import UnsupportedPlatformError
from sidecar.host import bundle
from sidecar.host.darwin.kin import Process

PROC_PIDT_SHORTBSDINFO = 13
PROC_PIDUNIQIDENTIFIERINFO = 17

_SHORT = struct.Struct("=4I16s8I")
"""proc_bsdshortinfo: pid, parent's pid, group, status, command, then flags and users."""

_UNIQUE = struct.Struct("=16sQQ24x")
"""proc_uniqidentifierinfo: the executable's uuid, this process's number, its forker's, then what we need not know."""

_PATH_SIZE = 4096
"""PROC_PIDPATHINFO_MAXSIZE"""
_BOOT_ID_SIZE = 64
"""A uuid has 36 characters."""
_SSTOP = 4
"""sys/proc.h: all of it is stopped."""
_SZOMB = 5
"""sys/proc.h: dead, and not collected by its parent."""

_ROOM = 64
"""More pids than were counted may be there a moment later, when they are listed; so many children are asked for."""


class Libproc:
    """See ``sidecar.host.darwin.kin.System``."""

    def __init__(self, library: Any = None) -> None:
        """``library`` is for tests. Raises ``UnsupportedPlatformError`` if this system does not tell births."""
        self._library = ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True) if library is None else library
        if self.read(os.getpid()) is None:
            raise UnsupportedPlatformError(
                "This system does not tell which process forked which (PROC_PIDUNIQIDENTIFIERINFO), so no tree can be "
                "followed to its end. Please report it, with what sw_vers prints."
            )

    def processes(self) -> dict[int, Process]:
        """See ``System``."""
        room = self._library.proc_listallpids(None, 0) + _ROOM
        pids = (ctypes.c_int * room)()
        count = self._library.proc_listallpids(pids, ctypes.sizeof(pids))
        return {pid: it for pid in pids[: max(0, count)] if pid > 0 and (it := self.read(pid))}

    def read(self, pid: int) -> Process | None:
        """See ``System``. Of a zombie there is mostly nothing to read, which comes to the same."""
        unique = self._ask(pid, PROC_PIDUNIQIDENTIFIERINFO, _UNIQUE)
        short = self._ask(pid, PROC_PIDT_SHORTBSDINFO, _SHORT)
        if unique is None or short is None:
            return None
        _, birth, forker = unique
        _, ppid, _, status, *_ = short
        try:
            sid = os.getsid(pid)
        except OSError:
            return None  # ESRCH: it went between the calls
        return Process(pid, birth, forker=forker, ppid=ppid, sid=sid, dead=status == _SZOMB, stopped=status == _SSTOP)

    def children(self, pid: int) -> list[int]:
        """See ``System``."""
        pids = (ctypes.c_int * _ROOM)()
        count = self._library.proc_listchildpids(pid, pids, ctypes.sizeof(pids))
        return pids[: max(0, count)]

    def variable(self, pid: int, name: str) -> str | None:
        """See ``System``. Of programs that belong to the system it shows none."""
        import psutil  # dear, and wanted only when trees are ended

        try:
            return psutil.Process(pid).environ().get(name)
        except psutil.Error:
            return None  # it is gone, or another user's

    def kill(self, pid: int, number: int) -> None:
        """See ``System``."""
        os.kill(pid, number)

    def bootloader(self) -> int | None:
        """The bootloader's pid: our parent, if we are frozen into one file.

        Raises ``ProcessLookupError`` if it is dead already. A parent that runs our own file can only be it.
        """
        if bundle.unpacked_folder() is None:
            return None
        pid = os.getppid()
        into = ctypes.create_string_buffer(_PATH_SIZE)
        size = self._library.proc_pidpath(pid, into, _PATH_SIZE)
        try:
            if size > 0 and os.path.samefile(into.value, sys.executable):
                return pid
        except OSError:
            pass  # ENOENT: our file was replaced meanwhile
        raise ProcessLookupError

    def boot_id(self) -> str:
        """This boot's id: a record of an earlier boot names no living process. Raises ``OSError``."""
        into = ctypes.create_string_buffer(_BOOT_ID_SIZE)
        size = ctypes.c_size_t(_BOOT_ID_SIZE)
        if self._library.sysctlbyname(b"kern.bootsessionuuid", into, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
            raise OSError(ctypes.get_errno(), "this boot's id cannot be read")
        return into.value.decode()

    def _ask(self, pid: int, what: int, layout: struct.Struct) -> tuple[Any, ...] | None:
        into = ctypes.create_string_buffer(layout.size)  # one of its own: several threads look
        size = self._library.proc_pidinfo(pid, what, ctypes.c_uint64(0), into, layout.size)
        return layout.unpack(into.raw) if size == layout.size else None
