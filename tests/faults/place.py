"""The place of a fault-matrix cell: a state folder and a control group, shared with a neighbour sidecar."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

import msgspec

from sidecar.state import run_record
from tests.faults.cell import Cell
from tests.support.liveness import control_group
from tests.support.waiting import until

GUESTS = 20
"""Number of cells that share one neighbour."""
NEIGHBOUR_S = 30 * GUESTS
"""Longest life of a neighbour, even if the test dies: more than that many cells need on the busiest machine."""


class Place:
    """A neighbour, another sidecar of the same user, runs here all the time. No cell may touch its trees."""

    def __init__(self, parent: Path, *, contained: bool) -> None:
        """Use a folder below ``parent``. ``contained``: the sidecars here get control groups."""
        self.contained = contained
        self._parent = parent
        self._guests = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def leave(self) -> None:
        """End the neighbour. The next cell gets a new place and a new neighbour."""
        self._stack.close()
        self._stack = ExitStack()
        self._guests = 0

    def enter(self) -> None:
        """Admit one more cell, and make a new place after every ``GUESTS`` cells."""
        if self._guests == GUESTS:
            self.leave()
        if self._guests == 0:
            self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="place-", dir=self._parent)))
            self.group = self._stack.enter_context(control_group(divisible=self.contained))
            self.neighbour = self._stack.enter_context(
                Cell(self.folder, ("plain", "daemon"), group=self.group, life_s=NEIGHBOUR_S)
            )
            self.neighbour.grow()
            until(self._is_recorded, "the neighbour's record")  # after that it writes no more files
            self.traces = self.neighbour.traces()
        self._guests += 1

    def _is_recorded(self) -> bool:
        runs = (self.folder / "state" / "runs").glob("*.json")
        found = [msgspec.json.decode(it.read_bytes(), type=run_record.RunRecord) for it in runs]
        return any([it.state for it in run.services.values()] == ["ready", "ready"] for run in found)

    def prove_unharmed(self) -> None:
        """Assert that the neighbour and its trees run and answer, and that its record and group exist."""
        for kind in self.neighbour.services:
            self.neighbour.roll.prove_alive(kind)
            assert self.neighbour.client.status(kind)["state"] == "ready"
        assert self.neighbour.traces() == self.traces
        assert self.neighbour.client.notes("supervisor/swept") == []
