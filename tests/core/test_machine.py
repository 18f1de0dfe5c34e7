"""The core against a hostile world: hypothesis searches for an order of events that loses, doubles or wedges something.

The world checks the invariants after each step, and ``teardown`` checks what must hold at the end.
"""

from __future__ import annotations

import os
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from sidecar.config.services import TaskService
from sidecar.core.events import (
    AppGone,
    Event,
    Exited,
    Interrupted,
    Listening,
    Output,
    Prepared,
    PrepareFailed,
    Probed,
    Spawned,
    SpawnFailed,
    Tick,
    Verdict,
)
from sidecar.core.lifecycle import TABLE
from sidecar.errors import NodeNotFoundError, PortUnavailableError, ProcessSpawnFailedError
from sidecar.protocol.messages import OriginOwner
from sidecar.protocol.requests import AnyRequest, CheckOrigin, Initialize, Logs, Restart, Shutdown, Start, Status, Stop
from sidecar.protocol.rpc import Received
from tests.core.laws import UNDER_WAY
from tests.core.world import World

NAMES = ("a", "b", "c")
LINES = (
    "hello",
    "listening",
    "listening on 5173",
    "listening on 5174",
    "listening on 0",
    "Error: Port 5173 is already in use",
    "OSError: [Errno 98] Address already in use",
    "Error: Cannot find module 'x'",
)
CAPTURES = {"type": "log", "pattern": r"^listening(?: on (?<port>\d+))?$"}
"""A pattern with an optional port: the service may print where it listens, or not."""

EXAMPLES = int(os.environ.get("SIDECAR_EXAMPLES", "400"))
"""Number of event orders to try. Raise it for a longer search."""

STEPS_TO_THE_END = 500
"""Bound on steps until a shutdown ends: far more than any needs."""

TICKS_TO_A_CHECK = 5
"""Other services have deadlines too."""

_stop = st.fixed_dictionaries(
    {},
    optional={
        "signal": st.sampled_from(["SIGTERM", "SIGKILL"]),
        "timeoutMs": st.sampled_from([0, 1, 5_000]),
        "appDeathGraceMs": st.sampled_from([0, 700, 9_000]),
    },
)
_restart = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["always", "never", "onFailure"]),
        "limit": st.integers(0, 3),
        "backoff": st.fixed_dictionaries({"initialMs": st.sampled_from([0, 250])}),
        "resetAfterMs": st.sampled_from([1, 30_000]),
    },
)
_health = st.fixed_dictionaries(
    {},
    optional={
        "failures": st.integers(1, 2),
        "intervalMs": st.sampled_from([0, 5_000]),
        "restart": st.booleans(),
    },
)
_timeout = st.sampled_from([0, 1_000, 30_000])
_common = {"stop": _stop, "restart": _restart, "health": _health, "readyTimeoutMs": _timeout}
_task = {name: strategy for name, strategy in _common.items() if name != "health"}
_ready = st.sampled_from(
    [
        {"type": "http"},
        {"type": "tcp"},
        {"type": "log", "pattern": "listening"},
        {"type": "log", "pattern": "listening|hello"},
        CAPTURES,
        {"type": "delay", "ms": 1_000},
        {"type": "delay", "ms": 0},
    ]
)
_services = st.one_of(
    st.fixed_dictionaries({"type": st.just("vite")}, optional=_common),
    st.fixed_dictionaries({"type": st.just("command"), "command": st.just(["serve"])}, optional=_common),
    st.fixed_dictionaries({"type": st.just("task"), "command": st.just(["serve"])}, optional=_task),
    st.fixed_dictionaries(
        {"type": st.just("command"), "command": st.just(["serve"]), "ready": st.just(CAPTURES)}, optional=_common
    ),
    st.fixed_dictionaries(
        {"type": st.just("command"), "command": st.just(["serve"]), "port": st.just({}), "ready": _ready},
        optional=_common,
    ),
)
_names = st.sampled_from(NAMES)
_kept = st.dictionaries(_names, st.just("http://127.0.0.1:20000"))
_requests: st.SearchStrategy[AnyRequest] = st.one_of(
    st.builds(Start, _names),
    st.builds(Start, _names),
    st.builds(Stop, _names),
    st.builds(Restart, _names),
    st.builds(Restart, st.just("nobody")),
    st.builds(Status, st.none() | _names),
    st.builds(Logs, _names, st.integers(0, 10)),
    st.builds(CheckOrigin, st.sampled_from(["http://127.0.0.1:5173", "https://localhost", "http://elsewhere", "no"])),
    st.just(Initialize(protocol_version=1)),
)
_ends = st.sampled_from([(0, None), (1, None), (127, None), (None, "SIGSEGV"), (None, "SIGTERM")])


