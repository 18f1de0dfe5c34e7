"""Who descends from a process, where no subreaper collects orphans (macOS).

On Linux every orphan of the tree comes to us. Here launchd adopts it, and its parent pid says nothing any more.
Three things still tell whose it is; each of them alone is proof, so that nobody else's process is taken for ours:

1. **Birth.** The kernel numbers processes and never uses a number again in a boot, and keeps with each the number of
   the one that forked it, whoever adopts it later. Whose forker is ours is ours.
2. **Session.** One in which a known, living descendant is, and in which we are not, was made by a descendant. Its
   number proves nothing once the last such member is dead: it is only as good as a bare pid then.
3. **Cookie.** The run's id in the environment that it was started with. Reading it is dear: it is asked for when
   trees are ended, and not when somebody forks. Of the system's own programs (/bin/sh) macOS shows no environment.

The race that is left: a process forks and is dead before anybody has looked, so that its number is never learned (a
daemon's middle process lives for less than a millisecond). The kernel tells of a fork (NOTE_FORK) but not of the
child, nor does it follow the child by itself (NOTE_TRACK is not on macOS). So we ask at once for the children of who
has forked, which is two or three system calls, and only then look at everybody. What has won that race is found by its
session, if somebody known lives in it, or by its cookie. A daemon that wins it *and* has emptied its environment is
not found, and lives on. Linux has no such gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Process:
    """One process as it was seen. A plain class: a look makes hundreds, and the guard has no time for dataclasses."""

    __slots__ = ("birth", "dead", "forker", "pid", "ppid", "sid", "stopped")

    def __init__(
        self, pid: int, birth: int, *, forker: int, ppid: int, sid: int, dead: bool = False, stopped: bool = False
    ) -> None:
        """Keep what was read.

        ``birth`` is the number that no other process of this boot has, and larger than those of all before it.
        ``forker`` is the birth of the one that forked it. ``dead`` is a zombie.
        """
        self.pid = pid
        self.birth = birth
        self.ppid = ppid
        self.sid = sid
        self.forker = forker
        self.dead = dead
        self.stopped = stopped


class System(Protocol):
    """What is asked of the kernel about processes, and of them. ``Kin`` and all above it do nothing else to anybody."""

    def processes(self) -> dict[int, Process]:
        """All that can be seen, by pid. They are read one after another: the whole may be of no moment."""
        ...

    def read(self, pid: int) -> Process | None:
        """One; ``None`` if there is none (any more)."""
        ...

    def children(self, pid: int) -> list[int]:
        """Whose parent it is now. Quick: it is asked while one that forked and leaves at once is still there."""
        ...

    def variable(self, pid: int, name: str) -> str | None:
        """A variable as the process was started with it; ``None`` if it has none, is gone, or is another user's."""
        ...

    def kill(self, pid: int, number: int) -> None:
        """Send the signal to whoever has the pid. Raises ``ProcessLookupError`` and ``PermissionError``."""
        ...


class Kin:
    """The descendants of one process, itself included, as far as they were seen in time."""

    def __init__(self, root: Process | None, *, since: int, outside: int) -> None:
        """``root`` is ``None`` where it was dead before it could be looked at; its session may still be known.

        ``since`` is a birth that all of them come after; ``outside`` is our own session: others than ours are in it.
        """
        self._since = since
        self._outside = outside
        self._living = {} if root is None else {root.pid: root.birth}
        self._births = set(self._living.values())
        """Of those, and of those that were missing in the last look. Their children may not have been seen yet: the
        pids were listed before their parent's last fork."""

    def adopt(self, process: Process) -> bool:
        """Learn of one that was seen by itself, without a look; whether it is kin by its birth."""
        if process.forker not in self._births or process.birth <= self._since:
            return False
        self._living[process.pid] = process.birth
        self._births.add(process.birth)
        return True

    def look(
        self,
        processes: Mapping[int, Process],
        marked: Callable[[Process], bool] | None = None,
        *,
        session: int | None = None,
    ) -> list[Process]:
        """Those of ``processes`` that are kin, the dead included.

        ``marked`` tells whether one has the cookie. ``session`` is one that is known to be ours at this moment: the
        pid of its leader, a child of ours that we have not reaped.
        """
        found = {pid: it for pid, birth in self._living.items() if (it := processes.get(pid)) and it.birth == birth}
        births = set(self._births)
        sessions = {it.sid for it in found.values() if not it.dead} | ({session} if session is not None else set())
        sessions.discard(self._outside)
        # what is older is no descendant, and need not be asked anything
        others = [it for it in processes.values() if it.birth > self._since and it.pid not in found]
        unasked = marked is not None
        while True:
            new = [it for it in others if it.forker in births or it.sid in sessions]
            if not new and unasked and marked is not None:
                unasked = False
                new = [it for it in others if not it.dead and marked(it)]
            if not new:
                break
            found |= {it.pid: it for it in new}
            births |= {it.birth for it in new}
            sessions |= {it.sid for it in new if not it.dead and it.sid != self._outside}
            others = [it for it in others if it.pid not in found]
        self._births = set(self._living.values())
        self._living = {it.pid: it.birth for it in found.values()}
        self._births |= set(self._living.values())
        return list(found.values())
