"""macOS's answers are read where its headers put them."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("sessions", allow_module_level=True)

from sidecar.errors import UnsupportedPlatformError
from sidecar.host.darwin import libproc as module


class Short(ctypes.Structure):
    """sys/proc_info.h: struct proc_bsdshortinfo."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("pid", "ppid", "pgid", "status")),
        ("comm", ctypes.c_char * 16),
        *((name, ctypes.c_uint32) for name in ("flags", "uid", "gid", "ruid", "rgid", "svuid", "svgid", "rfu")),
    )


class Unique(ctypes.Structure):
    """sys/proc_info_private.h: struct proc_uniqidentifierinfo."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("uniqueid", ctypes.c_uint64),
        ("puniqueid", ctypes.c_uint64),
        ("idversion", ctypes.c_int32),
        ("orig_ppidversion", ctypes.c_int32),
        ("reserve2", ctypes.c_uint64),
        ("reserve3", ctypes.c_uint64),
    )


class Library:
    """libSystem, with the processes that it is given: pid → (short, unique)."""

    def __init__(self, processes: dict[int, tuple[Short, Unique]]) -> None:
        self.processes = processes

    def proc_pidinfo(self, pid: int, flavor: int, argument: object, into: Any, size: int) -> int:
        if pid not in self.processes:
            return 0
        found = self.processes[pid][{13: 0, 17: 1}[flavor]]
        if size < ctypes.sizeof(found):
            return 0
        ctypes.memmove(into, ctypes.byref(found), ctypes.sizeof(found))
        return ctypes.sizeof(found)

    def proc_listallpids(self, into: Any, size: int) -> int:
        if into is not None:
            into[: len(self.processes)] = list(self.processes)
        return len(self.processes)

    def proc_listchildpids(self, pid: int, into: Any, size: int) -> int:
        found = [it for it, (short, _) in self.processes.items() if short.ppid == pid]
        into[: len(found)] = found
        return len(found)


def a_process(pid: int, ppid: int, birth: int, forker: int, status: int = 2) -> tuple[Short, Unique]:
    return (
        Short(pid=pid, ppid=ppid, pgid=5, status=status, comm=b"node", flags=0xFFFFFFFF, uid=501),
        Unique(
            uuid=(ctypes.c_uint8 * 16)(*range(16)), uniqueid=birth, puniqueid=forker, idversion=-1, reserve2=1 << 63
        ),
    )


ME, PARENT = os.getpid(), os.getppid()


def test_a_process_is_read_with_its_birth_and_its_forker() -> None:
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 1 << 40, 77)})).read(ME)
    assert it is not None
    assert (it.pid, it.ppid, it.sid, it.birth, it.forker, it.dead) == (ME, PARENT, os.getsid(0), 1 << 40, 77, False)


def test_a_zombie_is_dead() -> None:
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 9, 7, status=5)})).read(ME)
    assert it is not None
    assert (it.dead, it.stopped) == (True, False)


def test_one_that_is_stopped_is_not_dead() -> None:
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 9, 7, status=4)})).read(ME)
    assert it is not None
    assert (it.dead, it.stopped) == (False, True)


def test_who_is_gone_is_not_read_nor_listed() -> None:
    library = Library({ME: a_process(ME, PARENT, 9, 7), 1 << 30: a_process(1 << 30, ME, 10, 9)})
    libproc = module.Libproc(library)
    assert list(libproc.processes()) == [ME]  # the other one has no session: it went in between
    assert libproc.read(12) is None
    assert libproc.children(ME) == [1 << 30]
    assert libproc.children(12) == []


def test_a_system_that_tells_no_births_is_an_error() -> None:
    with pytest.raises(UnsupportedPlatformError, match="which process forked which"):
        module.Libproc(Library({}))


@pytest.mark.skipif(sys.platform != "darwin", reason="macOS's own library")
def test_the_real_one_knows_us_and_our_parent() -> None:
    libproc = module.Libproc()
    me, parent = libproc.read(ME), libproc.read(PARENT)
    assert me is not None
    assert parent is not None
    assert me.forker == parent.birth < me.birth
    assert libproc.processes()[ME].birth == me.birth
    assert ME in libproc.children(PARENT)
    assert len(libproc.boot_id()) == len("6F0DD8A6-4C0B-4E4E-8F3B-0C6B7C1D2E3F")