def _listens(service: dict[str, object]) -> bool:
    return service["type"] == "vite" or "port" in service


def _captures(service: dict[str, object]) -> bool:
    return service.get("ready") == CAPTURES


def _chosen(among: dict[str, object], pick: int) -> str:
    names = sorted(among)
    return names[pick % len(names)]


class Machine(RuleBasedStateMachine):
    """Requests and mishaps in any order."""

    seen: ClassVar[set[str]] = set()
    """States that some run has reached. They prove that the search explores enough."""

    @initialize(
        services=st.fixed_dictionaries(dict.fromkeys(NAMES, _services)),
        references=st.sets(st.tuples(_names, _names)),
        dependencies=st.sets(st.tuples(_names, _names)),
        chance=st.sampled_from([0.0, 0.5, 0.999]),
        kept=_kept,
        end=st.sampled_from([None, 0, 500, 20_000, "signal", "app"]),
    )
    def begin(
        self,
        services: dict[str, dict[str, object]],
        references: set[tuple[str, str]],
        dependencies: set[tuple[str, str]],
        chance: float,
        kept: dict[str, str],
        end: int | str | None,
    ) -> None:
        for name in NAMES:
            needed = [to for by, to in sorted(dependencies) if by == name > to]
            known = [to for to in NAMES if _listens(services[to]) or (to in needed and _captures(services[to]))]
            targets = [to for by, to in sorted(references) if by == name != to and to in known]
            services[name]["env"] = {to: f"{{services.{to}.origin}} {{token}}" for to in targets}
            services[name]["dependsOn"] = needed
        self.world = World(services, lambda: chance, origins=kept)
        self.end = end

    def port_of(self, name: str) -> int | None:
        """Return a port if the service wants one."""
        return 5_173 if self.world.core.services[name].config.port is not None else None

    def busy(self) -> list[str]:
        """Return the services that are starting, stopping or waiting."""
        return [name for name in NAMES if self.world.state(name) in UNDER_WAY]

    def up(self) -> list[str]:
        """Return the services with health checks."""
        return [name for name in NAMES if self.world.state(name) in ("ready", "unhealthy")]

    def over(self) -> bool:
        return self.world.exit_code is not None

    @rule(request=_requests)
    def a_request_with_an_id(self, request: AnyRequest) -> None:
        if not self.over():
            self.world.call(request)

    @rule(request=_requests)
    def a_request_without_an_id(self, request: AnyRequest) -> None:
        if not self.over():
            self.world.ask(request)

    @rule(name=_names, checked=st.booleans(), verdict=st.sampled_from(["ok", "down", "foreign", "unknown"]))
    def a_service_comes_up(self, name: str, checked: bool, verdict: Verdict) -> None:
        world = self.world
        if self.over() or world.state(name) not in ("stopped", "failed"):
            return
        world.start(name)
        for each in NAMES:  # in the order in which they depend on each other
            self.choose_all()
            if each not in world.preparing or self.over():
                continue  # it is not needed, or it waits for one that is, or a shutdown is under way
            world.prepared(each, self.port_of(each))
            if each in world.spawning:  # its neighbours may have another address since
                world.spawned(each)
            if world.state(each) == "starting" and each in world.processes:
                world.prints("listening on 5190", service=each)  # the line that a log probe may wait for
            if each in world.awaiting:
                world.probe(service=each)
            elif world.state(each) != "starting" or each not in world.processes:
                pass  # it is up, or being stopped
            elif isinstance(world.core.services[each].config, TaskService):
                world.dies(each, code=0)
            else:
                world.prints("listening", service=each)  # the line that a log probe waits for
        if checked:
            self.check(name, verdict)

    def choose_all(self) -> None:
        """Choose all ports that other services refer to."""
        for at, name in enumerate(sorted(self.world.choosing)):
            self.world.chosen(name, 5_180 + at)

    @rule(pick=st.integers(0, 2), port=st.integers(5_173, 5_175), denied=st.integers(0, 4))
    @precondition(lambda self: self.world.choosing)
    def a_port_is_chosen_ahead(self, pick: int, port: int, denied: int) -> None:
        if self.over():
            return
        name = _chosen({**self.world.choosing}, pick)
        if denied == 4:
            self.world.not_chosen(name, PortUnavailableError("no port"))
        else:
            self.world.chosen(name, port)

    def check(self, name: str, verdict: Verdict) -> None:
        """Run the service's next health check, with this result."""
        world = self.world
        for _ in range(TICKS_TO_A_CHECK):
            if name in world.checks or self.over() or world.core.next_deadline() is None:
                break
            world.tick()
        if name in world.checks:
            world.check(verdict, name)

    @rule(pick=st.integers(0, 2), verdicts=st.lists(st.sampled_from(["ok", "down", "down"]), min_size=1, max_size=3))
    @precondition(lambda self: self.up())
    def health_checks_find_something(self, pick: int, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if not self.over() and (names := self.up()):
                self.check(names[pick % len(names)], verdict)

    @rule(pick=st.integers(0, 2), kind=st.sampled_from([Start, Stop, Restart]))
    @precondition(lambda self: self.busy())
    def more_is_asked_of_a_service_that_is_busy(self, pick: int, kind: type[Start | Stop | Restart]) -> None:
        if not self.over():
            names = self.busy()
            self.world.call(kind(names[pick % len(names)]))

    @rule(grace_ms=st.sampled_from([None, 0, 500, 20_000]), rare=st.integers(0, 9))
    def a_shutdown(self, grace_ms: int | None, rare: int) -> None:
        if not self.over() and rare == 7:
            self.world.shutdown(grace_ms)

    @rule(
        pick=st.integers(0, 2),
        port=st.integers(5_173, 5_175),
        moved=st.booleans(),
        steps=st.sampled_from([(), (), ("tsc",), ("codegen", "tsc")]),
    )
    @precondition(lambda self: self.world.preparing)
    def a_preparation_is_done(self, pick: int, port: int | None, moved: bool, steps: tuple[str, ...]) -> None:
        if not self.over():
            name = _chosen({**self.world.preparing}, pick)
            port = port if self.port_of(name) else None
            self.world.prepared(name, port, steps, **({"wanted": 80} if moved and port else {}))

    @rule(pick=st.integers(0, 2), where=st.sampled_from([None, (), (("127.0.0.1", 5_173),), (("::1", 80),)]))
    @precondition(lambda self: self.world.finding)
    def its_sockets_are_found(self, pick: int, where: tuple[tuple[str, int], ...] | None) -> None:
        if not self.over():
            name = _chosen({**self.world.finding}, pick)
            self.world.finds(*(where or ()), service=name, blind=where is None)

    @rule(pick=st.integers(0, 2), port=st.booleans())
    @precondition(lambda self: self.world.preparing)
    def a_preparation_fails(self, pick: int, port: bool) -> None:
        if not self.over():
            error = PortUnavailableError("no port") if port else NodeNotFoundError("no node")
            self.world.prepare_fails(error, _chosen({**self.world.preparing}, pick))

    @rule(pick=st.integers(0, 2), rare=st.integers(0, 5))
    @precondition(lambda self: self.world.spawning)
    def a_program_starts_or_the_system_refuses(self, pick: int, rare: int) -> None:
        if self.over():
            return
        name = _chosen({**self.world.spawning}, pick)
        if rare != 5:
            self.world.spawned(name)
        else:
            self.world.spawn_fails(ProcessSpawnFailedError("no memory"), name)

    @rule(pick=st.integers(0, 2), end=_ends)
    @precondition(lambda self: self.world.processes)
    def a_program_ends(self, pick: int, end: tuple[int | None, str | None]) -> None:
        if not self.over():
            self.world.dies(_chosen({**self.world.processes}, pick), *end)

    @rule(name=_names, times=st.integers(1, 7))
    def its_port_is_stolen_again_and_again(self, name: str, times: int) -> None:
        world = self.world
        for _ in range(times):
            if self.over() or name not in world.preparing or world.state(name) != "starting" or not self.port_of(name):
                return
            world.runs(name)
            if world.state(name) == "starting":  # a delay of 0 is over already
                world.prints("Error: Port 5173 is already in use", service=name)
            world.dies(name, code=1)

    @rule(pick=st.integers(0, 2), lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=3))
    @precondition(lambda self: self.world.processes)
    def a_program_writes(self, pick: int, lines: list[str]) -> None:
        if not self.over():
            self.world.prints(*lines, service=_chosen({**self.world.processes}, pick))

    @rule(pick=st.integers(0, 2), ours=st.booleans())
    @precondition(lambda self: self.world.awaiting)
    def the_readiness_probe_finds_something(self, pick: int, ours: bool) -> None:
        if not self.over():
            self.world.probe("ok" if ours else "foreign", _chosen({**self.world.awaiting}, pick))

    @rule(pick=st.integers(0, 2), verdict=st.sampled_from(["ok", "down", "down", "foreign", "unknown"]))
    @precondition(lambda self: self.world.checks)
    def a_health_check_finds_something(self, pick: int, verdict: Verdict) -> None:
        if not self.over():
            self.world.check(verdict, _chosen({**self.world.checks}, pick))

    @rule(name=_names, kind=st.integers(0, 7), age=st.integers(1, 3))
    def an_event_of_an_earlier_run_comes_late(self, name: str, kind: int, age: int) -> None:
        if self.over():
            return
        run = self.world.core.services[name].run - age
        error = NodeNotFoundError("late")
        late = (
            Spawned(name, run, 1),
            SpawnFailed(name, run, error),
            PrepareFailed(name, run, error),
            Prepared(name, run, None, None),  # type: ignore[arg-type]
            Output(name, run, "stdout", ("listening",), 9),
            Probed(name, run, age % 2, "ok", ""),
            Exited(name, run, 0, None),
            Listening(name, run, ()),
        )[kind]
        before = self.world.state(name)
        assert not [effect for effect in self.world.step(late) if name in str(effect)]
        assert self.world.state(name) == before

    @rule(name=_names, verdict=st.sampled_from(["ok", "down"]), age=st.integers(1, 3))
    def an_earlier_health_check_answers_late(self, name: str, verdict: Verdict, age: int) -> None:
        service = self.world.core.services[name]
        if self.over() or service._condition.run.turn <= age:
            return
        before = service.state
        effects = self.world.step(Probed(name, service.run, service._condition.run.turn - age, verdict, "late"))
        assert not [effect for effect in effects if name in str(effect)]
        assert service.state == before

    @rule(owner=st.sampled_from(["service", "foreign", "nobody", "unknown"]))
    @precondition(lambda self: self.world.looking)
    def the_owner_of_an_origin_is_found(self, owner: OriginOwner) -> None:
        if not self.over():
            self.world.owner(owner, "a" if owner == "service" else None)

    @rule(seconds=st.sampled_from([0.001, 0.3, 6.0]))
    def time_passes(self, seconds: float) -> None:
        if not self.over():
            self.world.wait(seconds)

    @rule(late=st.sampled_from([0.0, 0.0, 0.4, 3.0, 40_000.0]))
    @precondition(lambda self: self.world.core.next_deadline() is not None)
    def the_next_deadline_comes(self, late: float) -> None:
        if not self.over():
            self.world.tick(late)

    @rule()
    def a_tick_comes_for_nothing(self) -> None:
        if not self.over():
            self.world.step(Tick())

    @rule(rare=st.integers(0, 19), number=st.sampled_from([1, 2, 15]))
    def a_signal_comes(self, rare: int, number: int) -> None:
        if not self.over() and rare == 7:
            self.world.interrupt(number)

    @rule(rare=st.integers(0, 19))
    def the_app_dies(self, rare: int) -> None:
        if not self.over() and rare == 7:
            self.world.app_dies()

    def teardown(self) -> None:
        """End in one way or another. The end must come exactly once, and every request must be answered."""
        if not hasattr(self, "world"):
            return
        world = self.world
        type(self).seen.update(state for name in NAMES for state in world.states(name))
        if world.exit_code is None:
            match self.end:
                case "signal":
                    world.interrupt()
                case "app":
                    world.app_dies()
                case int() | None:
                    world.shutdown(self.end)
                    if not self.over():
                        world.ask(Shutdown(self.end), "the end")
        for _ in range(STEPS_TO_THE_END):
            if world.exit_code is not None:
                break
            self._let_the_world_follow()
        assert world.exit_code is not None, "the shutdown does not end"
        assert world.killed_all or not world.unanswered
        after: tuple[Event, ...] = (Tick(), AppGone("late"), Interrupted(15), Received(1, Start("a")))
        assert [effect for event in after for effect in world.core.step(event, world.now)] == []

    def _let_the_world_follow(self) -> None:
        world = self.world
        killed = [name for name, process in world.processes.items() if "KILL" in process.signals]
        if world.choosing:
            self.choose_all()
        elif world.preparing:
            world.prepared(next(iter(world.preparing)))
        elif world.spawning:
            world.spawned(next(iter(world.spawning)))
        elif killed:
            world.dies(killed[0])
        elif world.finding:
            world.finds(service=next(iter(world.finding)))
        else:
            world.tick()  # the others ignore signals: only their timeouts end them


@pytest.mark.timeout(600)  # a failure takes its time to be shrunk to what can be read
def test_no_order_of_events_loses_doubles_or_wedges_anything() -> None:
    Machine.seen.clear()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Machine.seen == {state for state, _ in TABLE}, "the search has been everywhere"
