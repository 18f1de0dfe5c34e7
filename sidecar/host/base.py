"""The one seam to the system: what the runtime needs of a platform, narrow enough to fake whole.

``Host`` is the system below us, ``Tether`` what we hang on: the app, and the guard where there is one.

All methods of a host are called from the runtime's main thread, but for ``owns``, ``listening`` and ``holder``, which
probes and preparations call from their own threads. A *tree* is a service's program with all that it started, however
far that went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from sidecar.errors import ProcessSpawnFailedError
from sidecar.events import Launch, Owner
from sidecar.wire.messages import Guarantees, Holder, ServiceReady, ServiceState, SupervisorSwept


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
    left: tuple[int, ...] = ()
    """The pids of who has outlived SIGKILL: in the kernel (an uninterruptible sleep), or another user's. 0 for who is
    hidden from us."""


def refuse_pid_namespace(service: str, launch: Launch) -> None:
    """For a platform that has none: what was asked for and cannot be held is an error, not left out in silence."""
    if launch.pid_namespace:
        raise ProcessSpawnFailedError(
            f"{service}: isolation 'pidNamespace' exists on Linux only. Leave isolation out for this system.",
            service=service,
            program=launch.argv[0],
        )


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

    def owns(self, service: str, address: str, port: int) -> Owner:
        """Tell whose socket takes the connections to ``address``:``port`` (a literal address).

        ``foreign`` is also the answer where no socket listens there, or the service is not running.
        Raises ``OSError`` where the system has too few descriptors, processes or too little memory for a look.
        """
        ...

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """Return each (literal address, port) on which the service's tree listens by TCP, in order.

        Empty is certain: the tree listens nowhere. ``None``: that cannot be read. Never raises.
        """
        ...

    def holder(self, port: int) -> Holder | None:
        """Who listens on ``port``; ``None`` if nobody does."""
        ...

    def memory(self, service: str) -> int | None:
        """Resident memory of the tree in bytes; ``None`` where it cannot be read."""
        ...


class Seen(Protocol):
    """A process, as far as job control looks at it."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def ppid(self) -> int:
        """Its parent's; 0 where that is outside of what we can see."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether a signal has stopped it."""
        ...


SignalledTo = Literal["us", "guard", "bootloader"]
"""Which of our processes a signal was sent to. One to a whole process group comes to each of them."""


class Tether(Protocol):
    """What a supervisor hangs on. When it breaks, everything below us has to end."""

    def watch_signals(self, seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
        """Tell of each signal that is sent to us, and of each death below us, from now on. For the main thread.

        Both are called where nothing may be waited for: in a signal's handler, or in a thread of the system's; and
        ``child_died`` sometimes where nobody has.
        """
        ...

    def make_host(self, run_id: str) -> Host:
        """Block until whoever has to end the tree in our stead is on watch, so that no child starts before; the host.

        ``run_id`` marks every process of this run.
        """
        ...

    def watch(self, gone: Callable[[str], None], forwarded: Callable[[SignalledTo, int], None]) -> None:
        """A thread's body: tell once of each end of what we hang on, and of signals that the guard was sent."""
        ...

    def announce_grace(self, ms: int) -> None:
        """Tell the guard, if there is one, how long to wait for us when the app dies."""
        ...

    def begin_record(self, guarantees: Guarantees) -> None:
        """Write this run's record. Raises ``OSError``."""
        ...

    def sweep(self) -> SupervisorSwept | None:
        """End what dead runs left; what there is to tell. Never raises."""
        ...

    def keep_record(self) -> None:
        """A thread's body, after ``begin_record``: keep the record up to date."""
        ...

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Keep it in the record."""
        ...

    def let_go(self) -> None:
        """Everything below us is dead: leave nothing that the next start would have to sweep, and wake the guard."""
        ...
