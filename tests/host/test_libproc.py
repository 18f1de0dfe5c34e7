"""macOS's structs are read at the offsets in its headers."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    """A fake libSystem with these processes: pid → (short, unique)."""

    def __init__(self, processes: dict[int, tuple[Short, Unique]]) -> None:
        self.processes = processes
        self.arguments: dict[int, bytes] = {}
        self.come: list[dict[int, tuple[Short, Unique]]] = []
        """These come during the next calls that list all processes."""

    def proc_pidinfo(self, pid: int, flavor: int, argument: ctypes.c_uint64, into: Any, size: int) -> int:
        if pid not in self.processes:
            return 0
        if self.processes[pid][0].status == 5 and not argument.value:
            return 0  # bsd/kern/proc_info.c:2143
        found = self.processes[pid][{13: 0, 17: 1}[flavor]]
        if size < ctypes.sizeof(found):
            return 0
        ctypes.memmove(into, ctypes.byref(found), ctypes.sizeof(found))
        return ctypes.sizeof(found)

    def sysctl(self, what: Any, words: Any, into: Any, size: Any, new: object, new_size: object) -> int:
        """Return the layout of KERN_PROCARGS2: man 3 sysctl, and xnu's sysctl_procargsx."""
        assert (list(what)[:2], words.value, new) == ([1, 49], 3, None)
        if what[2] not in self.arguments:
            return -1
        found = self.arguments[what[2]]
        ctypes.memmove(into, found, len(found))
        size._obj.value = len(found)
        return 0

    def proc_listallpids(self, into: Any, size: int) -> int:
        """The kernel decides how many to list before it lists them: bsd/kern/proc_info.c, proc_listpids."""
        most = len(self.processes) + 20
        if into is None:
            return most
        self.processes.update(self.come.pop(0) if self.come else {})
        return fill(into, min(size, most * ctypes.sizeof(ctypes.c_int)), list(self.processes))

    def proc_listchildpids(self, pid: int, into: Any, size: int) -> int:
        return fill(into, size, [it for it, (short, _) in self.processes.items() if short.ppid == pid])


def fill(into: Any, size: int, pids: list[int]) -> int:
    """As many as there is room for; the kernel does not say that it left any out."""
    fitting = pids[: size // ctypes.sizeof(ctypes.c_int)]
    into[: len(fitting)] = fitting
    return len(fitting)


def a_process(pid: int, ppid: int, birth: int, forker: int, status: int = 2) -> tuple[Short, Unique]:
    return (
        Short(pid=pid, ppid=ppid, pgid=5, status=status, comm=b"node", flags=0xFFFFFFFF, uid=501),
        Unique(
            uuid=(ctypes.c_uint8 * 16)(*range(16)),
            uniqueid=birth,
            puniqueid=forker,
            idversion=-1,
            orig_ppidversion=birth + 1000 & 0x7FFF_FFFF,
            reserve2=1 << 63,
        ),
    )


ME, PARENT = os.getpid(), os.getppid()


def test_a_process_is_read_with_its_birth_and_its_forker() -> None:
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 1 << 40, 77)})).read(ME)
    assert it is not None
    assert (it.pid, it.ppid, it.sid, it.birth, it.forker, it.dead) == (ME, PARENT, os.getsid(0), 1 << 40, 77, False)
    assert (it.version, it.forker_version) == (-1, 1000)


def test_a_zombie_has_its_numbers_and_no_session() -> None:
    """Although getsid does not find a zombie, its orphans are identified by its numbers."""
    zombie = 1 << 30
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 9, 7), zombie: a_process(zombie, ME, 10, 9, status=5)}))
    found = it.read(zombie)
    assert found is not None
    assert (found.dead, found.stopped, found.birth, found.forker, found.sid) == (True, False, 10, 9, 0)


def test_one_that_is_stopped_is_not_dead() -> None:
    it = module.Libproc(Library({ME: a_process(ME, PARENT, 9, 7, status=4)})).read(ME)
    assert it is not None
    assert (it.dead, it.stopped) == (False, True)


def test_a_process_that_has_ended_is_neither_read_nor_listed() -> None:
    library = Library({ME: a_process(ME, PARENT, 9, 7), 1 << 30: a_process(1 << 30, ME, 10, 9)})
    libproc = module.Libproc(library)
    assert list(libproc.processes()) == [ME]  # the other process ended between the listing and getsid
    assert libproc.read(12) is None
    assert libproc.children(ME) == [1 << 30]
    assert libproc.children(12) == []


def many(count: int) -> dict[int, tuple[Short, Unique]]:
    return {1_000_000 + it: a_process(1_000_000 + it, ME, 10 + it, 9) for it in range(count)}


@pytest.mark.parametrize("count", [63, 64, 65, 1000])
def test_all_children_are_listed_however_many_there_are(count: int) -> None:
    libproc = module.Libproc(Library({ME: a_process(ME, PARENT, 9, 7), **many(count)}))
    assert libproc.children(ME) == list(many(count))


@pytest.mark.parametrize("count", [0, 1, 20, 21, 1000])
def test_all_processes_are_listed_also_those_that_come_meanwhile(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getsid", lambda _pid: 5)
    library = Library({ME: a_process(ME, PARENT, 9, 7)})
    libproc = module.Libproc(library)
    library.come = [many(count)]
    assert list(libproc.processes()) == [ME, *many(count)]


def laid_out(path: bytes, arguments: list[bytes], variables: list[bytes]) -> bytes:
    texts = b"".join(text + b"\0" for text in (*arguments, *variables))
    return len(arguments).to_bytes(4, sys.byteorder) + path + b"\0" * (8 - len(path) % 8) + texts + b"\0ptr_munge="


def test_a_variable_is_read_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard reads it during a kill, when it must not import anything."""
    monkeypatch.setitem(sys.modules, "psutil", None)
    library = Library({ME: a_process(ME, PARENT, 9, 7)})
    library.arguments[ME] = laid_out(b"/bin/node", [b"node", b"", b"A=argument"], [b"B=1", b"A=two=2", b"A=3"])
    libproc = module.Libproc(library)
    assert libproc.variable(ME, "A") == "two=2"
    assert libproc.variable(ME, "ptr_munge") is None
    assert libproc.variable(12, "A") is None


WORD = st.binary(min_size=1, max_size=9).map(lambda it: it.replace(b"\0", b"="))


@given(WORD, st.lists(WORD | st.just(b""), max_size=4), st.lists(WORD, max_size=4))
def test_every_variable_is_found_and_no_argument(path: bytes, arguments: list[bytes], variables: list[bytes]) -> None:
    raw = laid_out(path, [b"program", *arguments], variables)
    first = {it.partition(b"=")[0]: it.partition(b"=")[2] for it in reversed(variables) if b"=" in it}
    for name, value in first.items():
        if name:
            assert module.variable_in(raw, os.fsdecode(name)) == os.fsdecode(value)


@given(st.binary(max_size=40))
def test_whatever_the_kernel_answers_is_read_without_an_error(raw: bytes) -> None:
    module.variable_in(raw, "A")


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
    assert libproc.variable(ME, "PATH") == os.environ["PATH"]
    assert len(libproc.boot_id()) == len("6F0DD8A6-4C0B-4E4E-8F3B-0C6B7C1D2E3F")
