"""Wedge a sidecar from outside, as a debugger would. This works from source and frozen, without a test hook.

``interpreter``: overwrite the function that releases the GIL with a jump to itself (/proc/PID/mem, see proc(5)). The
next thread that is about to block then spins there for ever and keeps the GIL, so no other thread runs Python. The same
happens when ``re`` backtracks for ever on a hostile line.

``loop``: stop only the main thread, in the middle of its wait for work (ptrace(2)). The other threads run on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

if sys.platform != "linux":
    raise ImportError("needs /proc and ptrace")

from tests.support.waiting import until

SYMBOL = b"PyEval_SaveThread"
"""Its caller holds the GIL."""
JUMP_TO_ITSELF = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}

PTRACE_CONT, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 0x4206, 0x4207
PTRACE_EVENT_STOP = 128
WALL = 0x4000_0000
"""__WALL in waitpid(2): wait also for a tracee that is not our child."""

WAITS = {"x86_64": {"202", "219"}, "aarch64": {"98", "128"}}
"""The numbers of futex(2), by which a thread waits for a lock or wakes others, and of restart_syscall(2). A wait with a
timeout that is interrupted goes on as the second, with the same arguments."""
FUTEX_WAITS = {0, 9}
"""FUTEX_WAIT and FUTEX_WAIT_BITSET"""
FUTEX_COMMAND = 0x7F
"""The other bits are flags."""

TICKS = 5
"""Processor time (in hundredths of a second) that proves a thread is spinning: a waiting thread uses less."""

SECTION = struct.Struct("<IIQQQQIIQQ")
SEGMENT = struct.Struct("<IIQQQQQQ")
ENTRY = struct.Struct("<IBBHQQ")
SHT_DYNSYM, PT_LOAD = 11, 1


class NoWayError(Exception):
    """This machine does not let us wedge a process."""


def wedge(pid: int, how: str) -> None:
    """Wedge the process, and wait until it is. Raises ``NoWayError``."""
    if how == "loop":
        _hold_first_thread(pid)
    else:
        _keep_lock(pid)


def wedge_or_skip(pid: int, how: str) -> None:
    """Wedge the process, or skip the test on a machine that cannot."""
    try:
        wedge(pid, how)
    except NoWayError as error:
        pytest.skip(str(error))


def _hold_first_thread(pid: int) -> None:
    """Stop the main thread while it waits for work. Elsewhere it may have a lock, and would stop other threads, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if platform.machine() not in WAITS or not Path(f"/proc/{pid}/syscall").exists():
        raise NoWayError("the kernel does not tell which system call a thread is in, or its numbers are not known")

    def ask(request: int, number: int = 0) -> None:
        if libc.ptrace(request, pid, None, ctypes.c_void_p(number)) == -1:
            raise NoWayError(f"ptrace: {os.strerror(ctypes.get_errno())}")

    def is_held() -> bool:
        before = _place(pid)
        if not _is_wait_for_work(pid, before):
            return False
        ask(PTRACE_INTERRUPT)
        while (status := os.waitpid(pid, WALL)[1]) >> 16 != PTRACE_EVENT_STOP:
            assert os.WIFSTOPPED(status), "the process has ended"
            ask(PTRACE_CONT, os.WSTOPSIG(status))  # a signal came first
        *_, stack, at = _place(pid)
        # aarch64 has gone back to the call's instruction, which is four bytes long
        if stack == before[-2] and int(before[-1], 16) - int(at, 16) in {0, 4}:
            return True
        ask(PTRACE_CONT)
        return False

    ask(PTRACE_SEIZE)
    until(is_held, "the main thread's wait for work")
    threading.Thread(target=_bury, args=(pid,), daemon=True).start()


def _place(pid: int) -> list[str]:
    """Return the main thread's system call, its arguments, its stack and its place in the code, as far as known."""
    return Path(f"/proc/{pid}/task/{pid}/syscall").read_text(encoding="ascii").split()


