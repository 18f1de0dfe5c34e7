"""The processes of a run: started with a mark, found by the mark, ended by identity.

A pid alone is no identity. Each process that we start carries ``MARK=<run id>`` in its environment, as do all that it
starts; we open a pidfd first, then read the environment behind it, and signal through the pidfd. So a pid that was
reused between the two is never hit.
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
"""A sweep converges in two or three passes; one that has not by now is reported, not repeated for ever."""
LEAVE_SECONDS = 10.0
"""Our sidecar ends its tree, itself, its control group and its record in some 20 ms."""
LOOK_SECONDS = 0.01
"""Between two looks for processes that are ending themselves; nothing is measured then."""
CPU_SECONDS = 120
"""No process of a run may burn more CPU than this: the kernel ends it, even when all of ours is gone."""
PIPE_OR_NULL = int | IO[bytes] | None


class BenchError(Exception):
    """A measurement could not be taken; the message says which and why."""


def open_pidfd(pid: int) -> int | None:
    """A pidfd of ``pid``, or None when there is no such process any more."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # it died between being seen and being opened
        return None


def kill_pidfd(pidfd: int) -> None:
    """SIGKILL the process behind ``pidfd``; dead already is fine."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:  # it died before the signal came
        return


def new_mark() -> str:
    """A run id that no other process on this machine carries."""
    return os.urandom(12).hex()


def _carries(pid: int, needle: bytes) -> bool:
    """Whether the environment that ``pid`` was started with carries ``needle``; False for one that is gone."""
    try:
        return needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it died while we read, or belongs to another user and so is none of ours
        return False


def _pids() -> Iterator[int]:
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (pid := int(entry.name)) != me:
            yield pid


def marked(mark: str) -> list[int]:
    """The pids of all living processes of the run ``mark``; zombies have no environment and are not among them."""
    needle = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if _carries(pid, needle)]


def await_end(mark: str, seconds: float) -> None:
    """Wait up to ``seconds`` for the processes of the run ``mark`` to end themselves."""
    deadline = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def sweep(mark: str) -> int:
    """SIGKILL every process of the run ``mark``, by identity, until none is left; how many there were.

    Raises ``BenchError`` when some are still there after ``SWEEP_SECONDS``.
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
    """Bound the CPU time of ``pid`` and of all that it will start to ``CPU_SECONDS`` each."""
    if sys.platform != "linux":
        raise BenchError(ONLY_LINUX)
    import resource

    try:
        resource.prlimit(pid, resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    except ProcessLookupError:  # it has run to its end already
        return


@dataclass(frozen=True)
class Pen:
    """Where the processes of one run are started and, all at once, ended."""

    mark: str
    folder: Path
    """Temporary; its life is the run's."""
    environ: Mapping[str, str]

    def env(self, **more: str) -> dict[str, str]:
        """Our environment with the mark and ``more``."""
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
        """Start ``argv`` with the mark and a CPU bound; the caller ends it with ``empty``."""
        process = subprocess.Popen(
            list(argv), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, env=self.env(**(env or {})), bufsize=0
        )
        limit_cpu(process.pid)
        return process

    def empty(self, *processes: subprocess.Popen[bytes]) -> int:
        """End whatever runs in the pen and reap ``processes``; how many were still alive."""
        killed = sweep(self.mark)
        for process in processes:
            _close_pipes(process)
            process.wait(timeout=SWEEP_SECONDS)
        return killed

    def let_go(self, process: subprocess.Popen[bytes]) -> None:
        """Close the pipes of ``process``, as an app's death does, and let our sidecar tidy up; then ``empty``.

        Ended by SIGKILL, guard and all, it would leave its control group and its record for the next start to sweep,
        and what is measured next would be a start that no user sees.
        """
        _close_pipes(process)
        await_end(self.mark, LEAVE_SECONDS)
        self.empty(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
