"""Processes on macOS, by libproc (proc_info(2)) and, for environments, by sysctl(3).

A look at all processes costs three system calls for each. psutil would make an object for each, and knows neither
births nor forkers. The guard could not use psutil either: it would load it in the middle of a kill, days after the
start, from a folder that may be gone by then.

PROC_PIDUNIQIDENTIFIERINFO gives births and forkers. It is not in the public headers, but exists since OS X 10.7.
Without it, nothing on macOS tells to which tree an orphan belongs.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any

assert sys.platform != "win32"  # for mypy: sessions

from sidecar.errors import UnsupportedPlatformError
from sidecar.host import frozen
from sidecar.host.darwin.lineage import Listener, Process

PROC_PIDT_SHORTBSDINFO = 13
PROC_PIDUNIQIDENTIFIERINFO = 17

_SHORT = struct.Struct("=4I16s8I")
"""proc_bsdshortinfo: pid, parent's pid, group, status, command, then flags and users."""

_COUNT = struct.Struct("=i")

_UNIQUE = struct.Struct("=16xQQii16x")
"""proc_uniqidentifierinfo (bsd/sys/proc_info_private.h:45 of xnu-11417). After the executable's uuid come this
process's number, its forker's number, this process's version and its forker's version. Before macOS 15.4 the last one
is 0."""

_CTL_KERN, _KERN_PROCARGS2 = 1, 49
_ARGUMENTS_SIZE = 1 << 20
"""ARG_MAX: the limit for all arguments and variables of a program together."""

_ZOMBIES_TOO = ctypes.c_uint64(1)
"""bsd/kern/proc_info.c:2143: any argument but 0 includes zombies."""

_PATH_SIZE = 4096
"""PROC_PIDPATHINFO_MAXSIZE"""
_BOOT_ID_SIZE = 64
"""A uuid has 36 characters."""
_SSTOP = 4
"""sys/proc.h: the whole process is stopped."""
_SZOMB = 5
"""sys/proc.h: a zombie, dead and not reaped by its parent."""

_TABLE_TRIES = 3
"""How often to ask for the table of sockets. The kernel adds an eighth to its size (bsd/netinet/in_pcblist.c:320), so
one try is usually enough."""

_LIST_TRIES = 3
"""How often to list all processes. The kernel lists at most 20 more than there were at the call's start, and leaves out
the rest silently (bsd/kern/proc_info.c, proc_listpids). Whoever must see all of them looks again anyway."""

_ROOM = 64
"""Room for pids beyond those expected. Also the first room for a process's children."""


def variable_in(arguments: bytes, name: str) -> str | None:
    """Find a variable in the result of KERN_PROCARGS2; ``None`` if it is not there.

    The result is the number of arguments (an int), the program's path, NULs up to a full word, the arguments, then the
    variables. A NUL follows each text. An empty text ends the variables.
    """
    if len(arguments) < _COUNT.size:
        return None
    (count,) = _COUNT.unpack_from(arguments)
    _path, _, rest = arguments[_COUNT.size :].partition(b"\0")
    texts = rest.lstrip(b"\0").split(b"\0")
    key = os.fsencode(name) + b"="
    for text in texts[max(0, count) :]:
        if not text:
            break
        if text.startswith(key):
            return os.fsdecode(text.removeprefix(key))
    return None


