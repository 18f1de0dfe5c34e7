"""The fault matrix as data: every cell is a plan, and its id says all of it but the seed."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import permutations, product

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from tests.command import BINARY
from tests.faults.cell import ALL_TREES, VITE

KILL, TERM, HUP, INT, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGSTOP
ASKING = (TERM, HUP, INT)

OURS = ("bootloader", "guard", "supervisor") if BINARY else ("guard", "supervisor")
GROUP = "group"
"""The app's process group, with all of ours in it, by one system call."""
SERVICE = "service"
"""The program of the tree."""

VICTIMS = (
    "app",
    *OURS,
    SERVICE,
    "guard+supervisor",
    "app+supervisor",
    "app+guard",
    "app+guard+supervisor",
    *(("bootloader+guard", "bootloader+supervisor", "app+bootloader", "+".join(OURS)) if BINARY else ()),
    GROUP,
)

UNBORN = ("before initialize", "choosing a port", "before exec", "sweeping")
"""Moments at which this run has no tree of the plan's kind yet."""
ASKED_TREES = ("plain", "deaf", "storm")
GROWN = ("starting", "restarting", "stopping")
READY = "ready"

ALL_LAYERS = "all layers"
NO_GROUP = "no control group"
SUPERVISOR_ALONE = "no guard"
"""There is no sidecar without a guard: here it is stopped, until the supervisor has done all of the work."""
GUARD_ALONE = "no supervisor"
"""It is stopped."""
LAYERS = (ALL_LAYERS, NO_GROUP, SUPERVISOR_ALONE, GUARD_ALONE)

SHUTDOWN = "shutdown"
"""Everything of the session is sent SIGTERM, one after another in the order that the id names."""
EVERY = "every"
"""Not one tree but one of each kind."""


@dataclass(frozen=True)
class Plan:
    """One cell."""

    victims: tuple[str, ...]
    signal: signal.Signals
    moment: str
    tree: str
    layers: str
    shutdown: bool = False
    """SIGTERM must be enough; if ``signal`` is SIGKILL, that follows in the same order, and waits for nothing."""

    @property
    def id(self) -> str:
        """Such as ``guard+supervisor SIGKILL/ready/storm/all layers``."""
        who = f"{SHUTDOWN} {'>'.join(self.victims)}" if self.shutdown else "+".join(self.victims)
        return f"{who} {self.signal.name}/{self.moment}/{self.tree}/{self.layers}"

    def in_order(self, seed: int) -> tuple[str, ...]:
        """The victims as they are hit, back to back."""
        if self.shutdown:
            return self.victims
        return tuple(random.Random(f"{seed} {self.id}").sample(self.victims, len(self.victims)))

    def goes_on(self, seed: int) -> str:
        """Which one of guard and supervisor goes on where both were stopped: it ends all, and wakes the other."""
        return random.Random(f"{seed} {self.id} goes on").choice(("guard", "supervisor"))

    def hits(self, victim: str) -> bool:
        """Whether it is among those."""
        return victim in self.victims or (self.victims == (GROUP,) and victim != SERVICE)


def strikes() -> Iterator[tuple[tuple[str, ...], signal.Signals]]:
    """Whom by what.

    A stopped process is not dead, so that by STOP alone nothing ends, also where it is the app: the app is then killed,
    and who goes on ends all, those that are stopped, too.
    """
    for who, number in product(VICTIMS, (KILL, *ASKING, STOP)):
        yield tuple(who.split("+")), number


def every_plan() -> list[Plan]:
    """The matrix.

    It is the whole product but for what would be the same cell again: where there is no tree yet its kind does not
    matter; on the way from one state to another every kind is killed, and three of them, and Vite, are asked and
    stopped; a layer that acts alone is shown by the app's death.
    """
    found: list[Plan] = []
    both = (ALL_LAYERS, NO_GROUP)
    for (victims, number), layers in product(strikes(), both):
        found += [Plan(victims, number, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        for moment in UNBORN:
            if SERVICE not in victims:
                found.append(Plan(victims, number, moment, "daemon", layers))
        if SERVICE not in victims and layers == ALL_LAYERS:
            found.append(Plan(victims, number, "sweeping", "scrubbed", layers))
        for moment, kind in product(GROWN, (*(ALL_TREES if number == KILL else ASKED_TREES), VITE)):
            if SERVICE not in victims or moment != "restarting":  # there is none for a moment
                found.append(Plan(victims, number, moment, kind, layers))
    for layers, number in product((SUPERVISOR_ALONE, GUARD_ALONE), (KILL, *ASKING)):
        found += [Plan(("app",), number, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        found += [Plan(("app",), number, moment, "daemon", layers) for moment in (*UNBORN, *GROWN)]
    for victims, kind in product((("guard",), ("app", "guard")), (*ALL_TREES, EVERY, VITE)):
        found.append(Plan(victims, KILL, READY, kind, GUARD_ALONE))  # the stopped supervisor is woken by the death
    for order in permutations(("app", *OURS, SERVICE)):
        for number, layers in product((TERM, KILL), both):
            found.append(Plan(order, number, READY, EVERY, layers, shutdown=True))
        found.append(Plan(order, TERM, READY, VITE, NO_GROUP, shutdown=True))
    return [it for it in found if not _is_out_of_reach(it)]


def _is_out_of_reach(plan: Plan) -> bool:
    """The named exception: a daemon that scrubbed its environment, once guard and supervisor are killed together."""
    both = plan.signal == KILL and plan.hits("guard") and plan.hits("supervisor")
    return both and plan.layers != ALL_LAYERS and plan.tree in {"scrubbed", EVERY}


def chosen(patterns: Sequence[str]) -> list[Plan]:
    """The cells whose id fits one of the patterns (``*`` stands for anything), or is one."""
    return [it for it in every_plan() if any(it.id == pattern or fnmatchcase(it.id, pattern) for pattern in patterns)]


def sample(seed: int, count: int) -> list[Plan]:
    """So many cells: each moment, each victim, each layer in turn, and of those any."""
    dice = random.Random(seed)
    plans = every_plan()
    dice.shuffle(plans)
    found: list[Plan] = []
    seen: dict[str, int] = {}
    while len(found) < count:
        # the one with the most features that were never seen, or else the least: each is met long before the end
        best = min(plans, key=lambda it: sorted(seen.get(word, 0) for word in _features(it)))
        plans.remove(best)
        found.append(best)
        for word in _features(best):
            seen[word] = seen.get(word, 0) + 1
    return found


def _features(plan: Plan) -> tuple[str, ...]:
    who = SHUTDOWN if plan.shutdown else "+".join(plan.victims)
    return (f"{who} {plan.signal.name}", plan.moment, plan.tree, plan.layers)
