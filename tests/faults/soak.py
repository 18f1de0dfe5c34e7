"""Three apps at once, struck at random, again and again, beside one that lives through all of it.

After each cycle, and one more start, nothing of the three is left, and nothing has grown: not the one that lives on,
nor we, nor the folders and control groups that they share. What a cycle does is decided by the seed and its number;
what has grown, by all cycles since the first one that was run.
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
"""So many cycles before memory is measured: by then everything has been loaded, and every buffer has its size."""
MORE_KB = 8_192
"""An allocator keeps what it had; so much more than after the first cycles is none of that."""
SETTLE_S = WAIT_S
"""For what the one that lives on closes a moment later."""
CYCLE_S = 60
"""No cycle takes so long, on any machine: for how long the one that lives on may."""
PAUSE_S = 0.02
"""Two blows are so far apart at most: about as long as an end takes. Nothing is awaited: chance decides the moment."""

PHASES = ("launched", "greeted", "starting", "whole")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP)

RESIDENT = ("plain", "daemon")

LOGS_MOST = 40
"""A project's folder, with a file for each of its services: far fewer than cycles of a soak."""


class Soak:
    """The folder and the control groups, and the sidecar that lives through all cycles."""

    def __init__(self, folder: Path, seed: int, cycles: int) -> None:
        """Start it. It ends itself after a time that is enough for so many cycles."""
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
        """Raises ``AssertionError`` where something is left; what was done."""
        dice = random.Random(f"{self._seed} {number}")
        contained = dice.random() < 0.5
        told = ["contained" if contained else "not contained"]
        with ExitStack() as stack:
            cells = []
            for _ in range(APPS):
                phase = dice.choice(PHASES)
                # without a control group a scrubbed daemon may outlive guard and supervisor: guarantees.md says so
                kinds = dice.sample([it for it in ALL_TREES if contained or it != "scrubbed"], dice.randint(1, 3))
                told.append(f"{phase} {'+'.join(kinds)}")
                group = self._groups[not contained]
                cell = stack.enter_context(Cell(self._folder, kinds, group=group, greet=False))
                self._bring(cell, phase)
                cells.append(cell)
            told += self._strike(cells, dice)
            self._end(cells)
            with Cell(self._folder, ("plain",), group=self._groups[not contained]) as last:
                last.grow().order("exit")  # what starts a service has swept
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
            time.sleep(dice.choice((0, dice.uniform(0, PAUSE_S))))  # part of the dice: no event is awaited
        return [f"{victim} {number} {blow.name}" for number, victim, blow in blows]

    def _end(self, cells: list[Cell]) -> None:
        """Whatever was not enough: every app dies, and who was stopped goes on where nobody else is there to act."""
        for cell in cells:
            send(cell.pidfds["app"], signal.SIGKILL)
            actor = "guard" if lives(cell.pidfds["guard"]) else "supervisor"
            send(cell.pidfds[actor], signal.SIGCONT)
            if actor != "guard" and "keeper" in cell.pidfds:
                send(cell.pidfds["keeper"], signal.SIGCONT)  # stopped after the guard's death, it has nobody to wake it
            cell.await_ours_gone()

    def assert_nothing_grows(self) -> None:
        """After each cycle. Raises ``AssertionError`` where something is more than after the first ones."""
        self._cycles += 1
        resident = self._resident
        for kind in RESIDENT:
            resident.client.call("restart", service=kind)
            resident.roll.turn(0)  # hears of the old tree's death
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
    """Run the cycles; 1 when one left something."""
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
                since = options.first  # what has grown since then is no one cycle's
                soak.assert_nothing_grows()
            except BaseException:
                again = f"--seed {options.seed} --first {since} --cycles {number - since + 1}"
                print(f"cycle {number} failed; replay: python3 build/dev.py soak {again}", flush=True)
                raise
            print(f"{number}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{options.cycles} cycles, nothing is left and nothing grew; seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
