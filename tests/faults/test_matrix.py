"""A sample of the fault matrix; all of it is ``python3 build/dev.py faults``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, leases and /proc", allow_module_level=True)

from tests.faults import experiment, matrix, plans
from tests.faults.experiment import NotHereError
from tests.faults.held import Held
from tests.faults.matrix import replay
from tests.faults.place import Place
from tests.faults.plans import ALL_LAYERS, Plan
from tests.support.command import BINARY
from tests.support.waiting import GATE, make_gate, open_gate

UNSIGNALLED = ((plans.STDIN,), (plans.TAURI_3,))
"""Victims without a signal of their own choice: ``STDIN`` gets none, ``TAURI_3`` only SIGKILL."""
SEED = 5
CELLS = 90 if BINARY else 66
"""Enough to hit every victim with every signal, and to visit each moment, tree and layer several times. It takes half a
minute on two cores. A frozen sidecar has more victims: its bootloader."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Place]]:
    folder = tmp_path_factory.mktemp("places")
    with Place(folder, contained=True) as one, Place(folder, contained=False) as other:
        yield {True: one, False: other}


@pytest.mark.parametrize("plan", plans.sample(SEED, CELLS), ids=lambda it: it.id)
def test_nothing_is_left_and_nobody_else_is_harmed(plan: Plan, places: dict[bool, Place], tmp_path: Path) -> None:
    place = places[plan.layers == ALL_LAYERS]
    try:
        experiment.run(plan, SEED, place, tmp_path)
    except NotHereError as reason:
        pytest.skip(str(reason))
    except BaseException as error:
        place.leave()
        error.add_note(replay(plan, SEED))
        raise


def test_the_sample_has_every_victim_every_moment_every_tree_and_every_layer() -> None:
    def features(found: list[Plan]) -> set[str]:
        return {word for it in found for word in plans._features(it)}

    assert features(plans.sample(SEED, CELLS)) == features(plans.every_plan())


def test_every_victim_is_hit_by_every_signal() -> None:
    struck = [it for it in plans.every_plan() if not it.shutdown and it.victims not in UNSIGNALLED]
    hit = {("+".join(it.victims), it.signal.name) for it in struck}
    signals = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGSTOP")
    assert hit == set(product(plans.VICTIMS, signals))


def test_every_cell_has_an_id_of_its_own_which_chooses_it_alone() -> None:
    found = plans.every_plan()
    assert len({it.id for it in found}) == len(found)
    assert plans.chosen([found[7].id]) == [found[7]]


def test_who_opens_a_held_file_waits_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    reader, writer = os.pipe()
    with Held(path) as held:
        child = os.fork()
        if child == 0:
            path.read_bytes()
            os.write(writer, b".")
            os._exit(0)
        held.await_opener()
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"."
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def run_numbered(number: int, folder: Path) -> int:
    """Play a batch. All batches except the first wait at the gate."""
    (folder / str(number)).touch()
    if number > 0:
        (folder / GATE).read_bytes()
    return number


def test_ctrl_c_begins_no_further_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool has already queued one or two more batches, which still run."""
    gate = make_gate(tmp_path)

    class Pool(ProcessPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            if gate.is_fifo():
                open_gate(gate)
            super().shutdown(wait, cancel_futures=cancel_futures)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix, "ProcessPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        matrix.run_side_by_side(partial(run_numbered, folder=tmp_path), range(20), 1, interrupt)
    assert {int(path.name) for path in tmp_path.iterdir() if path != gate} <= set(range(5))
