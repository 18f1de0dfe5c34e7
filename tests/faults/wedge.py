"""How a test wedges a sidecar that knows nothing of it, from source or frozen: from outside, as a debugger would.

``interpreter``: over the function with which a thread gives the interpreter's lock back, a jump to itself is written
(proc(5), /proc/PID/mem). The next thread that is about to wait for something stays in there for ever, at full speed and
with the lock in its hand, and no other thread runs Python any more. So it is when ``re`` meets a hostile line.

``loop``: the main thread alone is held in the middle of its wait (ptrace(2)). The others run on.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import threading
from pathlib import Path

import pytest

if sys.platform != "linux":
    raise ImportError("/proc and ptrace")

from tests.support.waiting import until

SYMBOL = b"PyEval_SaveThread"
"""Whoever calls it has the lock."""
JUMP_TO_ITSELF = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x4000_0000
"""waitpid(2): also for who is no child of ours."""

TICKS = 5
"""So much processor time (hundredths of a second) nobody takes who waits."""

SECTION = struct.Struct("<IIQQQQIIQQ")
SEGMENT = struct.Struct("<IIQQQQQQ")
ENTRY = struct.Struct("<IBBHQQ")
SHT_DYNSYM, PT_LOAD = 11, 1


class NoWayError(Exception):
    """Nobody can be wedged on this machine."""


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
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None) == -1:
            raise NoWayError(f"ptrace: {os.strerror(ctypes.get_errno())}")
    until(lambda: _stat(pid, pid)[0] == "t", "a main thread that is held")
    threading.Thread(target=_bury, args=(pid,), daemon=True).start()


def _bury(pid: int) -> None:
    """Until we have taken note of its death, its parent is not told of it: ptrace(2)."""
    while os.WIFSTOPPED(os.waitpid(pid, WALL)[1]):
        pass


def _keep_lock(pid: int) -> None:
    jump = JUMP_TO_ITSELF.get(platform.machine())
    if jump is None:
        raise NoWayError(f"no jump is known for {platform.machine()}")
    address = _address(pid)
    before = {tid: _ticks(pid, tid) for tid in _threads(pid)}
    try:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(jump)
    except PermissionError as error:
        raise NoWayError(f"/proc/{pid}/mem: {error.strerror}") from None
    os.kill(pid, signal.SIGCHLD)  # a thread wakes, and looks who has died
    until(
        lambda: any(_ticks(pid, tid) - before.get(tid, 0) >= TICKS for tid in _threads(pid)),
        "a thread that never ends",
    )


def _threads(pid: int) -> list[int]:
    return [int(it) for it in os.listdir(f"/proc/{pid}/task")]


def _stat(pid: int, tid: int) -> list[str]:
    text = Path(f"/proc/{pid}/task/{tid}/stat").read_text(encoding="utf-8", errors="replace")
    return text[text.rfind(")") + 2 :].split()


def _ticks(pid: int, tid: int) -> int:
    return int(_stat(pid, tid)[11])


def _address(pid: int) -> int:
    """Where the function is in the process: of its mapped files the one that has it tells."""
    begins: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
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
    """The symbol's value, where the file's first segment is meant to be, and whether it is always there: elf(5)."""
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
