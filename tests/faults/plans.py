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

from tests.faults.cell import ALL_TREES, VITE
from tests.support.command import BINARY

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
    "keeper",
    "guard+keeper",
    "keeper+supervisor",
    *(("bootloader+guard", "bootloader+supervisor", "app+bootloader", "+".join(OURS)) if BINARY else ()),
    GROUP,
)

STDIN = "stdin"
"""The app closes it, and lives on."""
TAURI_3 = "tauri 3 list"
"""What ``tauri dev`` of Tauri 3 kills once a Rust file has changed: the app, and then whom it had listed below it."""
KEEPER_TREES = ("plain", "daemon", "storm")
"""Beside *every*, these show what a keeper does, or its lack: it acts on whatever is below the supervisor."""

UNBORN = ("before initialize", "choosing a port", "before exec", "sweeping")
"""Moments at which this run has no tree of the plan's kind yet."""
ORDERED = ("dependency starting", "task running")
"""Moments of two services with an order: the first has a tree, and the one that depends on it is waiting."""
ASKED_TREES = ("plain", "deaf", "storm")
GROWN = ("starting", "restarting", "stopping")
READY = "ready"

ALL_LAYERS = "all layers"
NO_GROUP = "no control group"
SUPERVISOR_ALONE = "no guard"
"""There is no sidecar without a guard: here it is stopped, until the supervisor has done all of the work."""
GUARD_ALONE = "no supervisor"
"""It is stopped."""
LOOP_WEDGED, ALL_WEDGED = "loop wedged", "interpreter lock held"
"""The supervisor does nothing any more: its main thread, or all of it. See ``tests.faults.wedge``."""
WEDGED = {LOOP_WEDGED: "loop", ALL_WEDGED: "interpreter"}
PURGED = "unpacked folder purged"
"""A frozen sidecar without a control group, after a cleaner of temporary files has removed what it runs from."""
LAYERS = (ALL_LAYERS, NO_GROUP, SUPERVISOR_ALONE, GUARD_ALONE, *WEDGED, PURGED)

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
        """Such as ``guard+supervisor SIGKILL/ready/storm/all layers``, or ``stdin closed/…``."""
        if self.victims == (STDIN,):
            return f"{STDIN} closed/{self.moment}/{self.tree}/{self.layers}"
        if self.victims == (TAURI_3,):
            return f"{TAURI_3}/{self.moment}/{self.tree}/{self.layers}"
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
        of_all = self.victims in {(GROUP,), (TAURI_3,)}
        return victim in self.victims or (of_all and victim not in {SERVICE, STDIN})


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
        if "keeper" in victims:
            found += [Plan(victims, number, READY, kind, layers) for kind in (*KEEPER_TREES, EVERY)]
            continue
        found += [Plan(victims, number, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        for moment in UNBORN:
            if SERVICE not in victims:
                found.append(Plan(victims, number, moment, "daemon", layers))
        if SERVICE not in victims:
            found += [Plan(victims, number, moment, "daemon", layers) for moment in ORDERED]
        if SERVICE not in victims and layers == ALL_LAYERS:
            found.append(Plan(victims, number, "sweeping", "scrubbed", layers))
        for moment, kind in product(GROWN, (*(ALL_TREES if number == KILL else ASKED_TREES), VITE)):
            if SERVICE not in victims or moment != "restarting":  # there is none for a moment
                found.append(Plan(victims, number, moment, kind, layers))
    for layers, number in product((SUPERVISOR_ALONE, GUARD_ALONE), (KILL, *ASKING)):
        found += [Plan(("app",), number, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        found += [Plan(("app",), number, moment, "daemon", layers) for moment in (*UNBORN, *ORDERED, *GROWN)]
    for victims, kind in product((("guard",), ("app", "guard")), (*ALL_TREES, EVERY, VITE)):
        found.append(Plan(victims, KILL, READY, kind, GUARD_ALONE))  # the stopped supervisor is woken by the death
    for layers, kind in product((*both, *WEDGED), (*ALL_TREES, EVERY, VITE)):
        found.append(Plan((STDIN,), KILL, READY, kind, layers))
    for victims, layers in product((("app",), ("guard",), ("supervisor",), ("app", "guard")), WEDGED):
        found += [Plan(victims, KILL, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
    for layers in both:
        found += [Plan((TAURI_3,), KILL, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        found += [Plan((TAURI_3,), KILL, moment, "daemon", layers) for moment in (*UNBORN, *ORDERED)]
        found += [Plan((TAURI_3,), KILL, moment, kind, layers) for moment, kind in product(GROWN, (*ALL_TREES, VITE))]
    if BINARY:
        purged = [victims for victims, number in strikes() if number == KILL and "keeper" not in victims]
        for victims, kind in product((*purged, ("guard", "keeper"), (STDIN,), (TAURI_3,)), (*ALL_TREES, EVERY, VITE)):
            found.append(Plan(victims, KILL, READY, kind, PURGED))
    for order in permutations(("app", *OURS, SERVICE)):
        for number, layers in product((TERM, KILL), both):
            found.append(Plan(order, number, READY, EVERY, layers, shutdown=True))
        found.append(Plan(order, TERM, READY, VITE, NO_GROUP, shutdown=True))
    return [it for it in found if not _is_out_of_reach(it)]


def _is_out_of_reach(plan: Plan) -> bool:
    """The named exception: a daemon that scrubbed its environment, once guard and supervisor are killed together."""
    if plan.victims == (TAURI_3,) and plan.moment == READY:
        return False  # it is below the app, and so in the list
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
