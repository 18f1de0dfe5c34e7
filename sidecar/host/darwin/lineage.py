"""The descendants of a process, on a system without a subreaper (macOS).

On Linux every orphan of the tree becomes our child. On macOS launchd adopts it, and its parent pid tells nothing any
more. Three facts still tell that a process is ours. Each of them alone is proof, so we never take a foreign process for
ours:

1. **Birth.** The kernel numbers all processes and never reuses a number within a boot. It keeps the forker's number
   with each process, even if another process adopts it later. If the forker is ours, the process is ours. Since macOS
   13 an exec replaces the forker's number by the number of the current parent, and an orphan's parent is launchd. Since
   macOS 15.4 another number survives the exec: the *version* that the forker had at the fork. Each fork and exec makes
   a new version, which is never reused. So we keep every version of our processes that we have seen, and read the new
   one at once when the kernel reports an exec (NOTE_EXEC). From macOS 13 to 15.3 an orphan loses this proof if it
   executes another program before we have seen it.
2. **Session.** If a known, living descendant is in a session and we are not, then a descendant made that session. Once
   the last such member is dead, the session's number proves nothing: like a bare pid, it may be reused.
3. **Cookie.** The process was started with the run's id in its environment. This is expensive to read, so we read it
   when we end a tree, not at each fork. macOS shows no environment of the system's own programs (/bin/sh).

One race is left: a process forks and dies before any look, so we never learn its number. (The middle process of a
daemon lives for less than a millisecond.) The kernel reports a fork (NOTE_FORK), but neither names the child nor
follows it (macOS has no NOTE_TRACK). So we first ask for the children of the process that forked, which takes two or
three system calls, and only then look at all processes. If a daemon wins this race, we find it by its session, if a
known process lives there, or by its cookie. A daemon that wins *and* has emptied its environment is not found and
survives. Linux has no such gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

Listener = tuple[str, int, int, int]
"""A listening socket: its address and port, the last process that acted on it, and its user."""


class Process:
    """One process as a look saw it. Not a dataclass, because importing dataclasses would delay the guard."""

    __slots__ = ("birth", "dead", "forker", "forker_version", "pid", "ppid", "sid", "stopped", "version")

    def __init__(
        self,
        pid: int,
        birth: int,
        *,
        forker: int,
        ppid: int,
        sid: int,
        dead: bool = False,
        stopped: bool = False,
        version: int = 0,
        forker_version: int = 0,
    ) -> None:
        """Keep what was read.

        ``birth`` is a number that no other process of this boot has; later processes have larger ones. ``forker`` is
        the birth of the process that forked it, or of its parent at its last exec. ``dead`` means a zombie. ``version``
        changes at each exec. ``forker_version`` is the forker's version at the fork, and never changes. 0 is unknown.
        """
        self.pid = pid
        self.birth = birth
        self.ppid = ppid
        self.sid = sid
        self.forker = forker
        self.dead = dead
        self.stopped = stopped
        self.version = version
        self.forker_version = forker_version


class System(Protocol):
    """All that we ask the kernel about processes, and all signals. ``Lineage`` and its users ask nothing else."""

    def processes(self) -> dict[int, Process]:
        """Read all processes that we can see, by pid. This reads them one by one, so it is not a snapshot."""
        ...

    def read(self, pid: int) -> Process | None:
        """Read one process; ``None`` if it does not exist (any more)."""
        ...

    def children(self, pid: int) -> list[int]:
        """Return the pids of the process's current children. This is quick, to catch a forker that exits at once."""
        ...

    def listeners(self) -> list[Listener] | None:
        """Return all listening TCP sockets; ``None`` if the kernel does not tell."""
        ...

    def variable(self, pid: int, name: str) -> str | None:
        """Read a variable that the process was started with; ``None`` if it has none, is gone, or is another user's."""
        ...

    def kill(self, pid: int, number: int) -> None:
        """Send the signal to the process that has the pid. Raises ``ProcessLookupError`` and ``PermissionError``."""
        ...


class Lineage:
    """One process and its descendants, as far as a look saw them in time."""

    def __init__(self, root: Process | None, *, since: int, outside: int) -> None:
        """``root`` is ``None`` if it died before we could read it. Its session may still be known.

        All descendants are born after ``since``. ``outside`` is our own session, which also has foreign processes.
        """
        self._since = since
        self._outside = outside
        self._living = {} if root is None else {root.pid: root.birth}
        self._births = set(self._living.values())
        """Births of the living, and of those that were missing in the last look. Children of these may still be unseen:
        the look may have listed the pids before their parent's last fork."""
        self._versions: dict[int, int] = {}
        """All versions that we have seen → the birth of the process."""
        if root is not None:
            self._keep_version(root)

    def _keep_version(self, process: Process) -> None:
        if process.version:
            self._versions[process.version] = process.birth

    def note(self, process: Process) -> None:
        """Learn the new version of a descendant that has executed another program."""
        if self._living.get(process.pid) == process.birth:
            self._keep_version(process)

    def adopt(self, process: Process) -> bool:
        """Add a process that was read alone, if it belongs by its birth or version. Return whether it does."""
        known = process.forker in self._births or process.forker_version in self._versions
        if not known or process.birth <= self._since:
            return False
        self._living[process.pid] = process.birth
        self._births.add(process.birth)
        self._keep_version(process)
        return True

    def look(
        self,
        processes: Mapping[int, Process],
        marked: Callable[[Process], bool] | None = None,
        *,
        session: int | None = None,
    ) -> list[Process]:
        """Return the processes that belong to the lineage, zombies included.

        ``marked`` tells whether a process has the cookie. ``session`` is a session that is certainly ours now: the pid
        of its leader, a child of ours that we have not reaped.
        """
        found = {pid: it for pid, birth in self._living.items() if (it := processes.get(pid)) and it.birth == birth}
        births = set(self._births)
        versions = {*self._versions, *(it.version for it in found.values())} - {0}
        sessions = {it.sid for it in found.values() if not it.dead} | ({session} if session is not None else set())
        sessions.discard(self._outside)
        # an older process cannot be a descendant
        others = [it for it in processes.values() if it.birth > self._since and it.pid not in found]
        unasked = marked is not None
        while True:
            new = [it for it in others if it.forker in births or it.forker_version in versions or it.sid in sessions]
            if not new and unasked and marked is not None:
                unasked = False
                new = [it for it in others if not it.dead and marked(it)]
            if not new:
                break
            found |= {it.pid: it for it in new}
            births |= {it.birth for it in new}
            versions |= {it.version for it in new} - {0}
            sessions |= {it.sid for it in new if not it.dead and it.sid != self._outside}
            others = [it for it in others if it.pid not in found]
        self._births = set(self._living.values())
        self._living = {it.pid: it.birth for it in found.values()}
        self._births |= set(self._living.values())
        for it in found.values():
            self._keep_version(it)
        self._versions = {version: birth for version, birth in self._versions.items() if birth in self._births}
        return list(found.values())


def below(root: int, processes: Mapping[int, Process]) -> list[int]:
    """Return the pids below ``root`` through living parents, the nearest first."""
    found: list[int] = []
    level = {root}
    while level:
        level = {pid for pid, it in processes.items() if it.ppid in level and pid != root} - set(found)
        found += level
    return found
