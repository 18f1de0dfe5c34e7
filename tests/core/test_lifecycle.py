"""The state table, pair by pair. Real events must reach each entry."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import get_args

import pytest

from sidecar.core import condition as condition_module
from sidecar.core.events import (
    Exited,
    Launch,
    Output,
    Prepared,
    PrepareFailed,
    Probed,
    Spawned,
    SpawnFailed,
    Tick,
    Verdict,
)
from sidecar.core.lifecycle import TABLE, Trigger, next_state
from sidecar.errors import InternalError, NodeNotFoundError
from sidecar.protocol.messages import State
from tests.core.world import COMMAND, VITE, World

STATES: tuple[State, ...] = get_args(State)
PAIRS = list(product(STATES, Trigger))


@pytest.mark.parametrize("pair", TABLE, ids=" by ".join)
def test_a_pair_of_the_table_leads_to_its_next_state(pair: tuple[State, Trigger]) -> None:
    assert next_state(*pair) == TABLE[pair]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair not in TABLE], ids=" by ".join)
def test_a_pair_that_is_not_in_the_table_is_a_fault_of_ours(pair: tuple[State, Trigger]) -> None:
    with pytest.raises(InternalError, match=f"No transition from {pair[0]} by {pair[1]}") as caught:
        next_state(*pair)
    assert caught.value.data == {"state": pair[0]}


def test_the_table_has_every_state_on_both_of_its_sides() -> None:
    assert {state for state, _ in TABLE} == set(TABLE.values()) == set(STATES)
    assert {trigger for _, trigger in TABLE} == set(Trigger)


def _web(**more: object) -> World:
    return World({"web": {**VITE, **more}})


def _ready(**more: object) -> World:
    world = _web(**more)
    world.up()
    return world


def _unhealthy(**more: object) -> World:
    world = _ready(**more)
    world.tick()
    world.check("down")
    return world


def _starting(**more: object) -> World:
    world = _web(**more)
    world.start()
    world.runs()
    return world


def _backing_off() -> World:
    world = _ready()
    world.dies()
    return world


def _stopping(**more: object) -> World:
    world = _ready(**more)
    world.stop()
    return world


def _failed() -> World:
    world = _web()
    world.start()
    world.prepare_fails(NodeNotFoundError("no node"))
    return world


def _sick(**more: object) -> World:
    world = _ready(health={"failures": 1, "restart": True}, **more)
    world.tick()
    world.check("down")
    return world


def _checked(world: World, verdict: Verdict) -> None:
    world.tick()
    world.check(verdict)


def _started_and_gone(world: World) -> None:
    world.start()
    world.dies()


def _stolen(world: World) -> None:
    world.prints("Error: Port 5173 is already in use")
    world.dies(code=1)


SCENES: dict[tuple[State, Trigger], tuple[Callable[[], World], Callable[[World], object]]] = {
    ("stopped", Trigger.START): (_web, World.start),
    ("starting", Trigger.READY): (_starting, World.probe),
    ("starting", Trigger.RELAUNCH): (_starting, _stolen),
    ("starting", Trigger.STOP): (_starting, World.stop),
    ("starting", Trigger.RETRY): (_starting, World.dies),
    ("starting", Trigger.FAIL): (_starting, lambda world: world.dies(code=1)),
    ("ready", Trigger.MISSED): (_ready, lambda world: _checked(world, "down")),
    ("ready", Trigger.STOP): (_ready, World.restart),
    ("ready", Trigger.RETRY): (_ready, World.dies),
    ("ready", Trigger.END): (_ready, lambda world: world.dies(code=0)),
    ("ready", Trigger.FAIL): (lambda: _ready(restart={"policy": "never"}), World.dies),
    ("unhealthy", Trigger.MISSED): (_unhealthy, lambda world: _checked(world, "foreign")),
    ("unhealthy", Trigger.HEALED): (_unhealthy, lambda world: _checked(world, "ok")),
    ("unhealthy", Trigger.STOP): (_unhealthy, World.stop),
    ("unhealthy", Trigger.RETRY): (_unhealthy, World.dies),
    ("unhealthy", Trigger.END): (_unhealthy, lambda world: world.dies(code=0)),
    ("unhealthy", Trigger.FAIL): (lambda: _unhealthy(restart={"policy": "never"}), World.dies),
    ("backingOff", Trigger.RELAUNCH): (_backing_off, World.tick),
    ("backingOff", Trigger.STOP): (_backing_off, World.stop),
    ("stopping", Trigger.END): (_stopping, World.dies),
    ("stopping", Trigger.RELAUNCH): (_stopping, _started_and_gone),
    ("stopping", Trigger.RETRY): (_sick, World.dies),
    ("stopping", Trigger.FAIL): (lambda: _sick(restart={"policy": "never"}), World.dies),
    ("failed", Trigger.START): (_failed, World.start),
    ("failed", Trigger.STOP): (_failed, World.stop),
}


@pytest.mark.parametrize("pair", TABLE, ids=" by ".join)
def test_every_entry_of_the_table_is_reached_by_what_really_happens(
    pair: tuple[State, Trigger], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange, act = SCENES[pair]
    world = arrange()
    assert world.state() == pair[0]
    seen: list[tuple[State, Trigger]] = []

    def spy(state: State, trigger: Trigger) -> State:
        seen.append((state, trigger))
        return next_state(state, trigger)

    monkeypatch.setattr(condition_module, "next_state", spy)
    act(world)
    assert pair in seen
    assert world.state() == TABLE[seen[-1]]


AT_ANY_TIME: dict[str, dict[State, State]] = {
    "start": {
        "stopped": "starting",
        "starting": "starting",
        "ready": "ready",
        "unhealthy": "unhealthy",
        "backingOff": "backingOff",
        "stopping": "stopping",
        "failed": "starting",
    },
    "stop": {
        "stopped": "stopped",
        "starting": "stopping",
        "ready": "stopping",
        "unhealthy": "stopping",
        "backingOff": "stopped",
        "stopping": "stopping",
        "failed": "stopped",
    },
    "restart": {
        "stopped": "starting",
        "starting": "stopping",
        "ready": "stopping",
        "unhealthy": "stopping",
        "backingOff": "starting",
        "stopping": "stopping",
        "failed": "starting",
    },
    "shutdown": {
        "stopped": "stopped",
        "starting": "stopping",
        "ready": "stopping",
        "unhealthy": "stopping",
        "backingOff": "stopped",
        "stopping": "stopping",
        "failed": "failed",
    },
}
"""Events that are possible in every state, with the state that each leads to."""

SITUATIONS: dict[State, Callable[[], World]] = {
    "stopped": _web,
    "starting": _starting,
    "ready": _ready,
    "unhealthy": _unhealthy,
    "backingOff": _backing_off,
    "stopping": _stopping,
    "failed": _failed,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("asked", AT_ANY_TIME)
def test_whatever_is_asked_in_whatever_state_leads_where_the_table_says(asked: str, state: State) -> None:
    world = SITUATIONS[state]()
    assert world.state() == state
    getattr(world, asked)()
    assert world.state() == AT_ANY_TIME[asked][state]


@pytest.mark.parametrize("state", STATES)
def test_the_past_and_the_clock_alone_move_nothing_in_any_state(state: State) -> None:
    world = SITUATIONS[state]()
    run = world.core.services["web"].run - 1
    for event in (
        Prepared("web", run, Launch(("serve",), "/"), None),
        PrepareFailed("web", run, NodeNotFoundError("late")),
        Spawned("web", run, 7),
        SpawnFailed("web", run, NodeNotFoundError("late")),
        Output("web", run, "stdout", ("late",), 4),
        Probed("web", run, 0, "ok", ""),
        Probed("web", run, 1, "down", ""),
        Exited("web", run, 0, None),
        Tick(),
    ):
        assert world.step(event) == []
        assert world.state() == state


def test_a_command_without_readiness_passes_through_starting_too() -> None:
    world = World({"web": COMMAND})
    world.up(port=None)
    assert world.states() == ["starting", "ready"]
