"""A process's CPU time, wake-ups and memory, read from outside."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import ONLY_LINUX, BenchError


@dataclass(frozen=True)
class Usage:
    """A process's usage since its start."""

    cpu_seconds: float
    switches: int
    """Context switches, voluntary or not, of all living threads. The kernel forgets those of ended threads."""

    def __sub__(self, before: Usage) -> Usage:
        return Usage(self.cpu_seconds - before.cpu_seconds, self.switches - before.switches)


def _fields(path: str) -> dict[str, str]:
    text = Path(path).read_text(encoding="ascii", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def usage(pid: int) -> Usage:
    """Return the CPU seconds and context switches of ``pid`` so far.

    The CPU time comes from the process's own clock, in nanoseconds, and includes ended threads.
    """
    if sys.platform == "win32":
        raise BenchError(ONLY_LINUX)
    switches = 0
    for task in os.scandir(f"/proc/{pid}/task"):
        try:
            status = _fields(f"{task.path}/status")
        except FileNotFoundError:  # the thread ended between the listing and the reading
            continue
        switches += int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
    return Usage(time.clock_gettime(_cpu_clock(pid)), switches)


def _cpu_clock(pid: int) -> int:
    """Return a process's CPU clock, as clock_getcpuclockid(3) does (CPUCLOCK_SCHED is 2)."""
    return (~pid << 3) | 2


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of ``pid`` in bytes: own pages count fully, shared pages by their share."""
    return int(_fields(f"/proc/{pid}/smaps_rollup")["Pss"].removesuffix("kB")) * 1024
