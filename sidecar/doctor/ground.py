"""What a platform gives to ``doctor --prove``: a roll of who lives, hostile trees, and what may be killed of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn, Protocol, Self

from msgspec import Struct

VITE = "vite"
"""The tree that ends with its stdin."""


class CannotTryError(Exception):
    """The stand-in app or its trees could not be started; the text says why."""


class Plan(Struct, frozen=True):
    """A way to kill."""

    victims: tuple[str, ...]
    """Those of ours that are killed in the same instant, in this order."""
    claims: tuple[str, ...]
    """The guarantees (by their names in ``initialize``) without each of which somebody would survive it.

    None is named where another one would do its work: such a trial could not fail by it.
    """
    leaves_rest: bool = False
    """Nobody of ours is left to tidy up: what remains is for a next start, which is a part of the trial."""
    needs: str | None = None
    """The guarantee that it is about: where that is not claimed, nothing is tried by it."""
    stopped: tuple[str, ...] = ()
    """Those of ours that are stopped before, so that the others are alone."""
    grouped: bool = True
    """Whether a control group may be made; ``False`` keeps the sidecar from it, as it would do the others' work."""


class Member(Protocol):
    """A process of a tree, which has introduced itself."""

    kind: str
    """Of which tree it is."""
    role: str
    pid: int


class Roll(Protocol):
    """Who lives, told by the kernel. Everything is told within ``wait``, and nothing besides."""

    name: str
    """What a part needs to introduce itself."""
    last_death: float
    """When the last one of the trees that died did, on the monotonic clock."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """End who is left, by identity."""
        ...

    def launch(self, command: list[str], env: Mapping[str, str], *, grouped: bool) -> subprocess.Popen[bytes]:
        """Start the stand-in app with pipes for stdin and stdout, out of reach of the keys pressed here.

        Unless ``grouped``, nothing that it starts can make a control group. Raises ``CannotTryError``.
        """
        ...

    def wait(self, condition: Callable[[], bool], bound_s: float) -> bool:
        """Wait until it holds; whether it does."""
        ...

    def living(self) -> Sequence[Member]:
        """Who has introduced itself and lives, as far as is heard."""
        ...

    def wait_stopped(self, bound_s: float) -> bool:
        """Wait until the tree that is to be stopped is; whether it is. At once, where there is none."""
        ...

    def read(self, pipe: IO[bytes], heard: Callable[[bytes], None]) -> None:
        """Tell what comes through it, and an empty text at its end. The pipe is the roll's from now on."""
        ...

    def hold(self, pid: int, ended: Callable[[float], None]) -> int:
        """Hold a process, so that its pid cannot become another's unseen; tell once when it has ended, and the instant.

        Raises ``ProcessLookupError``.
        """
        ...

    def kill(self, held: Sequence[int]) -> float:
        """Kill them in the same instant, which is returned; those that are dead already are no matter."""
        ...

    def stop(self, held: Sequence[int]) -> None:
        """Stop them until they are killed, where the platform knows that."""
        ...

    def let_go(self, held: int) -> None:
        """Hold it no more."""
        ...


class Run(Protocol):
    """A stand-in app's run, as a ground needs it."""

    guarantees: dict[str, Any]
    """Of ``initialize``."""

    def living_programs(self) -> tuple[str, ...]:
        """The services' own programs that live: the supervisor's direct children."""
        ...

    def living_members(self, kind: str | None = None) -> tuple[str, ...]:
        """Who lives of the trees, or of this one."""
        ...


class Ground(Protocol):
    """A platform, as ``find`` gives it: its module is one."""

    BLOW: str
    """By what is killed."""
    SIZES: dict[str, int]
    """The trees, and so many processes live once each is whole. ``vite`` is left out where there is no node."""
    PLANS: dict[str, Plan]
    """By what is killed. ``bootloader`` as a victim is left out where there is none."""
    UNTRIED: dict[str, str]
    """Why a layer that holds may be in no plan that is made here."""

    def make_roll(self) -> Roll:
        """Begin to count. Raises ``CannotTryError``."""
        ...

    def find_ours(self, app: int, supervisor: int) -> dict[str, int]:
        """Of the sidecar: its processes and their pids. Raises ``ProcessLookupError`` if one is dead."""
        ...

    def find_group(self, guarantees: dict[str, Any], ours: dict[str, int]) -> str | None:
        """The control group that the run has made."""
        ...

    def end_group(self, group: str) -> None:
        """End who is left in it, and remove it."""
        ...

    def overdue(self, run: Run) -> tuple[str, ...]:
        """Who lives, and should be dead without a next start."""
        ...

    def is_excused(self, member: Member, guarantees: dict[str, Any]) -> bool:
        """Whether it may live on, as the page on guarantees says."""
        ...

    def limit_life(self) -> None:
        """End this process after ``LIFE_S``, whatever becomes of doctor."""
        ...

    def grow(self, words: Sequence[str]) -> NoReturn:
        """Be a process of a tree: its kind, what the roll is called, and what only the tree itself says to its own."""
        ...