def _is_wait_for_work(pid: int, place: Sequence[str]) -> bool:
    """Return whether a thread at this place waits for a lock other than the interpreter's, as its queue does."""
    if place[0] not in WAITS[platform.machine()] or int(place[2], 16) & FUTEX_COMMAND not in FUTEX_WAITS:
        return False
    address, end = int(place[1], 16), 0
    for line in _maps(pid):
        fields = line.split(maxsplit=5)
        begin, stop = (int(it, 16) for it in fields[0].split("-"))
        name = fields[5] if len(fields) > 5 else ""
        # a mapping without a name directly behind a file of Python has its variables that begin as zero (.bss)
        if "python" in name or (not name and begin == end):
            end = stop
            if begin <= address < stop:
                return False
    return True


def _bury(pid: int) -> None:
    """Wait for the tracee's death. Until its tracer has done that, its real parent is not notified: ptrace(2)."""
    while os.WIFSTOPPED(os.waitpid(pid, WALL)[1]):
        pass


def _keep_lock(pid: int) -> None:
    jump = JUMP_TO_ITSELF.get(platform.machine())
    if jump is None:
        raise NoWayError(f"no jump instruction is known for {platform.machine()}")
    address = _address(pid)
    before = _ticks(pid)
    try:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(jump)
    except PermissionError as error:
        raise NoWayError(f"/proc/{pid}/mem: {error.strerror}") from None
    os.kill(pid, signal.SIGCHLD)  # wakes the thread that reaps children
    until(
        lambda: any(ticks - before.get(tid, 0) >= TICKS for tid, ticks in _ticks(pid).items()),
        "a spinning thread",
    )


def _maps(pid: int) -> list[str]:
    """Return the lines of maps, proc(5)."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()


def _ticks(pid: int) -> dict[int, int]:
    """Return the processor time of each thread, by its ID."""
    ticks = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended since it was listed
            text = Path(f"/proc/{pid}/task/{tid}/stat").read_text(encoding="utf-8", errors="replace")
            ticks[int(tid)] = int(text[text.rfind(")") + 2 :].split()[11])
    return ticks


def _address(pid: int) -> int:
    """Return the function's address in the process, from the mapped file that exports it."""
    begins: dict[str, int] = {}
    for line in _maps(pid):
        fields = line.split(maxsplit=5)
        if len(fields) > 5 and "python" in fields[5] and int(fields[2], 16) == 0:
            begins.setdefault(fields[5], int(fields[0].partition("-")[0], 16))
    for path, begin in begins.items():
        found = _value_in(Path(path).read_bytes())
        if found is not None:
            value, lowest, is_fixed = found
            return value if is_fixed else begin + value - lowest
    raise NoWayError(f"no file of process {pid} has {SYMBOL.decode()}")


def _value_in(image: bytes) -> tuple[int, int, bool] | None:
    """Return the symbol's value, the lowest segment address, and whether the file is not relocatable: elf(5)."""
    if image[:6] != b"\x7fELF\x02\x01":
        return None
    (kind,) = struct.unpack_from("<H", image, 16)
    segments_at, sections_at = struct.unpack_from("<QQ", image, 32)
    segment_count, _, section_count = struct.unpack_from("<HHH", image, 56)
    segments = [SEGMENT.unpack_from(image, segments_at + n * SEGMENT.size) for n in range(segment_count)]
    sections = [SECTION.unpack_from(image, sections_at + n * SECTION.size) for n in range(section_count)]
    lowest = min(it[3] for it in segments if it[0] == PT_LOAD)
    for table in (it for it in sections if it[1] == SHT_DYNSYM):
        names = sections[table[6]][4]
        for at in range(table[4], table[4] + table[5], ENTRY.size):
            name, _, _, _, value, _ = ENTRY.unpack_from(image, at)
            if value and image[names + name : names + name + len(SYMBOL) + 1] == SYMBOL + b"\0":
                return value, lowest, kind == 2  # ET_EXEC
    return None
