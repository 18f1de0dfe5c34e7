"""A sample of the fault matrix; all of it is ``python3 build/dev.py faults``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, leases and /proc", allow_module_level=True)

from tests.command import BINARY
from tests.faults import experiment, plans
from tests.faults.experiment import NotHereError
from tests.faults.held import Held
from tests.faults.matrix import replay
from tests.faults.place import Place
from tests.faults.plans import ALL_LAYERS, Plan

SEED = 5
CELLS = 75 if BINARY else 60
"""Half a minute on two cores: by then every victim has been hit by every signal, and the moments, trees and layers have
had their turn several times. The bootloader makes more victims."""


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
    hit = {("+".join(it.victims), it.signal.name) for it in plans.every_plan() if not it.shutdown}
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
