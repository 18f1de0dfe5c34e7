"""The fault matrix as data. Every cell is a plan, and its id names everything except the seed."""

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
"""The app's process group, which contains the sidecar's processes: one killpg(2) signals all."""
SERVICE = "service"
"""The root process of the service's tree."""

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
"""The app closes the sidecar's stdin, and lives on."""
TAURI_3 = "tauri 3 list"
"""What Tauri 3's ``tauri dev`` kills after a Rust file has changed: the app, then a list of its descendants."""
KEEPER_TREES = ("plain", "daemon", "storm")
"""The trees, besides *every*, tried with a dead keeper. A keeper kills all below the supervisor, whatever the kind."""

UNBORN = ("before initialize", "choosing a port", "before exec", "sweeping")
"""Moments at which this run has no tree of the plan's kind yet."""
ORDERED = ("dependency starting", "task running")
"""Moments at which one service has a tree, and a second service waits for the first."""
ASKED_TREES = ("plain", "deaf", "storm")
GROWN = ("starting", "restarting", "stopping")
READY = "ready"

ALL_LAYERS = "all layers"
NO_GROUP = "no control group"
SUPERVISOR_ALONE = "no guard"
"""The guard is stopped, so the supervisor must do all of the work. A sidecar always has a guard process."""
GUARD_ALONE = "no supervisor"
"""The supervisor is stopped."""
LOOP_WEDGED, ALL_WEDGED = "loop wedged", "interpreter lock held"
"""The supervisor's main thread hangs, or all its threads do. See ``tests.faults.wedge``."""
WEDGED = {LOOP_WEDGED: "loop", ALL_WEDGED: "interpreter"}
PURGED = "unpacked folder purged"
"""A frozen sidecar without a control group, after a temporary-file cleaner has deleted its unpacked folder."""
LAYERS = (ALL_LAYERS, NO_GROUP, SUPERVISOR_ALONE, GUARD_ALONE, *WEDGED, PURGED)

SHUTDOWN = "shutdown"
"""Each process of the session gets SIGTERM, in the order that the id names."""
EVERY = "every"
"""One tree of each kind at once."""


@dataclass(frozen=True)
class Plan:
    """One cell."""

    victims: tuple[str, ...]
    signal: signal.Signals
    moment: str
    tree: str
    layers: str
    shutdown: bool = False
    """SIGTERM to all victims. If ``signal`` is SIGKILL, it follows in the same order at once."""

    @property
    def id(self) -> str:
        """The id, such as ``guard+supervisor SIGKILL/ready/storm/all layers`` or ``stdin closed/…``."""
        if self.victims == (STDIN,):
            return f"{STDIN} closed/{self.moment}/{self.tree}/{self.layers}"
        if self.victims == (TAURI_3,):
            return f"{TAURI_3}/{self.moment}/{self.tree}/{self.layers}"
        who = f"{SHUTDOWN} {'>'.join(self.victims)}" if self.shutdown else "+".join(self.victims)
        return f"{who} {self.signal.name}/{self.moment}/{self.tree}/{self.layers}"

    def in_order(self, seed: int) -> tuple[str, ...]:
        """Return the victims in the order in which they are hit."""
        if self.shutdown:
            return self.victims
        return tuple(random.Random(f"{seed} {self.id}").sample(self.victims, len(self.victims)))

    def goes_on(self, seed: int) -> str:
        """Return which of guard and supervisor is woken if both were stopped. It must kill all, and wake the other."""
        return random.Random(f"{seed} {self.id} goes on").choice(("guard", "supervisor"))

    def hits(self, victim: str) -> bool:
        """Return whether the process is a victim."""
        of_all = self.victims in {(GROUP,), (TAURI_3,)}
        return victim in self.victims or (of_all and victim not in {SERVICE, STDIN})


def strikes() -> Iterator[tuple[tuple[str, ...], signal.Signals]]:
    """Yield each set of victims with each signal.

    SIGSTOP kills nothing. So after stopping the victims the test also kills the app, and those of our processes that
    still run must then end everything, including the stopped ones.
    """
    for who, number in product(VICTIMS, (KILL, *ASKING, STOP)):
        yield tuple(who.split("+")), number


def every_plan() -> list[Plan]:
    """Return the matrix: the product of all dimensions, less the cells that would repeat another one.

    - Before a tree exists, its kind does not matter.
    - While a service changes state, SIGKILL is tried with every kind; the other signals only with ``ASKED_TREES`` and
      Vite.
    - For a layer that acts alone, the app's death is enough.
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
            if SERVICE not in victims or moment != "restarting":  # no root exists between two runs
                found.append(Plan(victims, number, moment, kind, layers))
    for layers, number in product((SUPERVISOR_ALONE, GUARD_ALONE), (KILL, *ASKING)):
        found += [Plan(("app",), number, READY, kind, layers) for kind in (*ALL_TREES, EVERY, VITE)]
        found += [Plan(("app",), number, moment, "daemon", layers) for moment in (*UNBORN, *ORDERED, *GROWN)]
    for victims, kind in product((("guard",), ("app", "guard")), (*ALL_TREES, EVERY, VITE)):
        found.append(Plan(victims, KILL, READY, kind, GUARD_ALONE))  # the guard's death wakes the stopped supervisor
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
    """Return whether this is the documented exception.

    It is a daemon that scrubbed its environment, without a control group, when guard and supervisor die together.
    """
    if plan.victims == (TAURI_3,) and plan.moment == READY:
        return False  # the daemon is below the app, so Tauri kills it itself
    both = plan.signal == KILL and plan.hits("guard") and plan.hits("supervisor")
    return both and plan.layers != ALL_LAYERS and plan.tree in {"scrubbed", EVERY}


def chosen(patterns: Sequence[str]) -> list[Plan]:
    """Return the cells whose id equals or matches one of the patterns (``*`` matches anything)."""
    return [it for it in every_plan() if any(it.id == pattern or fnmatchcase(it.id, pattern) for pattern in patterns)]


def sample(seed: int, count: int) -> list[Plan]:
    """Return a random sample of the cells that covers each victim and signal, moment, tree and layer evenly."""
    dice = random.Random(seed)
    plans = every_plan()
    dice.shuffle(plans)
    found: list[Plan] = []
    seen: dict[str, int] = {}
    while len(found) < count:
        # pick the plan whose features have been seen least often
        best = min(plans, key=lambda it: sorted(seen.get(word, 0) for word in _features(it)))
        plans.remove(best)
        found.append(best)
        for word in _features(best):
            seen[word] = seen.get(word, 0) + 1
    return found


def _features(plan: Plan) -> tuple[str, ...]:
    who = SHUTDOWN if plan.shutdown else "+".join(plan.victims)
    return (f"{who} {plan.signal.name}", plan.moment, plan.tree, plan.layers)
