"""The supervisor's side of the guard on Linux; ``sidecar.host.base.Session`` says what each method owes.

Theory of operation
===================

**Which process runs this.** The supervisor, the guard's child, on four threads. The main thread calls
``watch_signals`` and ``make_host`` at the start, ``announce_grace`` and ``note`` from the loop, ``let_go`` at the end.
The thread *session* runs ``watch``. The thread *requests*, which only ``stdio`` has, runs ``read_stdin``. The thread
*record* runs ``begin_record``, ``sweep`` and ``keep_record``, which also sees to the folders that services unpack.

**What it waits for.** ``await_guard`` blocks the start until the guard has sent ``ON_WATCH``. ``watch`` polls the
lifeline (bytes are signals, its end is the guard's death) and the app's pidfd.

**What it does when each one dies.**

- The app dies: ``watch`` puts ``AppGone`` into the inbox. The core kills the tree, or asks the services that have a
  grace. The guard sees the same death and ends what the supervisor does not.
- The guard dies: the lifeline ends, and ``watch`` puts ``AppGone`` as well. PDEATHSIG continues a stopped supervisor.
  With the guard gone, ``let_go`` itself leaves and removes the control group, and a dead bootloader's folder.
- The bootloader dies: the guard sees it and ends the tree, this process included.
- A service dies: SIGCHLD, then ``LinuxHost.reap`` on the main thread.
- The supervisor dies: the kernel kills its direct children (PDEATHSIG), the guard everything else.

**A guard that is stopped** (SIGSTOP) would stay stopped: ``await_guard`` continues it if the app dies during the start,
``let_go`` at the end.

**Bounds.** None here: the waits end by an event of the kernel. If the loop hangs, the guard's bounds apply.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import make_host
from sidecar.host.base import Host
from sidecar.host.linux import cgroup
from sidecar.host.linux.orphans import boot_id, sweep
from sidecar.host.linux.processes import Process, all_processes, behind, below, pid_namespace, read_process, variable
from sidecar.host.linux.syscalls import PR_SET_PDEATHSIG, is_dead, prctl
from sidecar.host.posix.guard import wake_parent
from sidecar.host.posix.lifeline import ON_WATCH_WITH_GROUP, WATCH_STDIN, Lifeline
from sidecar.host.posix.session import GuardedSession
from sidecar.protocol.messages import SupervisorSwept
from sidecar.state.run_record import Identity, RunRecord


class LinuxSession(GuardedSession):
    """See ``sidecar.host.base.Session``."""

    def __init__(self, lifeline: Lifeline) -> None:
        """Keep what ``split`` returned."""
        super().__init__(lifeline)
        self._group: str | None = None

    def read_stdin(self, read: Callable[[], None]) -> None:
        """See ``Session``."""
        self._lifeline.order(WATCH_STDIN)
        read()

    def await_guard(self) -> bool:
        """Wait until the guard is on watch. Return whether it has put us into a control group.

        If the app is dead, continue the guard: one that was stopped (SIGSTOP) would never come on watch.
        """
        poll = select.poll()
        poll.register(self._lifeline.signals, select.POLLIN)
        if self._lifeline.app is not None:
            poll.register(self._lifeline.app, select.POLLIN)
        poll.poll()
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # while stopped (SIGSTOP) we could not read the lifeline's end
        if is_dead(self._lifeline.app):
            wake_parent(self._lifeline.guard_pid)
        return os.read(self._lifeline.signals, 1) == bytes([ON_WATCH_WITH_GROUP])

    def _make_host(self) -> Host:
        contained = self.await_guard()
        self._group = cgroup.own_folder() if contained else None
        parent_watched = self._lifeline.app is not None
        return make_host(self._run_id, guarded=True, parent_watched=parent_watched, contained=contained)

    def _sources(self) -> Iterator[Literal["app", "lifeline"]]:
        app = self._lifeline.app
        poll = select.poll()
        poll.register(self._lifeline.signals, select.POLLIN)
        if app is not None:
            poll.register(app, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == app:
                    yield "app"
                    poll.unregister(fd)
                else:
                    yield "lifeline"

    def _identify(self, pid: int) -> Identity | None:
        return _identity(read_process(pid))

    def _identify_app(self) -> Identity | None:
        return None if self._lifeline.app is None else _identity(behind(self._lifeline.app))

    def _below(self, pids: Sequence[int]) -> dict[int, list[int]]:
        processes = all_processes()
        return {pid: [it.pid for it in below([pid], processes)] for pid in pids}

    def _variable(self, pid: int, name: str) -> str | None:
        return variable(pid, name)

    def _boot_id(self) -> str:
        return boot_id()

    def _completed(self, record: RunRecord) -> RunRecord:
        return msgspec.structs.replace(record, pid_namespace=pid_namespace(), group=self._group)

    def _sweep(self) -> SupervisorSwept | None:
        return sweep()

    def _leave_group(self) -> None:
        if self._group is not None:
            cgroup.leave(self._group)

    def _bootloader_is_dead(self) -> bool:
        return is_dead(self._lifeline.bootloader)


def _identity(process: Process | None) -> Identity | None:
    return None if process is None else Identity(process.pid, process.start)
