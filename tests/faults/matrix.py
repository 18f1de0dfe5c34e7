"""Run the whole fault matrix: ``python3 build/dev.py faults``.

Each cell is an app with a sidecar and hostile trees. One or more victims among them get a signal at a given moment. The
cell passes if no process and no file of it is left, and no other process was harmed. For a cell that fails, the command
that replays it is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

if sys.platform != "linux":
    sys.exit("The fault matrix needs pidfds, leases and /proc: it runs on Linux only.")

from tests.faults import experiment, plans
from tests.faults.experiment import NotHereError, Outcome
from tests.faults.place import GUESTS, Place
from tests.faults.plans import Plan

Result = tuple[Plan, Outcome | str | None]
"""A cell's result: its outcome, the traceback of a failure, or ``None`` if this machine cannot run it."""

Batch = TypeVar("Batch")
Done = TypeVar("Done")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cells and print the table; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="build/dev.py faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the order in which a cell's victims are hit")
    parser.add_argument("--cells", action="append", metavar="PATTERN", help="cell ids; * matches anything; repeatable")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="cells to run at once")
    parser.add_argument("--list", action="store_true", help="print the ids and exit")
    options = parser.parse_args(argv)
    found = plans.chosen(options.cells or ["*"])
    if options.list or not found:
        print("\n".join(it.id for it in found) or "no cell matches; --list prints all ids")
        return 0 if found else 2
    began = time.monotonic()
    # a worker keeps its places for a whole batch, so put cells with the same layers together
    found.sort(key=lambda it: it.layers)
    batches = [found[at : at + GUESTS] for at in range(0, len(found), GUESTS)]
    results: list[Result] = []
    end_on_signal()

    def tell(done: list[Result]) -> None:
        results.extend(done)
        for plan, outcome in done:
            if isinstance(outcome, str):
                print(f"\n{outcome}FAILED: {plan.id}\nreplay: {replay(plan, options.seed)}", flush=True)
        print(f"{len(results)} of {len(found)} cells, {time.monotonic() - began:.0f} s", flush=True)

    run_side_by_side(partial(run_batch, seed=options.seed), batches, options.jobs, tell)
    print(f"\n{table(results)}")
    failed = [plan for plan, outcome in results if isinstance(outcome, str)]
    skipped = sum(outcome is None for _, outcome in results)
    print(f"{len(results)} cells, {len(failed)} failed, {skipped} skipped, seed {options.seed}")
    for plan in failed:
        print(replay(plan, options.seed))
    return 1 if failed else 0


def run_side_by_side(
    run: Callable[[Batch], Done], batches: Sequence[Batch], jobs: int | None, tell: Callable[[Done], object]
) -> None:
    """Run the batches in a pool of ``jobs`` processes, and pass each result to ``tell``.

    After an exception, such as Ctrl-C, no further batch begins. Running batches finish and clean up.
    """
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_on_signal) as pool:
        pending = [pool.submit(run, batch) for batch in batches]
        try:
            for done in as_completed(pending):
                tell(done.result())
        except BaseException:
            for it in pending:
                it.cancel()  # not shutdown(cancel_futures=True): the pool's __exit__ would reset that
            raise


def end_on_signal() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit, so that everything is cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def replay(plan: Plan, seed: int) -> str:
    """Return the command that runs this cell alone."""
    return f"python3 build/dev.py faults --seed {seed} --cells '{plan.id}'"


def run_batch(batch: Sequence[Plan], seed: int) -> list[Result]:
    """Run cells one after another, in this batch's own places."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="sidecar-faults-") as name, ExitStack() as stack:
        folder = Path(name)
        places: dict[bool, Place] = {}
        for number, plan in enumerate(batch):
            contained = plan.layers == plans.ALL_LAYERS
            if contained not in places:
                places[contained] = stack.enter_context(Place(folder, contained=contained))
            own = folder / str(number)
            own.mkdir()
            results.append((plan, run_cell(plan, seed, places[contained], own)))
    return results


def run_cell(plan: Plan, seed: int, place: Place, folder: Path) -> Outcome | str | None:
    """Run one cell; return the traceback of a failure. After a failure, the next cell gets a new place."""
    try:
        return experiment.run(plan, seed, place, folder)
    except NotHereError:
        return None
    except Exception:  # noqa: BLE001  after any failure, run the remaining cells
        place.leave()
        return traceback.format_exc()


def table(results: Sequence[Result]) -> str:
    """Return a table, tree kinds by victims. An entry is failed/all cells and the longest time in milliseconds."""
    victims = list(dict.fromkeys(_victim(plan) for plan, _ in results))
    trees = list(dict.fromkeys(plan.tree for plan, _ in results))
    lines = [["tree", *victims]]
    for tree in trees:
        line = [tree]
        for victim in victims:
            mine = [outcome for plan, outcome in results if plan.tree == tree and _victim(plan) == victim and outcome]
            times = [it.ms for it in mine if isinstance(it, Outcome) and not it.later]
            bad = sum(isinstance(it, str) for it in mine)
            line.append(f"{bad}/{len(mine)} {max(times, default=0):.0f}" if mine else "")
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([word.ljust(width) for word, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _victim(plan: Plan) -> str:
    return plans.SHUTDOWN if plan.shutdown else "+".join(plan.victims)


if __name__ == "__main__":
    sys.exit(main())
