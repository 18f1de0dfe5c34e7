"""One service as the supervisor sees it. It takes requests and events, and gives them to its parts.

The parts share one ``Condition`` and do not know each other. ``Runs`` begins and ends the runs. ``Startup`` tells this
class when a run is ready, and ``HealthChecks`` tells it when a run has to end. This class then has ``Runs`` act.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, assert_never

from sidecar.config.groups import Matches
from sidecar.config.services import Service
from sidecar.core.condition import Condition
from sidecar.core.events import (
    Effect,
    Exited,
    Kill,
    Listening,
    Output,
    Prepared,
    PrepareFailed,
    Probed,
    Relay,
    Spawned,
    SpawnFailed,
)
from sidecar.core.health import HealthChecks
from sidecar.core.lifecycle import Trigger
from sidecar.core.log_buffer import LogBuffer
from sidecar.core.neighbours import Neighbours
from sidecar.core.pending import Caller, PendingRequests
from sidecar.core.restart import RestartBudget
from sidecar.core.runs import Runs
from sidecar.core.startup import Startup
from sidecar.errors import SidecarError, SupersededError
from sidecar.protocol.messages import ServiceStatus, State

RunEvent = Prepared | PrepareFailed | Spawned | SpawnFailed | Output | Probed | Listening | Exited
"""The events of one run of one service."""


class SupervisedService:
    """The state machine of one service. Each method takes the time and appends to the effects."""

    def __init__(
        self,
        name: str,
        config: Service,
        neighbours: Neighbours,
        random: Callable[[], float],
        matches: Matches,
        out: Callable[[Effect], None],
    ) -> None:
        """``random`` returns floats in [0, 1). ``out`` gets each effect, in order."""
        self.name = name
        self.config = config
        self._neighbours = neighbours
        self._out = out
        self._waiting = PendingRequests()
        self._condition = Condition(name, config, out)
        self._runs = Runs(self._condition, neighbours, self._waiting, RestartBudget(config.restart, random))
        self._startup = Startup(self._condition, neighbours, matches)
        self._health = HealthChecks(self._condition)

    # ── how it is ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> State:
        """Its state in the table of ``lifecycle``."""
        return self._condition.state

    @property
    def desired(self) -> Literal["running", "stopped"]:
        """What the client wants."""
        return self._condition.desired

    @property
    def error(self) -> SidecarError | None:
        """The reason why this run has to end, or why the service has failed."""
        return self._condition.error

    @property
    def run(self) -> int:
        """The number of the present run, or of the last one."""
        return self._condition.run.number

    @property
    def gone(self) -> bool:
        """Whether it has no process and no work under way."""
        return not self._condition.run.busy

    @property
    def has_process(self) -> bool:
        """Whether its program, or a process that the program left, may be alive."""
        return self._condition.run.pid is not None

    @property
    def host(self) -> str | None:
        """The configured host, as a browser spells it; ``None`` if the service has no port."""
        return None if self.config.port is None else self.config.port.host.lower()

    @property
    def log(self) -> LogBuffer:
        """Its last output."""
        return self._condition.log

    def status(self, now: float) -> ServiceStatus:
        """Return its present status."""
        return self._condition.status(now)

    # ── what the client asks ─────────────────────────────────────────────────────────────────────────────────────────

    def start(self, caller: Caller, now: float) -> None:
        """Start it, unless it is running. Answer the caller once it is ready or has failed."""
        if self.state == "ready":
            caller.reply(self._condition.result(now))
            return
        self._waiting.for_start(caller)
        if self.desired == "stopped":
            self._runs.want_afresh(now)

    def restart(self, caller: Caller, now: float) -> None:
        """Stop it, then start it."""
        self._neighbours.start_needed(self.name, now)
        if self.state in ("ready", "unhealthy") or (self.state == "starting" and not self.gone):
            self._runs.end(now, "requested")
        self._waiting.for_start(caller)
        self._runs.want_afresh(now)

    def stop(self, caller: Caller, now: float, *, grace_ms: int | None = None) -> None:
        """Stop it. Answer the caller once its whole tree is gone. ``grace_ms`` is an upper limit for its timeout."""
        condition = self._condition
        condition.desired = "stopped"
        self._waiting.for_stop(caller)
        self._waiting.not_started(SupersededError(f"{self.name} was stopped before it was ready.", service=self.name))
        match condition.state:
            case "starting" | "ready" | "unhealthy":
                self._runs.end(now, "requested", grace_ms=grace_ms)
            case "stopping":
                condition.error = None
                condition.run.cause = "requested"
                if grace_ms is not None:
                    condition.timers["kill"] = min(condition.timers.get("kill", now), now + grace_ms / 1000)
            case "backingOff" | "failed":
                self._runs.settle(Trigger.STOP, now)
            case "stopped":
                self._waiting.stopped(condition.result(now))
            case _ as never:
                assert_never(never)

    def kill(self) -> None:
        """End the tree now, without the rest of its grace."""
        self._condition.timers.pop("kill", None)
        if self.has_process:
            self._out(Kill(self.name))

    # ── what happens to its neighbours ───────────────────────────────────────────────────────────────────────────────

    def heed_addresses(self, now: float) -> None:
        """Restart it if addresses of its neighbours have changed since it got them."""
        self._runs.end_if_outdated(now)

    def go_on(self, now: float) -> None:
        """Launch the service if it is waiting for its launch and no neighbour holds it back."""
        self._runs.go_on(now)

    # ── what happens to it ───────────────────────────────────────────────────────────────────────────────────────────

    def on_event(self, event: RunEvent, now: float) -> None:
        """Take an event of the present run."""
        match event:
            case Prepared():
                self._runs.on_prepared(event, now)
            case PrepareFailed() | SpawnFailed():
                self._runs.on_prepare_failed(event, now)
            case Spawned():
                self._on_spawned(event, now)
            case Output():
                self._on_output(event, now)
            case Probed():
                self._on_probed(event, now)
            case Listening():
                self._on_listening(event, now)
            case Exited():
                self._runs.on_exited(event, now)
            case _ as never:
                assert_never(never)

    def _on_spawned(self, event: Spawned, now: float) -> None:
        """Wait for the readiness of the program that runs now, unless the service was stopped meanwhile."""
        self._condition.run.pid = event.pid
        self._condition.notify()
        if self.state != "starting":
            self.kill()  # it has done nothing yet, so it needs no graceful end
        elif self._startup.on_spawned(now):
            self._become_ready(now)

    def _on_output(self, event: Output, now: float) -> None:
        """Pass the output on, keep it, and look for the line that means ready."""
        event = self._neighbours.redacted(event)
        self._condition.run.printed += len(event.lines)
        self._out(Relay(self.log.append(event)))
        if self._startup.on_output(event, now):
            self._become_ready(now)

    def _on_probed(self, event: Probed, now: float) -> None:
        """Take a result of the readiness probe or of a health check."""
        if event.turn == 0:
            if self._startup.on_probed(event, now):
                self._become_ready(now)
            return
        error = self._health.on_probed(event, now)
        if error is not None:
            self._runs.end(now, "unhealthy", error)
        elif self.state == "ready":
            self._waiting.started(self._condition.result(now))  # the callers that came while it was unhealthy

    def _on_listening(self, event: Listening, now: float) -> None:
        """Report where the service listens. Or end its run, if its time to become ready is over."""
        error = self._startup.on_listening(event, now)
        if error is not None:
            self._condition.desired = "stopped"
            self._runs.end(now, "timeout", error)

    def _become_ready(self, now: float) -> None:
        self._runs.become_ready(now)
        self._health.schedule(now)

    # ── the time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_time(self, now: float) -> None:
        """Do what is due now."""
        condition = self._condition
        for timer in [timer for timer, due in condition.timers.items() if due <= now]:
            if condition.timers.pop(timer, None) is None:
                continue  # an earlier timer has cleared it
            match timer:
                case "ready" | "notice" | "banner" | "delay":
                    if self._startup.on_time(timer, now):
                        self._become_ready(now)
                case "kill":
                    self.kill()
                case "backoff":
                    self._runs.relaunch(now)
                case "health":
                    self._health.check()
                case _ as never:
                    assert_never(never)

    def next_deadline(self) -> float | None:
        """Return when its earliest timer is due; ``None`` if it has none."""
        return min(self._condition.timers.values(), default=None)

    def shift(self, gap: float, now: float) -> None:
        """Move all timers by ``gap`` seconds: the machine slept. A health check that was out then proves nothing."""
        self._condition.timers = {timer: due + gap for timer, due in self._condition.timers.items()}
        if self.state in ("ready", "unhealthy"):
            self._health.start_over(now)
