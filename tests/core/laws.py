"""Invariants of the core, checked on its inputs and outputs, which the world reports.

Each law is a promise to the client or to the system. Checking it after each step finds a fault at once, even if the
test itself does not look for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from math import isfinite

from msgspec import UnsetType

from sidecar.core.events import (
    AwaitReady,
    CheckHealth,
    Effect,
    FindListeners,
    Notify,
    Prepare,
    Refuse,
    Reply,
    Spawn,
    Terminate,
)
from sidecar.core.runs import PORT_TRIES
from sidecar.core.supervisor import Supervisor
from sidecar.errors import TimeoutWaitingForServerError
from sidecar.protocol.messages import (
    AnyNotification,
    Id,
    ServiceReady,
    ServiceRestarting,
    ServiceResult,
    ServiceState,
    ServiceStatus,
    StatusResult,
)
from sidecar.protocol.requests import AnyRequest, Restart, Shutdown, Start, Stop

CLOCK = 1e-6
"""Tolerance for rounding in sums of times."""

UNDER_WAY = {"starting", "unhealthy", "backingOff", "stopping"}
"""States in which a start request waits. In any other state it has been answered."""


class Laws:
    """The laws, and the history that they need."""

    def __init__(self, core: Supervisor, alive: Callable[[str], bool], killed: Callable[[str], bool]) -> None:
        """``alive``: whether the service has a process or will get one; ``killed``: whether all of them are killed."""
        self._core = core
        self._alive = alive
        self._killed = killed
        self._waiting: dict[Id, tuple[type[AnyRequest], str]] = {}
        self._kill_by: dict[str, float] = {}
        self._launches: Counter[str] = Counter()
        self._restarts: defaultdict[str, list[float]] = defaultdict(list)
        self._ready_at: dict[str, float] = {}
        self._states: defaultdict[str, str] = defaultdict(lambda: "stopped")

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def asked(self, call: Id | UnsetType, request: AnyRequest, now: float) -> None:
        """Record a request."""
        match request:
            case Start(service=name) | Restart(service=name) | Stop(service=name):
                if isinstance(call, int | str):
                    self._waiting[call] = (type(request), name)
                if not isinstance(request, Stop):
                    # perhaps, and of all that it needs: the law is weaker than the code then, and never wrong
                    self._restarts.clear()
            case Shutdown(grace_ms=int(grace_ms)):
                for name in self._core.services:
                    self._must_die_by(name, now + grace_ms / 1000)
            case _:
                pass

    def app_died(self, now: float) -> None:
        """Record the app's death: each service has its own grace."""
        for name, service in self._core.services.items():
            self._must_die_by(name, now + service.config.stop.app_death_grace_ms / 1000)

    def slept(self) -> None:
        """Record a suspend: earlier deadlines no longer hold."""
        self._kill_by.clear()
        self._ready_at.clear()

    def died(self, name: str, now: float) -> None:
        """A run is over."""
        ready_at = self._ready_at.pop(name, None)
        reset_after = self._core.services[name].config.restart.reset_after_ms / 1000
        if ready_at is not None and now - ready_at >= reset_after - CLOCK:
            self._restarts[name].clear()

    def _must_die_by(self, name: str, at: float) -> None:
        self._kill_by[name] = min(at, self._kill_by.get(name, at))

    # ── what is done ─────────────────────────────────────────────────────────────────────────────────────────────────

    def judge(self, effect: Effect, now: float) -> None:
        """Check one effect against the history."""
        match effect:
            case Reply(id=call, result=result):
                kind, name = self._waiting.pop(call, (None, ""))
                if kind is Stop:
                    assert not self._alive(name), "a stop is answered while something lives"
                elif kind is not None:
                    assert isinstance(result, ServiceResult)
                    assert result.status.state == "ready", "a start is answered by a service that is not ready"
                if isinstance(result, ServiceResult):
                    _judge_status(result.status)
                elif isinstance(result, StatusResult):
                    for status in result.services.values():
                        _judge_status(status)
            case Refuse(id=call):
                self._waiting.pop(call, None)
            case Prepare(service=name):
                self._launches[name] += 1
                assert self._launches[name] <= PORT_TRIES, "a new port is chosen for ever"
                for dependency in self._core.services[name].config.depends_on:
                    assert self._states[dependency] == "ready", "it is launched before what it depends on is ready"
            case Terminate(service=name, signal=signal):
                stop = self._core.services[name].config.stop
                assert stop.timeout_ms > 0, "asked to end with no time to do it"
                assert signal == stop.signal != "SIGKILL"
            case Spawn(service=name) | AwaitReady(service=name) | FindListeners(service=name):
                assert self._states[name] == "starting"
            case CheckHealth(service=name):
                assert self._states[name] in ("ready", "unhealthy"), "only what was ready is asked for its health"
            case Notify(message=message):
                self._judge_notification(message, now)
            case _:
                pass

    def _judge_notification(self, message: AnyNotification, now: float) -> None:
        match message:
            case ServiceState(service=name, state=state):
                before, self._states[name] = self._states[name], state
                if state != "starting":
                    self._launches[name] = 0
                if state == "stopping" and message.error is not None:
                    late = message.error.code == TimeoutWaitingForServerError.code
                    assert late is (before == "starting"), "only a start can take too long"
                if state in ("stopped", "failed"):
                    assert (message.host, message.port, message.pid) == (None, None, None), "it is nowhere any more"
                    assert (message.error is not None) is (state == "failed"), "a failure, and only that, has a reason"
            case ServiceReady(service=name):
                self._ready_at[name] = now
            case ServiceRestarting(service=name, cause="addressChanged"):
                assert message.delay_ms == 0, "it is no crash"
            case ServiceRestarting(service=name):
                restart = self._core.services[name].config.restart
                times = [at for at in self._restarts[name] if now - at < restart.window_ms / 1000 - CLOCK]
                self._restarts[name] = [*times, now]
                assert len(times) < restart.limit, "more restarts than the budget has"
            case _:
                pass

    # ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────────

    def after_step(self, now: float) -> None:
        """Check the state after a whole step."""
        due = self._core.next_deadline()
        assert due is None or isfinite(due)
        for call, (kind, name) in self._waiting.items():
            state = self._core.services[name].state
            assert state in ({"stopping"} if kind is Stop else UNDER_WAY), (
                f"{call} waits for nothing: {name} is {state}"
            )
        for name, at in self._kill_by.items():
            if self._alive(name) and not self._killed(name):
                assert now < at - CLOCK, f"{name} outlives its grace"
                assert due is not None, "no timer is set"
                assert due <= at + CLOCK, "no timer is set for the end of the grace"


def _judge_status(status: ServiceStatus) -> None:
    assert status.url is None or status.state == "ready", "a URL at which another program may answer"
