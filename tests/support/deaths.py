"""Watch for deaths in a process tree that does not cooperate, such as Vite's, by the system's own exit event.

``liveness`` is stricter, but needs processes that connect to it.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Self

import psutil

DEATH_S = 10.0
"""A process that lives after this time is a survivor."""
RUN_ID = "SIDECAR_RUN_ID"


class Tree:
    """The app and its descendants. One thread per process waits for its death: by a pidfd, a kqueue or a handle."""

    def __init__(self, app: int, cookie: str) -> None:
        """Take all descendants of ``app``, and all processes with the run's id ``cookie`` in their environment."""
        self.app = psutil.Process(app)
        self._cookie = cookie
        self._members = {self.app, *self.app.children(recursive=True), *self._carriers()}
        self.size = len(self._members)
        self._waiters = ThreadPoolExecutor(self.size)
        self._deaths = {member: self._waiters.submit(death, member) for member in self._members}

    def __enter__(self) -> Self:
        """Return the tree."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the processes that are left, so that even a failed demo leaves none."""
        for member in self._members:
            kill(member)
        self._waiters.shutdown()

    def last_death(self) -> float:
        """Wait for the last death, at most ``DEATH_S``; return when it was (``time.perf_counter``)."""
        return max(it.result() or 0.0 for it in self._deaths.values())

    def survivors(self) -> list[int]:
        """Return the pids alive after ``last_death``: those of the tree, and any process that carries the run's id."""
        alive = {member.pid for member, it in self._deaths.items() if it.result() is None}
        return sorted(alive | {process.pid for process in self._carriers()})

    def _carriers(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(RUN_ID) == self._cookie:
                    yield process
            except psutil.Error:
                continue  # it has ended since the listing, is a zombie, or belongs to another user


def death(process: psutil.Process) -> float | None:
    """Return when the process died (``time.perf_counter``), or ``None`` if it did not within ``DEATH_S``."""
    return time.perf_counter() if await_death(process, DEATH_S) else None


def await_death(process: psutil.Process, seconds: float) -> bool:
    """Wait at most this long for the system's exit event; return whether it came.

    On POSIX, psutil's ``wait`` would not return until an orphan's new parent has reaped it. Windows has no zombies.
    """
    if sys.platform == "linux":
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return True  # it has died, and been reaped, since the listing
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return not process.is_running() or bool(poll.poll(1000 * seconds))  # the pid may have been reused
        finally:
            os.close(pidfd)
    elif sys.platform == "darwin":
        exits = select.kevent(process.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        with closing(select.kqueue()) as notices:
            try:
                return bool(notices.control([exits], 1, seconds))
            except ProcessLookupError:
                return True  # as above
    else:
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            return False
        return True


def kill(process: psutil.Process) -> None:
    """Kill the process, unless its pid was reused: psutil compares the start time."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass  # it is dead already
