"""Kill three apps at random, cycle after cycle, beside a resident sidecar that lives through all cycles.

After each cycle, and one more start, nothing of the three apps may be left. Nothing may have grown either: not the
resident, not this process, not the folders and control groups that they share. The seed and a cycle's number decide
what the cycle does. Growth depends on all cycles since the first one of the run.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from tests.children.trees import SIZES
from tests.faults.cell import ALL_TREES, Cell
from tests.faults.matrix import end_on_signal
from tests.support.liveness import control_group, lives, send
from tests.support.waiting import WAIT_S, until

APPS = 3
WARM = 3
"""Cycles before memory is measured. By then all modules are loaded and all buffers have their final size."""
MORE_KB = 8_192
"""Memory growth that counts as a leak. Less can be memory that the allocator keeps."""
SETTLE_S = WAIT_S
"""Time for the resident to close descriptors of runs that have just ended."""
CYCLE_S = 60
"""More than any cycle takes on any machine. It bounds the resident's life."""
PAUSE_S = 0.02
"""Longest pause between two signals, about the time that a cleanup takes. A random pause hits it at random moments."""

PHASES = ("launched", "greeted", "starting", "whole")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP)

RESIDENT = ("plain", "daemon")

LOGS_MOST = 40
"""Most log files in the state folder: one for each service name, so the number does not grow with the cycles."""


class Soak:
    """The folder, the control groups, and the resident sidecar."""

    def __init__(self, folder: Path, seed: int, cycles: int) -> None:
        """Start the resident. It ends by itself after more time than this many cycles take."""
        self._folder = folder
        self._seed = seed
        self._cycles = 0
        with ExitStack() as stack:
            self._groups = [stack.enter_context(control_group(divisible=divisible)) for divisible in (True, False)]
            life_s = CYCLE_S * (cycles + 2)
            self._resident = stack.enter_context(Cell(folder, RESIDENT, group=self._groups[0], life_s=life_s))
            self._resident.grow()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cycle(self, number: int) -> str:
        """Run one cycle; return what it did. Raises ``AssertionError`` if something is left."""
        dice = random.Random(f"{self._seed} {number}")
        contained = dice.random() < 0.5
        told = ["contained" if contained else "not contained"]
        with ExitStack() as stack:
            cells = []
            for _ in range(APPS):
                phase = dice.choice(PHASES)
                # without a control group a scrubbed daemon may outlive guard and supervisor: see guarantees.md
                kinds = dice.sample([it for it in ALL_TREES if contained or it != "scrubbed"], dice.randint(1, 3))
                told.append(f"{phase} {'+'.join(kinds)}")
                group = self._groups[not contained]
                cell = stack.enter_context(Cell(self._folder, kinds, group=group, greet=False))
                self._bring(cell, phase)
                cells.append(cell)
            told += self._strike(cells, dice)
            self._end(cells)
            with Cell(self._folder, ("plain",), group=self._groups[not contained]) as last:
                last.grow().order("exit")  # a service starts only after the sweep
                last.assert_nothing_left_alive()
            for cell in cells:
                cell.assert_nothing_left_alive()
        return ", ".join(told)

    def _bring(self, cell: Cell, phase: str) -> None:
        if phase != "launched":
            cell.greet()
        if phase in {"starting", "whole"}:
            for name in cell.services:
                cell.client.send("start", service=name)
        if phase == "whole":
            cell.await_whole()

    def _strike(self, cells: list[Cell], dice: random.Random) -> list[str]:
        blows = [
            (number, victim, dice.choice(SIGNALS))
            for number, cell in enumerate(cells)
            for victim in dice.sample(list(cell.pidfds), dice.randint(1, len(cell.pidfds)))
        ]
        dice.shuffle(blows)
        for number, victim, blow in blows:
            cells[number].strike((victim, blow))
            time.sleep(dice.choice((0, dice.uniform(0, PAUSE_S))))  # random on purpose: see PAUSE_S
        return [f"{victim} {number} {blow.name}" for number, victim, blow in blows]

    def _end(self, cells: list[Cell]) -> None:
        """Kill each app, and wake one of its processes that were stopped, so that it can clean up."""
        for cell in cells:
            send(cell.pidfds["app"], signal.SIGKILL)
            actor = "guard" if lives(cell.pidfds["guard"]) else "supervisor"
            send(cell.pidfds[actor], signal.SIGCONT)
            if actor != "guard" and "keeper" in cell.pidfds:
                send(cell.pidfds["keeper"], signal.SIGCONT)  # if stopped after the guard's death, nothing else wakes it
            cell.await_ours_gone()

    def assert_nothing_grows(self) -> None:
        """Check growth; call this after each cycle. Raises ``AssertionError`` if there is more than after the first."""
        self._cycles += 1
        resident = self._resident
        for kind in RESIDENT:
            resident.client.call("restart", service=kind)
            resident.roll.turn(0)  # notices the old tree's death
            resident.roll.await_living(kind, SIZES[kind])
            resident.roll.prove_alive(kind)
        resident.client.said.clear()
        pids = [os.getpid(), *(resident.pids[it] for it in ("guard", "supervisor", "keeper"))]
        traces = [Path(it).suffix for it in resident.traces() if "/" in it]
        state = sorted(it.name for it in (self._folder / "state").iterdir())
        assert sorted(traces) == [""] * ("bootloader" in resident.pids) + [".json"], traces
        assert set(state) <= {"logs", "runs", "ports.json"}, state
        logs = [it for it in (self._folder / "state" / "logs").rglob("*") if it.is_file()]
        assert len(logs) <= LOGS_MOST, logs
        if self._cycles == 1:
            self._before = [_descriptors(pid) for pid in pids]
        before = self._before
        until(
            lambda: all(_descriptors(pid) <= then for pid, then in zip(pids, before, strict=True)),
            "as few descriptors as before",
            SETTLE_S,
        )
        kb = [_resident_kb(pid) for pid in pids]
        if self._cycles <= WARM:
            self._kb = kb
        assert all(now <= then + MORE_KB for now, then in zip(kb, self._kb, strict=True)), (self._kb, kb)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cycles. If one fails, print the command that replays it, and raise."""
    parser = argparse.ArgumentParser(prog="build/dev.py soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first cycle")
    options = parser.parse_args(argv)
    began = time.monotonic()
    end_on_signal()
    with (
        tempfile.TemporaryDirectory(prefix="sidecar-soak-") as folder,
        Soak(Path(folder), options.seed, options.cycles) as soak,
    ):
        for number in range(options.first, options.first + options.cycles):
            since = number
            try:
                told = soak.cycle(number)
                since = options.first  # growth may come from any cycle since then
                soak.assert_nothing_grows()
            except BaseException:
                again = f"--seed {options.seed} --first {since} --cycles {number - since + 1}"
                print(f"cycle {number} failed; replay: python3 build/dev.py soak {again}", flush=True)
                raise
            print(f"{number}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{options.cycles} cycles; nothing is left, nothing grew; seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
