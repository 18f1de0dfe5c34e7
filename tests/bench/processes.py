"""The processes of a run: started with a mark, found by the mark, killed by pidfd.

A pid alone can be reused. So each process that we start, and each descendant, has ``MARK=<run id>`` in its environment.
We open a pidfd first, then read the environment of its process, and signal through the pidfd.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MARK = "SIDECAR_BENCH_RUN"
ONLY_LINUX = "the benchmarks read /proc and need pidfds: they run on Linux only"
SWEEP_SECONDS = 20.0
"""Bound on a sweep, which normally needs two or three passes."""
LEAVE_SECONDS = 10.0
"""Time for our sidecar to end its tree, itself, its control group and its record, which takes some 20 ms."""
LOOK_SECONDS = 0.01
"""Poll interval for processes that end by themselves. Nothing is measured meanwhile."""
CPU_SECONDS = 120
"""CPU limit of each process of a run. The kernel kills a process that exceeds it, even if the bench is gone."""
PIPE_OR_NULL = int | IO[bytes] | None


class BenchError(Exception):
    """A measurement could not be taken; the message says which and why."""


def open_pidfd(pid: int) -> int | None:
    """Return a pidfd of ``pid``, or None if there is no such process any more."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # it has died since it was listed
        return None


def kill_pidfd(pidfd: int) -> None:
    """SIGKILL the process behind ``pidfd``, unless it is already dead."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:  # it died before the signal came
        return


def new_mark() -> str:
    """Return a unique run id."""
    return os.urandom(12).hex()


def _carries(pid: int, needle: bytes) -> bool:
    """Return whether the initial environment of ``pid`` contains ``needle``; False if the process is gone."""
    try:
        return needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it died meanwhile, or belongs to another user and so is not ours
        return False


def _pids() -> Iterator[int]:
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (pid := int(entry.name)) != me:
            yield pid


def marked(mark: str) -> list[int]:
    """Return the pids of all living processes of the run ``mark``. Zombies have no environment, and do not count."""
    needle = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if _carries(pid, needle)]


def await_end(mark: str, seconds: float) -> None:
    """Wait up to ``seconds`` for the processes of the run ``mark`` to end themselves."""
    deadline = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def sweep(mark: str) -> int:
    """SIGKILL every process of the run ``mark`` by pidfd until none is left; return how many there were.

    Raises ``BenchError`` if some are left after ``SWEEP_SECONDS``.
    """
    needle = f"{MARK}={mark}".encode()
    deadline = time.monotonic() + SWEEP_SECONDS
    killed = 0
    while found := marked(mark):
        if time.monotonic() > deadline:
            raise BenchError(
                f"{len(found)} processes of this run outlived {SWEEP_SECONDS:g} s of SIGKILL: {found[:20]}"
            )
        for pid in found:
            pidfd = open_pidfd(pid)
            if pidfd is None:
                continue
            try:
                if _carries(pid, needle):
                    kill_pidfd(pidfd)
                    killed += 1
            finally:
                os.close(pidfd)
    return killed


def limit_cpu(pid: int) -> None:
    """Limit the CPU time of ``pid`` and of each process that it will start to ``CPU_SECONDS``."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    import resource

    try:
        resource.prlimit(pid, resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    except ProcessLookupError:  # it has already ended
        return


@dataclass(frozen=True)
class Pen:
    """Starts the processes of one run, and kills them all at once."""

    mark: str
    folder: Path
    """The run's temporary folder."""
    environ: Mapping[str, str]

    def env(self, **more: str) -> dict[str, str]:
        """Return our environment with the mark and ``more``."""
        return {**self.environ, **more, MARK: self.mark}

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        stdin: PIPE_OR_NULL = subprocess.DEVNULL,
        stdout: PIPE_OR_NULL = subprocess.DEVNULL,
        stderr: PIPE_OR_NULL = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start ``argv`` with the mark and a CPU limit. The caller ends it with ``empty``."""
        process = subprocess.Popen(
            list(argv), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, env=self.env(**(env or {})), bufsize=0
        )
        limit_cpu(process.pid)
        return process

    def empty(self, *processes: subprocess.Popen[bytes]) -> int:
        """Kill all processes in the pen, and reap ``processes``; return how many were still alive."""
        killed = sweep(self.mark)
        for process in processes:
            _close_pipes(process)
            process.wait(timeout=SWEEP_SECONDS)
        return killed

    def let_go(self, process: subprocess.Popen[bytes]) -> None:
        """Close the pipes of ``process``, as an app's death does, and let our sidecar clean up; then ``empty``.

        After a SIGKILL of all its processes, its control group and record would be left. The next measured start would
        have to sweep them, which a user's start does not.
        """
        _close_pipes(process)
        await_end(self.mark, LEAVE_SECONDS)
        self.empty(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
