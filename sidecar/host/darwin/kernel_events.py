"""The kernel's events about processes that are not our children: kqueue's EVFILT_PROC (macOS).

These rules matter here. The manual page has only some of them:

- Only a living process can be registered. ESRCH means that it is dead. Systems differ about zombies (macOS refuses
  them, FreeBSD reports their exit at once), so we rely on neither.
- A registration belongs to the process, not to the pid. A later process with the same pid causes no event. But another
  process may have got the pid *before* the registration. So check the identity after the registration.
- NOTE_EXIT comes once and ends the registration. It comes from the middle of exit(2): the process may not be a zombie
  yet, and waitpid with WNOHANG may still find nothing.
- The kernel merges events, as it merges signals. Several forks become one event, and an exit may become part of it.
- NOTE_EXEC comes when the new program is in place. The registration stays.
- A child does not inherit a queue across fork(2): guard and supervisor each have their own.
- macOS refuses NOTE_TRACK, by which FreeBSD registers children itself.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

# From sys/event.h. Python has them only on systems with a kqueue, but the tests run on Linux, with their own queue.
EVFILT_READ = -1
EVFILT_PROC = -5
EV_ADD = 0x0001
EV_DELETE = 0x0002
EV_CLEAR = 0x0020
NOTE_EXEC = 0x2000_0000
NOTE_FORK = 0x4000_0000
NOTE_EXIT = 0x8000_0000

AT_ONCE = 64
"""How many kernel events one call takes. The next call takes the rest."""


class Event(Protocol):
    """A ``select.kevent``."""

    @property
    def ident(self) -> int:
        """The pid, or the descriptor."""
        ...

    @property
    def filter(self) -> int:
        """One of EVFILT_*."""
        ...

    @property
    def fflags(self) -> int:
        """The NOTE_* flags of a process."""
        ...


_Event = TypeVar("_Event", bound=Event)


class Queue(Protocol[_Event]):
    """A ``select.kqueue``."""

    def control(self, changes: Iterable[_Event] | None, most: int, timeout: float | None, /) -> list[_Event]:
        """Call kevent(2). Raises ``OSError`` if a change fails and ``most`` is 0."""
        ...


class KernelEvents:
    """A queue and its registrations."""

    def __init__(self, queue: Queue[_Event], make_event: Callable[[int, int, int, int], _Event]) -> None:
        """Take a new queue of this process; ``make_event`` is ``select.kevent``: ident, filter, flags, notes."""

        def change(*what: int) -> None:
            # one change at a time, with no room for events: then a failure is raised instead of returned as an event
            queue.control([make_event(*what)], 0, 0)

        self._change = change
        self._control: Callable[[None, int, float | None], Sequence[Event]] = queue.control

    def watch(self, pid: int, *, forks: bool = False) -> None:
        """Report the process's end, and its forks and execs if asked. Raises ``ProcessLookupError`` if it is dead."""
        self._change(pid, EVFILT_PROC, EV_ADD | EV_CLEAR, NOTE_EXIT | (NOTE_FORK | NOTE_EXEC if forks else 0))

    def read(self, fd: int) -> None:
        """Report that ``fd`` has data or has ended, again in each ``wait`` while that is so."""
        self._change(fd, EVFILT_READ, EV_ADD, 0)

    def forget(self, fd: int) -> None:
        """Undo ``read``."""
        self._change(fd, EVFILT_READ, EV_DELETE, 0)

    def wait(self, timeout: float | None = None) -> Sequence[Event]:
        """Block until something has happened, or ``timeout`` seconds have passed."""
        return self._control(None, AT_ONCE, timeout)


if sys.platform == "darwin":  # on other systems the tests have their own queue

    def make_kernel_events() -> KernelEvents:
        """Make a new queue of this process. Raises ``OSError``."""
        return KernelEvents(select.kqueue(), select.kevent)
