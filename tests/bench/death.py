"""The app gets SIGKILL: the time until the tree's last process is dead, and the number of survivors."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import add
from pathlib import Path

import psutil

from tests.bench import contenders
from tests.bench.client import tail
from tests.bench.contenders import BUN, KILLPG, SIDECAR, Launch, Tools
from tests.bench.processes import ONLY_LINUX, BenchError, Pen, open_pidfd
from tests.bench.report import Goal, Report, Row, ratios
from tests.bench.rollcall import RollCall, peer_pid
from tests.bench.trees import STORM, WIDE

BENCH = "death"
"""All times are from the SIGKILL of the app."""
GROW_SECONDS = 30.0
"""Bound in seconds for a whole tree. The slowest contender needs two or three; a busy machine gets ten times that."""
SURVIVE_SECONDS = 2.0
"""A process that is alive this many seconds after the app's death is a survivor. The slowest killer needs a tenth."""
LIFE_SECONDS = 60
"""Life of each process of a tree and of the stand-in app, in seconds."""


@dataclass(frozen=True)
class Tree:
    """A kind of tree, which is killed once it has ``size`` processes."""

    kind: str
    size: int
    goals: tuple[Goal, ...] = ()
    words: tuple[str, ...] = ()
    """The arguments for trees.py, if not the kind."""


