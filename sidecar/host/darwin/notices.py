"""The kernel's notices about processes that are not our children: kqueue's EVFILT_PROC (macOS).

What the manual page says, and what it does not, as far as it matters here:

- Only a living process can be registered; ESRCH says that it is dead. Whether a zombie counts as living differs
  (macOS refuses it, FreeBSD tells its exit at once), so neither is relied upon.
- A registration is of the process and not of the number: who gets the pid afterwards sets nothing off. But the number
  may have changed hands *before* we registered, so identity is checked afterwards: only then is the notice its.
- NOTE_EXIT comes once and ends the registration. It comes from the middle of exit(2): the process may not be a zombie
  yet, and waitpid with WNOHANG may still find nothing.
- Forks are counted no more than signals are: several are one notice, together with the exit if that came meanwhile.
- A queue is not inherited by fork(2): guard and supervisor each have their own.
- NOTE_TRACK, which would follow children by itself on FreeBSD, is refused by macOS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

# sys/event.h. Python has them on systems with a kqueue only, and the tests bring one of their own to Linux.
EVFILT_READ = -1
EVFILT_PROC = -5
EV_ADD = 0x0001
EV_DELETE = 0x0002
EV_CLEAR = 0x0020
NOTE_FORK = 0x4000_0000
NOTE_EXIT = 0x8000_0000

AT_ONCE = 64
"""So many notices are taken in one call; the next call gives the rest."""


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
        """NOTE_* of a process."""
        ...


_Event = TypeVar("_Event", bound=Event)


class Queue(Protocol[_Event]):
    """A ``select.kqueue``."""

    def control(self, changes: Iterable[_Event] | None, most: int, timeout: float | None, /) -> list[_Event]:
        """kevent(2). Raises ``OSError`` if a change fails and there is no room for events."""
        ...


class Notices:
    """A queue, and what is registered with it."""

    def __init__(self, queue: Queue[_Event], make_event: Callable[[int, int, int, int], _Event]) -> None:
        """Take a new queue of this process; ``make_event`` is ``select.kevent``: ident, filter, flags, notes."""

        def change(*what: int) -> None:
            # one at a time, with no room for events: then its failure is raised, and not given as an event
            queue.control([make_event(*what)], 0, 0)

        self._change = change
        self._control: Callable[[None, int, float | None], Sequence[Event]] = queue.control

    def watch(self, pid: int, *, forks: bool = False) -> None:
        """Tell of the process's end, and of its forks. Raises ``ProcessLookupError`` if it is dead."""
        self._change(pid, EVFILT_PROC, EV_ADD | EV_CLEAR, NOTE_EXIT | (NOTE_FORK if forks else 0))

    def read(self, fd: int) -> None:
        """Tell when there is something to read, or its end, as long as that is so."""
        self._change(fd, EVFILT_READ, EV_ADD, 0)

    def forget(self, fd: int) -> None:
        """Undo ``read``."""
        self._change(fd, EVFILT_READ, EV_DELETE, 0)

    def wait(self, timeout: float | None = None) -> Sequence[Event]:
        """Block until something has happened, or ``timeout`` seconds have passed."""
        return self._control(None, AT_ONCE, timeout)
