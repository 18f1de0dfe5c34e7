"""The keeper on Linux; its theory of operation is in ``sidecar.host.posix.keeper``.

The supervisor is the subreaper of its tree, so everything that it started is below it while it lives. ``_end_all``
therefore stops the supervisor (SIGSTOP), kills until two looks show the same dead processes, and kills the supervisor
last. A stopped supervisor reaps nothing, so a process that dies between two looks stays visible as a zombie.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.host.linux import cgroup
from sidecar.host.linux.processes import (
    UNSEEN,
    Process,
    all_processes,
    below,
    is_gone,
    kill_until_empty,
    read_process,
    send,
    still_alive,
)
from sidecar.host.linux.syscalls import PR_SET_NAME, PR_SET_PDEATHSIG, is_dead, prctl
from sidecar.host.posix.keeper import Keeping


class Charge:
    """What the keeper ends and then tidies up."""

    __slots__ = ("app", "bootloader", "group", "process", "supervisor")

    def __init__(self, supervisor: int, group: str | None, app: int | None, bootloader: int | None) -> None:
        """``supervisor`` is a child of ours, ``group`` the control group's folder; the others are pidfds.

        Raises ``OSError`` if no process can be read now.
        """
        try:
            self.supervisor: int | None = os.pidfd_open(supervisor)
        except OSError:
            self.supervisor = None  # ENOSYS, EPERM: an old kernel, or a filter on system calls
        self.process = read_process(supervisor)
        """``None`` if /proc does not show it."""
        self.group = group
        self.app = app
        self.bootloader = bootloader


class LinuxKeeping(Keeping):
    """A keeper that finds its tree below the supervisor, which is a subreaper."""

    def __init__(self, charge: Charge, at_end: Callable[[bool], None] | None, orders: int) -> None:
        """See ``Keeping``."""
        super().__init__(orders, at_end)
        self._charge = charge
        self._seen: set[tuple[int, int]] | None = None

    def _begin(self) -> None:
        prctl(PR_SET_NAME, b"sidecar-keeper")
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # else a stopped keeper (SIGSTOP) could not see the guard die

    def _await_end(self, deadline: float) -> None:
        poll = select.poll()
        if self._charge.supervisor is not None:
            poll.register(self._charge.supervisor, select.POLLIN)
        while not self._supervisor_is_gone() and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)

    def _supervisor_is_gone(self) -> bool:
        if self._charge.supervisor is not None:
            return is_dead(self._charge.supervisor)
        process = self._charge.process  # a kernel without pidfds
        return process is None or is_gone(process.pid, process.start)

    def _bootloader_is_gone(self) -> bool:
        return is_dead(self._charge.bootloader)

    def _app_is_gone(self) -> bool:
        return is_dead(self._charge.app)

    def _end_all(self) -> None:
        """Stop the supervisor first: then it neither starts nor reaps any process, see ``_is_quiet``."""
        self._signal(signal.SIGSTOP)
        left = kill_until_empty(self._tree, is_empty=self._is_quiet)
        self._signal(signal.SIGKILL)
        group = self._charge.group
        if group is not None and not cgroup.end(group):
            say("warning", f"the control group {group} is not empty; the next start removes it")
        for process in left:
            if process is UNSEEN or not is_gone(process.pid, process.start):
                say("error", still_alive(process))

    def _signal(self, number: signal.Signals) -> None:
        try:
            if self._charge.supervisor is not None:
                signal.pidfd_send_signal(self._charge.supervisor, number)
            elif self._charge.process is not None:
                send(self._charge.process, number)
        except ProcessLookupError:
            pass  # it has died since the check

    def _tree(self) -> list[Process]:
        process = self._charge.process
        if process is None or self._supervisor_is_gone():
            return []
        return below([process.pid], all_processes())

    def _is_quiet(self) -> bool:
        """Tell whether nothing alive is below the supervisor: two looks in a row show the same dead processes.

        A chain of processes that fork and exit may hide from each single look. But each link that dies between two
        looks stays as a zombie, because a stopped supervisor reaps nothing. So the two looks differ.
        """
        seen = {(it.pid, it.start) for it in self._tree()}
        quiet, self._seen = seen == self._seen, seen
        return quiet
