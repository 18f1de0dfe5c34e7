"""What ``doctor --prove`` needs from a platform: a count of living processes, hostile trees, and ways to kill."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn, Protocol, Self

from msgspec import Struct

from sidecar.commands.doctor import DOCTOR_PART
from sidecar.host import frozen

VITE = "vite"
"""The kind of the tree that ends with its stdin."""

LIFE_S = 300
"""How long a process of a trial lives if everything that should end it fails. A stopped one cannot end itself."""


def as_part(*words: str) -> list[str]:
    """Return the command line that starts the sidecar again as a process of a trial."""
    return frozen.itself(DOCTOR_PART, *words)


class CannotTryError(Exception):
    """The trial is not possible; the text says why."""


class Plan(Struct, frozen=True):
    """What a trial kills, and what that tests."""

    victims: tuple[str, ...]
    """Our processes to kill, all in the same instant and in this order."""
    claims: tuple[str, ...]
    """The guarantees that the trial tests, by their names in ``initialize``.

    If any one of them fails, a process survives. A guarantee is left out if another one covers for it: then the trial
    would pass without it.
    """
    leaves_rest: bool = False
    """No process of ours is left to clean up. The trial includes a next start, which ends the rest."""
    needs: str | None = None
    """The guarantee that the trial is about. Skip the trial if it is not claimed."""
    stopped: tuple[str, ...] = ()
    """Our processes to stop before the kill, so that the others must do the work alone."""
    grouped: bool = True
    """Whether the sidecar may make a control group. ``False`` prevents it, because the group would hide a failure."""


class Member(Protocol):
    """A process of a tree that has introduced itself."""

    kind: str
    """The kind of its tree."""
    role: str
    pid: int


class Liveness(Protocol):
    """Learns from the kernel which processes live. It calls back within ``wait``, and at no other time."""

    name: str
    """The address that a part needs to introduce itself."""
    last_death: float
    """When a process of the trees last died, on the monotonic clock."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """End the processes that are left, by identity."""
        ...

    def launch(self, command: list[str], env: Mapping[str, str], *, grouped: bool) -> subprocess.Popen[bytes]:
        """Start the stand-in app with pipes for stdin and stdout. Ctrl-C in this terminal must not reach it.

        Unless ``grouped``, nothing that it starts can make a control group. Raises ``CannotTryError``.
        """
        ...

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """Wait until the condition holds; return whether it does."""
        ...

    def living(self) -> Sequence[Member]:
        """Return the processes that have connected and have not died yet."""
        ...

    def wait_stopped(self, bound_s: float) -> bool:
        """Wait until the tree that stops itself is stopped; return whether it is. True if there is no such tree."""
        ...

    def read(self, pipe: IO[bytes], heard: Callable[[bytes], None]) -> None:
        """Call ``heard`` with the bytes of a pipe, and with empty bytes at its end. The pipe is ours from now on."""
        ...

    def hold(self, pid: int, ended: Callable[[float], None]) -> int:
        """Hold a process, so that a new one with its pid cannot be mistaken for it.

        Call ``ended`` once, with the instant of its end. Raises ``ProcessLookupError``.
        """
        ...

    def kill(self, held: Sequence[int]) -> float:
        """Kill them in the same instant, and return that instant. Ignore dead ones."""
        ...

    def stop(self, held: Sequence[int]) -> None:
        """Stop them until they are killed, on a platform that can."""
        ...

    def let_go(self, held: int) -> None:
        """Release a process."""
        ...


class Run(Protocol):
    """The run of a stand-in app, as a platform needs it."""

    guarantees: dict[str, Any]
    """As ``initialize`` answered."""

    def living_programs(self) -> tuple[str, ...]:
        """Return the services' own programs that live: the supervisor's direct children."""
        ...

    def living_members(self, kind: str | None = None) -> tuple[str, ...]:
        """Return the living processes of all trees, or of one kind."""
        ...


class Platform(Protocol):
    """A platform. Each platform's module is one; ``find_platform`` returns it."""

    BLOW: str
    """How this platform kills, for the report: a signal or a system call."""
    SIZES: dict[str, int]
    """Each kind of tree, and how many processes it has once it is complete. Without a node there is no ``vite``."""
    PLANS: dict[str, Plan]
    """The name of what is killed → the plan. If there is no bootloader, nothing kills it."""
    UNTRIED: dict[str, str]
    """A layer → why no trial may test it although it is active."""

    def make_liveness(self) -> Liveness:
        """Begin to count. Raises ``CannotTryError``."""
        ...

    def find_ours(self, app: int, supervisor: int) -> dict[str, int]:
        """Return the sidecar's processes and their pids. Raises ``ProcessLookupError`` if one is dead."""
        ...

    def find_group(self, guarantees: dict[str, Any], ours: dict[str, int]) -> str | None:
        """Return the control group that the run has made."""
        ...

    def end_group(self, group: str) -> None:
        """End the processes that are left in it, and remove it."""
        ...

    def overdue(self, run: Run) -> tuple[str, ...]:
        """Return the living processes that should be dead before the next start."""
        ...

    def is_excused(self, member: Member, guarantees: dict[str, Any]) -> bool:
        """Tell whether it may survive, as the page on guarantees says."""
        ...

    def limit_life(self) -> None:
        """End this process after ``LIFE_S``, whatever happens to doctor."""
        ...

    def grow(self, words: Sequence[str]) -> NoReturn:
        """Run a process of a tree. ``words``: its kind, ``Liveness.name``, and the tree's own words."""
        ...
