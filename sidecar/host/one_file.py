"""Find the folders that services' one-file programs unpack, and remove each once its program is dead.

Theory of operation
===================

A one-file program of PyInstaller is two processes. The bootloader unpacks into a temporary folder ``_MEI…``, starts the
program proper, waits for its end and removes the folder. If both are killed, the folder stays.

**How a folder is found.** The bootloader names it in a variable of its program's environment. So we read the
environments of the processes below a service's program, and need not list any folder. A value that is also in our own
environment belongs to another program, which passed it on to us.

**When.** The thread *record* looks when the service is ready, and at the times of ``LOOK_AFTER_S``: a service may be
ready before it has unpacked, and may start such a program later. Neither the loop nor the kill path waits for this, and
nothing looks at a folder before a kill.

**Which process removes it.** Always after the kill, and only the very folder that was seen (``sidecar.host.unpacked``):

- The service's tree is dead and the supervisor lives on: the thread *record*.
- The guard has ended the tree: a process that it forks before it exits (``PosixGuard._leave``). An order of the
  supervisor has named the folder to the guard; another one says that the folder is gone.
- The guard is dead, and the keeper has ended the tree: the keeper, last of all.
- There is no guard (Windows), or it is dead: the thread *record*, at the supervisor's own end.
- All were killed at once: the next start, by the run's record.

A program that is killed before the first look, or that starts after the last one, leaves its folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from sidecar.diagnostics import say
from sidecar.host import unpacked
from sidecar.state.run_record import Identity, ServiceRecord, UnpackedFolder

VARIABLES = ("_PYI_APPLICATION_HOME_DIR", "_MEIPASS2")
"""The variables in which a bootloader names its folder: since PyInstaller 6.9, and before."""

LOOK_AFTER_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds after a service's start. Its program unpacks for a second or so, or much longer on a slow disk."""

PROCESSES_MOST = 256
"""How many processes of a tree one look reads at most."""


class _Looks(Struct):
    """The looks at one program so far."""

    since: float
    done: int = 0
    when_ready: bool = False
    """Whether a look has succeeded since the service became ready."""


class OneFilePrograms:
    """The unpacked folders of this run's services. All methods are the thread *record*'s."""

    def __init__(
        self,
        below: Callable[[Sequence[int]], Mapping[int, Sequence[int]]],
        variable: Callable[[int, str], str | None],
        identify: Callable[[int], Identity | None],
        tell_found: Callable[[UnpackedFolder], None] = lambda _: None,
        tell_gone: Callable[[UnpackedFolder], None] = lambda _: None,
    ) -> None:
        """The first three ask the system. The last two are called when a folder is found, and when it is removed.

        ``below`` returns the descendants of each of some processes, ``variable`` one of the variables that a process
        was started with. Both may raise ``OSError``.
        """
        self._below = below
        self._variable = variable
        self._identify = identify
        self._tell_found = tell_found
        self._tell_gone = tell_gone
        self._looks: dict[Identity, _Looks] = {}
        self._found: dict[UnpackedFolder, Identity] = {}
        """Each folder → the service's program whose tree has unpacked it."""
        self._stuck: set[UnpackedFolder] = set()

    def tend(
        self, services: Mapping[str, ServiceRecord], *, looking: bool
    ) -> tuple[tuple[UnpackedFolder, ...], float | None]:
        """If ``looking``, look at the running programs. Remove the folders of programs that have ended.

        Return the folders that remain, and after how many seconds to call this again. Never raises.
        """
        running = {it.process: it for it in services.values() if it.process is not None}
        if looking:
            self._look_at_all(running)
        for folder, program in list(self._found.items()):
            if program not in running and folder not in self._stuck:
                self._remove(folder)
        now = time.monotonic()
        dues = (it.since + LOOK_AFTER_S[it.done] - now for it in self._looks.values() if it.done < len(LOOK_AFTER_S))
        return tuple(self._found), max(0.0, due) if (due := min(dues, default=None)) is not None else None

    def _look_at_all(self, running: Mapping[Identity, ServiceRecord]) -> None:
        now = time.monotonic()
        self._looks = {program: self._looks.get(program) or _Looks(now) for program in running}
        chosen: list[Identity] = []
        for program, looks in self._looks.items():
            due = sum(looks.since + seconds <= now for seconds in LOOK_AFTER_S)
            if due > looks.done or (running[program].state == "ready" and not looks.when_ready):
                looks.done = max(due, looks.done)
                chosen.append(program)
        try:
            # once for all, because it may read every process of the system
            below = self._below([it.pid for it in chosen]) if chosen else {}
        except OSError:
            return  # EMFILE, ENFILE, ENOMEM: the next look may succeed
        for program in chosen:
            try:
                self._look_at(program, below[program.pid][:PROCESSES_MOST])
            except OSError:
                continue  # as above
            self._looks[program].when_ready = running[program].state == "ready"

    def _look_at(self, program: Identity, below: Iterable[int]) -> None:
        told = {self._variable(pid, name) for pid in below for name in VARIABLES}
        for path in told - {os.environ.get(name) for name in VARIABLES}:
            identity = None if path is None else unpacked.identify(path)
            if path is None or identity is None or self._identify(program.pid) != program:
                continue  # not a bootloader's folder; or the program has ended, and another process may have its pid
            folder = UnpackedFolder(path, identity)
            if folder not in self._found:
                self._found[folder] = program
                self._tell_found(folder)

    def _remove(self, folder: UnpackedFolder) -> None:
        if unpacked.remove(folder.path, folder.identity):
            del self._found[folder]
            self._tell_gone(folder)
            return
        self._stuck.add(folder)
        say(
            "warning",
            f"the folder {folder.path}, which a service unpacked, could not be removed; we try again when we end",
        )