TREES = (
    Tree("plain", 3, (Goal(20.0),)),
    Tree("wide", WIDE + 1, (Goal(12.0, better=True),)),
    # The storm always replaces some of its processes, so it is seldom complete.
    Tree("storm", STORM * 95 // 100, (Goal(120.0, better=True),)),
)
GROWING = (10, 100, 1000)
"""Sizes for measuring the cost of a kill, which is linear. One process is the parent of all others."""
KILLERS = (SIDECAR, BUN, KILLPG)
"""The contenders that kill these trees."""


@dataclass
class Deaths:
    """The results of one contender with one tree, one value a round."""

    tree_ms: list[float] = field(default_factory=list)
    """Time from the app's SIGKILL to the last death in the tree, for rounds without survivors."""
    all_ms: list[float] = field(default_factory=list)
    """The same, including the contender's own processes."""
    survivors: list[float] = field(default_factory=list)
    own_survivors: list[float] = field(default_factory=list)


def _await(roll: RollCall, size: int, app: subprocess.Popen[bytes], errors: Path) -> None:
    """Wait until ``size`` processes of the tree are connected."""
    deadline = time.perf_counter() + GROW_SECONDS
    while roll.live < size:
        if app.poll() is not None:
            raise BenchError(f"the stand-in app ended early: {tail(errors)}")
        if time.perf_counter() > deadline:
            raise BenchError(f"only {roll.live} of {size} processes came within {GROW_SECONDS:g} s: {tail(errors)}")
        roll.turn(0.1)


def _grow(roll: RollCall, tree: Tree, app: subprocess.Popen[bytes], errors: Path) -> None:
    """Wait until the tree has its size; open pidfds of the app and the contender's own processes."""
    _await(roll, 1, app, errors)
    assert roll.first is not None
    root = peer_pid(roll.first)
    # The root waits for our word before it forks, so all other descendants of the app are the contender's own.
    own = [child.pid for child in psutil.Process(app.pid).children(recursive=True) if child.pid != root]
    for pidfd in map(open_pidfd, [app.pid, *own]):
        if pidfd is not None:
            roll.watch(pidfd)
    roll.first.send(b"g")
    _await(roll, tree.size, app, errors)


def _once(pen: Pen, name: str, how: Launch, tree: Tree, found: Deaths) -> None:
    """Grow the tree below a stand-in app, kill the app, and record the deaths."""
    errors = pen.folder / "standin.stderr"
    order = {"argv": list(how.argv), "cwd": str(how.cwd), "send": list(how.send), "seconds": LIFE_SECONDS}
    with RollCall() as roll, errors.open("wb") as sink:
        env = {"BENCH_SOCKET": roll.name, "BENCH_DEADLINE": str(time.monotonic() + LIFE_SECONDS), **how.env}
        app = pen.spawn(contenders.script("standin.py", json.dumps(order)), cwd=pen.folder, stderr=sink, env=env)
        try:
            _grow(roll, tree, app, errors)
            killed = time.perf_counter()
            app.kill()  # not reaped yet, so the pid is not reused
            if name == KILLPG:
                assert roll.first is not None
                _kill_group(peer_pid(roll.first))
            while (roll.live or roll.watched) and time.perf_counter() - killed < SURVIVE_SECONDS:
                roll.turn(killed + SURVIVE_SECONDS - time.perf_counter())
            found.survivors.append(roll.live)
            found.own_survivors.append(roll.watched)
            if not roll.live:
                found.tree_ms.append((roll.tree_death - killed) * 1e3)
                if not roll.watched:
                    found.all_ms.append((max(roll.tree_death, roll.watched_death) - killed) * 1e3)
        except BaseException:  # interrupted, or the tree did not grow: let the contender end its own processes
            app.kill()
            pen.let_go(app)
            raise
        pen.empty(app)


def _kill_group(leader: int) -> None:
    if sys.platform == "win32":
        raise BenchError(ONLY_LINUX)
    os.killpg(leader, signal.SIGKILL)  # its connection is open, so its pid is not reused


def _add(report: Report, tree: Tree, taken: dict[str, Deaths]) -> None:
    """Add the rows of one tree to the report."""
    for name, found in taken.items():
        note = f"alive after {SURVIVE_SECONDS:g} s"
        note += f", {max(found.own_survivors):g} of them its own" if any(found.own_survivors) else ""
        both = tuple(map(add, found.survivors, found.own_survivors))
        goals = (Goal(0),) if name == SIDECAR else ()
        report.rows.append(Row(BENCH, f"{tree.kind}: survivors", name, "", both, note, goals, worst=True))
    killers = {name: found for name, found in taken.items() if found.tree_ms}
    for name, found in killers.items():
        wanted = tree.goals if name == SIDECAR else ()
        what = f"{tree.kind}: last death in the tree"
        report.rows.append(Row(BENCH, what, name, "ms", tuple(found.tree_ms), "", wanted))
    for name, found in killers.items():
        what = f"{tree.kind}: last death, its own too"
        report.rows.append(Row(BENCH, what, name, "ms", tuple(found.all_ms)))
    medians = [statistics.median(killers[name].tree_ms) for name in (SIDECAR, BUN) if name in killers]
    ratio = tuple(ratios(medians[:1], medians[1:])) if len(medians) == 2 else ()
    note = "of the medians" if ratio else report.skipped.get(BUN, "one of the two left survivors in every round")
    report.rows.append(Row(BENCH, f"{tree.kind}: sidecar / {BUN}", SIDECAR, "×", ratio, note, (Goal(1, better=True),)))


def run(report: Report, pen: Pen, tools: Tools, rounds: int) -> None:
    """Measure ``rounds`` rounds of each tree, with each contender once a round, after one warm-up round."""
    for tree in TREES:
        _add(report, tree, _take(pen, tools, tree, rounds))
    grown = []
    for size in GROWING:
        tree = Tree(f"{size:,} processes", size, words=("wide", str(size - 1)))
        taken = _take(pen, tools, tree, rounds, KILLERS)
        _add(report, tree, taken)
        grown.append(statistics.median(taken[SIDECAR].tree_ms or [0.0]))
    _, fewer, more = grown
    growth = tuple(ratios([more], [fewer]))
    goal = Goal(GROWING[2] / GROWING[1], better=True)
    report.rows.append(Row(BENCH, f"{GROWING[2]:,} / {GROWING[1]} processes", SIDECAR, "×", growth, "", (goal,)))


def _take(pen: Pen, tools: Tools, tree: Tree, rounds: int, who: Iterable[str] | None = None) -> dict[str, Deaths]:
    """Measure all rounds of one tree; return the results by contender."""
    folder = pen.folder / tree.kind
    folder.mkdir(exist_ok=True)
    launches = contenders.wrap(tools, folder, contenders.script("trees.py", *(tree.words or (tree.kind,))))
    if who is not None:
        launches = {name: how for name, how in launches.items() if name in who}
    taken = {name: Deaths() for name in launches}
    for turn in range(rounds + 1):
        for name in contenders.in_turn(launches, turn):
            _once(pen, name, launches[name], tree, taken[name] if turn else Deaths())
    return taken
