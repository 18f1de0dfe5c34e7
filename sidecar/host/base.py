"""The one seam to the system: what the runtime needs of a platform, narrow enough to fake whole.

All methods are called from the runtime's main thread, but for ``owns`` and ``holder``, which probes and preparations
call from their own threads. A *tree* is a service's program with all that it started, however far that went.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from sidecar.events import Launch
from sidecar.wire.messages import Guarantees, Holder


class Child(Struct, frozen=True):
    """A started program: its pid, and descriptors to read its output from (owned by the caller)."""

    pid: int
    stdout: int
    stderr: int


class Ended(Struct, frozen=True):
    """A service's whole tree is gone. One of ``code`` and ``signal`` (a name such as SIGKILL) is set."""

    service: str
    code: int | None
    signal: str | None


class Host(Protocol):
    """A platform."""

    def guarantees(self) -> Guarantees:
        """The layers of the kill that are active, never more."""
        ...

    def spawn(self, service: str, launch: Launch) -> Child:
        """Start the program in a tree of its own.

        Raises ``ProcessSpawnFailedError``, also where it wants a pid namespace of its own and none can be made.
        """
        ...

    def terminate(self, service: str, signal: str) -> None:
        """Ask the program, and what shares its process group, to end. Does nothing if it is gone."""
        ...

    def kill(self, service: str) -> None:
        """End the whole tree. Its ``Ended`` comes from ``reap``."""
        ...

    def reap(self) -> list[Ended]:
        """Collect the dead; report each tree once, when it is wholly gone. To be called after each child signal."""
        ...

    def kill_all(self) -> None:
        """End every tree, and whatever else is below us."""
        ...

    def owns(self, service: str, address: str, port: int) -> bool:
        """Whether whoever listens on ``address``:``port`` (a literal) belongs to the service's tree."""
        ...

    def holder(self, port: int) -> Holder | None:
        """Who listens on ``port``; ``None`` if nobody does."""
        ...

    def memory(self, service: str) -> int | None:
        """Resident memory of the tree in bytes; ``None`` where it cannot be read."""
        ...