class Libproc:
    """See ``sidecar.host.darwin.lineage.System``."""

    def __init__(self, library: Any = None) -> None:
        """``library`` is for tests. Raises ``UnsupportedPlatformError`` if this system gives no births."""
        self._library = ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True) if library is None else library
        if self.read(os.getpid()) is None:
            raise UnsupportedPlatformError(
                "This system does not tell which process forked which (PROC_PIDUNIQIDENTIFIERINFO), so no tree can be "
                "followed to its end. Please report this, with the output of sw_vers."
            )

    def processes(self) -> dict[int, Process]:
        """See ``System``."""
        pids: list[int] = []
        for _ in range(_LIST_TRIES):
            expected = max(0, self._library.proc_listallpids(None, 0))  # 20 more than there are
            into = (ctypes.c_int * (expected + _ROOM))()
            count = self._library.proc_listallpids(into, ctypes.sizeof(into))
            pids = into[: max(0, count)]
            if count < expected:
                break  # else more than 20 came during the call, and some may be left out
        return {pid: it for pid in pids if pid > 0 and (it := self.read(pid))}

    def read(self, pid: int) -> Process | None:
        """See ``System``. A zombie has no session, but still has its numbers. Its orphans are known by these."""
        unique = self._ask(pid, PROC_PIDUNIQIDENTIFIERINFO, _UNIQUE)
        short = self._ask(pid, PROC_PIDT_SHORTBSDINFO, _SHORT)
        if unique is None or short is None:
            return None
        birth, forker, version, forker_version = unique
        _, ppid, _, status, *_ = short
        dead, stopped = status == _SZOMB, status == _SSTOP
        try:
            sid = 0 if dead else os.getsid(pid)
        except OSError:
            return None  # ESRCH: it ended between the calls
        versions = {"version": version, "forker_version": forker_version}
        return Process(pid, birth, forker=forker, ppid=ppid, sid=sid, dead=dead, stopped=stopped, **versions)

    def children(self, pid: int) -> list[int]:
        """See ``System``."""
        room = _ROOM
        while True:
            into = (ctypes.c_int * room)()
            count = self._library.proc_listchildpids(pid, into, ctypes.sizeof(into))
            if count < room:
                return into[: max(0, count)]
            room *= 2  # a full array: what has no room in it is left out silently

    def listeners(self) -> list[Listener] | None:
        """See ``System``."""
        from sidecar.host.darwin import sockets  # not loaded earlier: the guard needs no sockets

        name, none = b"net.inet.tcp.pcblist_n", ctypes.c_size_t(0)
        for _ in range(_TABLE_TRIES):
            size = ctypes.c_size_t(0)
            if self._library.sysctlbyname(name, None, ctypes.byref(size), None, none) != 0:
                return None  # EPERM: a sandbox; ENOENT: a system without this table
            into = ctypes.create_string_buffer(size.value)
            if self._library.sysctlbyname(name, into, ctypes.byref(size), None, none) == 0:
                try:
                    return sockets.parse(into.raw[: size.value])
                except ValueError:
                    return None  # a later system may have another layout
        return None  # ENOMEM: each time the table grew after we had asked for its size

    def variable(self, pid: int, name: str) -> str | None:
        """See ``System``. macOS shows no variables of the system's own programs."""
        into = ctypes.create_string_buffer(_ARGUMENTS_SIZE)  # one for each call: several threads look
        size = ctypes.c_size_t(_ARGUMENTS_SIZE)
        what = (ctypes.c_int * 3)(_CTL_KERN, _KERN_PROCARGS2, pid)
        if self._library.sysctl(what, ctypes.c_uint(3), into, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
            return None  # EINVAL: it is gone, a zombie, or another user's
        return variable_in(into.raw[: size.value], name)

    def kill(self, pid: int, number: int) -> None:
        """See ``System``."""
        os.kill(pid, number)

    def bootloader(self) -> int | None:
        """Return the bootloader's pid: our parent's, if we are frozen into one file.

        Raises ``ProcessLookupError`` if the bootloader is dead already. Our parent is the bootloader if it runs our own
        file.
        """
        if frozen.unpacked_folder() is None:
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
        """Return this boot's id. A record with another one names no living process. Raises ``OSError``."""
        into = ctypes.create_string_buffer(_BOOT_ID_SIZE)
        size = ctypes.c_size_t(_BOOT_ID_SIZE)
        if self._library.sysctlbyname(b"kern.bootsessionuuid", into, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
            raise OSError(ctypes.get_errno(), "this boot's id cannot be read")
        return into.value.decode()

    def _ask(self, pid: int, what: int, layout: struct.Struct) -> tuple[Any, ...] | None:
        into = ctypes.create_string_buffer(layout.size)  # one for each call: several threads look
        size = self._library.proc_pidinfo(pid, what, _ZOMBIES_TOO, into, layout.size)
        return layout.unpack(into.raw) if size == layout.size else None
