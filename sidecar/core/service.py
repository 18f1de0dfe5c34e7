"""One service: its state, its timers, and how it answers each thing that happens to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, assert_never

from msgspec.structs import replace

from sidecar.config import (
    DelayReady,
    HttpReady,
    LogReady,
    ServerReady,
    Service,
    TcpReady,
    ViteService,
    ready_probe,
    url_of,
)
from sidecar.core import judgement
from sidecar.core.judgement import LINES_JUDGED
from sidecar.core.lifecycle import Trigger, next_state
from sidecar.core.logbuffer import LogBuffer
from sidecar.core.readiness import how_it_ended, port_is_taken, told_address
from sidecar.core.restart import RestartBudget
from sidecar.core.waiting import Waiting
from sidecar.errors import PortUnavailableError, SidecarError, SupersededError
from sidecar.events import (
    Address,
    AwaitReady,
    CheckHealth,
    Effect,
    Endpoint,
    Exited,
    FindListeners,
    Kill,
    Launch,
    Listening,
    Notify,
    Output,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    Relay,
    Release,
    RememberPort,
    Reply,
    Spawn,
    Spawned,
    SpawnFailed,
    Terminate,
)
from sidecar.wire.messages import (
    Id,
    PortChanged,
    ServiceExited,
    ServiceReady,
    ServiceRestarting,
    ServiceResult,
    ServiceState,
    ServiceStatus,
    ServiceWaiting,
    State,
    SupervisorFault,
)
from sidecar.wire.session import failure

PORT_TRIES = 5
"""So often a port that was taken between our choice and the program's bind is chosen anew."""

NOTICES_S = (2.0, 10.0, 30.0)
"""So long after its launch a service that is not ready yet is told of, with what was found so far."""

BANNER_S = 1.0
"""So long is the base of a server waited for that answers: it prints it, or (but for TLS) its page says so."""

Matches = Callable[[str, tuple[str, ...]], bool]
"""(pattern, lines) → whether one of the lines matches. Raises ``TimeoutError`` if that takes too long to find out."""

Timer = Literal["ready", "notice", "banner", "delay", "kill", "backoff", "health"]
"""But for ``ready``, ``notice`` and ``banner`` each state needs at most one."""


class SupervisedService:
    """The state machine of one service. Each method takes the time and appends to the effects."""

    def __init__(
        self, name: str, config: Service, random: Callable[[], float], matches: Matches, out: Callable[[Effect], None]
    ) -> None:
        """``random`` gives floats in [0, 1); ``out`` takes each effect, in order."""
        self._matches = matches
        self.name = name
        self.config = config
        self._out = out
        self.state: State = "stopped"
        self.desired: Literal["running", "stopped"] = "stopped"
        self.run = 0
        self._pid: int | None = None
        self._endpoint: Endpoint | None = None
        self._probe = ready_probe(config)
        self._programs: list[Launch] = []
        """What of this run is still to be started: after a step there is more."""
        self._step = ""
        """The step that runs."""
        self._launched_at = 0.0
        self._confirming = False
        """It says that it is ready, and is being looked for on its port."""
        self._pattern_given_up = False
        """The pattern of this run's ``ready`` took too long."""
        self._timing_out = False
        """The time to become ready is over; where the service listens is being found out, to be told."""
        self._address: Address | None = None
        """Where it answered in this run."""
        self._banner: Address | None = None
        """The address that a dev server has printed in this run."""
        self._busy = False
        """A prepare, a spawn or a process of this run is out: its end will come as an event."""
        self._error: SidecarError | None = None
        """Why this run has to end, or why the service failed."""
        self._waiting = Waiting(out)
        self._timers: dict[Timer, float] = {}
        self._budget = RestartBudget(config.restart, random)
        self._log = LogBuffer()
        self._printed = 0
        """Lines of this run: what an earlier one printed says nothing about it."""
        self._since = 0.0
        """When the client asked, or the last run was lost: readiness is counted from here."""
        self._ready_at: float | None = None
        self._restarts = 0
        self._misses = 0
        self._turn = 0
        self._port_tries = 0
        self._seen: Probed | None = None
        """What the readiness probe of this run saw last."""
        self._detail: str | None = None
        """What the health check that made it unhealthy saw."""

    # ── what the client asks ─────────────────────────────────────────────────────────────────────────────────────────

    def start(self, call: Id | None, now: float, *, answer: bool) -> None:
        """Want it running; ``call`` is answered once it is ready or has failed (if ``answer``)."""
        if self.state == "ready":
            if answer:
                self._out(Reply(call, self._result(now)))
            return
        if answer:
            self._waiting.for_start(call)
        if self.desired == "stopped":
            self._want_afresh(now)

    def restart(self, call: Id | None, now: float, *, answer: bool) -> None:
        """Stop and start."""
        if self.state in ("starting", "ready", "unhealthy"):
            self._end_run(now, None)
        if answer:
            self._waiting.for_start(call)
        self._want_afresh(now)

    def stop(self, call: Id | None, now: float, *, answer: bool, grace_ms: int | None = None) -> None:
        """Want it stopped; ``call`` is answered once its whole tree is gone. ``grace_ms`` caps its own timeout."""
        self.desired = "stopped"
        if answer:
            self._waiting.for_stop(call)
        self._waiting.not_started(SupersededError(f"{self.name} was stopped before it was ready.", service=self.name))
        match self.state:
            case "starting" | "ready" | "unhealthy":
                self._end_run(now, None, grace_ms)
            case "stopping":
                self._error = None
                if grace_ms is not None:
                    self._timers["kill"] = min(self._timers.get("kill", now), now + grace_ms / 1000)
            case "backingOff" | "failed":
                self._error = None
                self._settle(Trigger.STOP, now)
            case "stopped":
                self._waiting.stopped(self._result(now))
            case _ as never:
                assert_never(never)

    def kill(self) -> None:
        """End the tree now; what is left of the grace is not waited for."""
        self._timers.pop("kill", None)
        if self._pid is not None:
            self._out(Kill(self.name))

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left or on its way."""
        return not self._busy

    @property
    def has_process(self) -> bool:
        """Whether a program runs (or what it left behind)."""
        return self._pid is not None

    def status(self, now: float) -> ServiceStatus:
        """As it is now."""
        endpoint = self._endpoint
        return ServiceStatus(
            state=self.state,
            type=str(self.config.__struct_config__.tag),
            url=self._url(),
            host=endpoint.host if endpoint else None,
            port=endpoint.port if endpoint else None,
            pid=self._pid,
            uptime_ms=None if self._ready_at is None else round((now - self._ready_at) * 1000),
            restarts=self._restarts,
            error=failure(self._error) if self._error else None,
            detail=self._detail,
        )

    @property
    def log(self) -> LogBuffer:
        """Its last output."""
        return self._log

    # ── what happens to it ───────────────────────────────────────────────────────────────────────────────────────────

    def on_prepared(self, event: Prepared, now: float) -> None:
        """Start the program, unless it was stopped meanwhile."""
        if self.state != "starting":
            self._run_ended(now)
            return
        endpoint = event.endpoint
        self._endpoint = endpoint
        self._notify_state()
        if endpoint is not None and endpoint.wanted is not None:
            change = PortChanged(self.name, origin=endpoint.wanted, to=endpoint.port, holder=endpoint.holder)
            self._out(Notify(change))
        # the steps of a run that only lost its port have done their work
        self._programs = [event.launch] if self._port_tries else [*event.launch.before, event.launch]
        self._spawn_next()

    def on_prepare_failed(self, event: PrepareFailed | SpawnFailed, now: float) -> None:
        """Nothing runs, and trying again would find the same."""
        if self.state == "starting":
            self._error = event.error
            self.desired = "stopped"
        self._run_ended(now)

    def on_spawned(self, event: Spawned, now: float) -> None:
        """It runs: look for its readiness, unless it was stopped meanwhile."""
        self._pid = event.pid
        self._notify_state()
        if self.state != "starting":
            self.kill()  # it has done nothing yet that would need a graceful end
            return
        if self.config.ready_timeout_ms:
            self._timers["ready"] = now + self.config.ready_timeout_ms / 1000
        self._launched_at = now
        self._arm_notice(now)
        if self._programs:
            return  # a step: what comes after it is to be ready
        match self._probe:
            case None:
                self._become_ready(now)
            case DelayReady(ms=ms):
                self._timers = {"delay": now + ms / 1000}  # till then it cannot be late
            case LogReady():
                pass  # its lines are looked at as they come
            case probe:
                if self._endpoint is not None:
                    self._out(AwaitReady(self.name, self.run, self._endpoint, probe))

    def on_output(self, event: Output, now: float) -> None:
        """Pass it on, keep it, and look for the line that means ready."""
        self._log.append(event)
        self._printed += len(event.lines)
        self._out(Relay(event))
        if self.state != "starting" or self._programs:
            return
        if isinstance(self._probe, LogReady):
            if self._matches_pattern(self._probe.pattern, event.lines or (event.partial,)):
                self._said_ready(now)
        elif isinstance(self._probe, ServerReady) and self._endpoint is not None:
            self._banner = told_address(event.lines, self._endpoint) or self._banner
            if self._banner is not None and "banner" in self._timers:
                self._become_ready(now)

    def on_probed(self, event: Probed, now: float) -> None:
        """Ready for the first time, or a health check's result."""
        if event.turn == 0:
            self._on_ready_probed(event, now)
            return
        if event.turn != self._turn or self.state not in ("ready", "unhealthy"):
            return
        self._timers["health"] = now + self.config.health.interval_ms / 1000
        match event.verdict:
            case "ok":
                self._misses = 0
                self._detail = None
                if self.state == "unhealthy":
                    self._move(Trigger.HEALED)
                    self._waiting.started(self._result(now))
            case "down" | "foreign":
                self._misses += 1
                self._detail = event.detail
                changed = self.state == "ready"
                self._move(Trigger.MISSED, notify=changed)
                if self.config.health.restart and self._misses >= self.config.health.failures:
                    what = f"it failed {self._misses} health checks in a row ({event.detail})"
                    self._end_run(now, judgement.failed(self.name, what, self._last_lines()))
            case "unknown":
                pass  # the fault was on our side of the wire: it says nothing about the service
            case _ as never:
                assert_never(never)

    def _on_ready_probed(self, event: Probed, now: float) -> None:
        self._seen = event
        if self.state != "starting" or event.verdict != "ok":
            return
        self._address = event.address
        if event.address.base is None and self._banner is None:
            self._timers["banner"] = now + BANNER_S
        else:
            self._become_ready(now)

    def on_listening(self, event: Listening, now: float) -> None:
        """Tell of what was found, or that the time is over."""
        if self.state != "starting":
            return
        if self._step:
            seen = f"its step ({self._step}) has not ended yet"
        else:
            seen = judgement.seen(self._probe, self._endpoint, self._seen, event.places)
        if self._timing_out:
            self.desired = "stopped"
            error = judgement.timed_out(self.name, self.config.ready_timeout_ms, self._url(), seen, self._last_lines())
            self._end_run(now, error)
            return
        elapsed = round((now - self._launched_at) * 1000)
        self._out(Notify(ServiceWaiting(self.name, elapsed, seen)))

    def on_exited(self, event: Exited, now: float) -> None:
        """The run is over, whole; or one of its steps."""
        if self.state == "starting" and self._programs and event.code == 0 and not event.left:
            self._pid = None
            self._timers.clear()
            self._spawn_next()
            return
        how = how_it_ended(event.code, event.signal)
        asked = self._error.message if self._error else "stopped"
        reason = asked if self.state == "stopping" else how
        self._out(Notify(ServiceExited(self.name, reason, event.code, event.signal)))
        if self.state != "stopping":
            self._judge(event, how)
        port_lost = isinstance(self._error, PortUnavailableError)
        self._run_ended(now, clean=event.code == 0, port_lost=port_lost, left=event.left)

    def on_time(self, now: float) -> None:
        """Do what is due."""
        for timer in [timer for timer, due in self._timers.items() if due <= now]:
            if self._timers.pop(timer, None) is None:
                continue  # an earlier one has cleared it
            match timer:
                case "ready" if self._address is not None:
                    self._become_ready(now)  # it answers, only its base is not known yet
                case "ready":
                    self._timing_out = True
                    self._timers.clear()
                    self._out(FindListeners(self.name, self.run))
                case "notice":
                    self._arm_notice(now)
                    self._out(FindListeners(self.name, self.run))
                case "banner":
                    self._become_ready(now)
                case "delay":
                    self._said_ready(now)
                case "kill":
                    self.kill()
                case "backoff":
                    self._launch(Trigger.RELAUNCH)
                case "health":
                    self._check_health()
                case _ as never:
                    assert_never(never)

    def next_deadline(self) -> float | None:
        """The earliest of its timers."""
        return min(self._timers.values(), default=None)

    def shift(self, gap: float, now: float) -> None:
        """The machine slept for ``gap`` seconds: no timer ran, and a check that was out then proves nothing."""
        self._timers = {timer: due + gap for timer, due in self._timers.items()}
        if self.state in ("ready", "unhealthy"):
            self._misses = 0
            self._turn += 1
            self._arm_health(now)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _want_afresh(self, now: float) -> None:
        """The client wants a new run: at once, or as soon as the present one is gone, whatever that one ended of."""
        self.desired = "running"
        self._budget.reset()
        self._restarts = 0
        self._since = now
        self._error = None
        match self.state:
            case "stopped" | "failed":
                self._launch(Trigger.START)
            case "backingOff":
                self._launch(Trigger.RELAUNCH)
            case _:
                pass  # stopping: _run_ended goes on from here

    def _launch(self, trigger: Trigger) -> None:
        self.run += 1
        self._busy = True
        self._error = None
        self._seen = None
        self._detail = None
        self._address = None
        self._banner = None
        self._timing_out = False
        self._pattern_given_up = False
        self._confirming = False
        self._misses = 0
        self._printed = 0
        self._timers.clear()
        if trigger is not Trigger.RELAUNCH or self.state != "starting":
            self._port_tries = 0
        self._move(trigger)
        keep = self._endpoint.port if self._endpoint else None
        self._out(Prepare(self.name, self.run, self.config, keep))

    def _matches_pattern(self, pattern: str, lines: tuple[str, ...]) -> bool:
        """Whether the program has said that it is ready. A pattern that is too slow is given up for this run."""
        if self._pattern_given_up:
            return False
        try:
            return self._matches(pattern, lines)
        except TimeoutError:
            self._pattern_given_up = True
            self._out(Notify(SupervisorFault(failure(judgement.pattern_too_slow(self.name, pattern)))))
            return False

    def _spawn_next(self) -> None:
        program = self._programs.pop(0)
        self._step = program.argv[-1] if self._programs else ""
        self._out(Spawn(self.name, self.run, program))

    def _arm_notice(self, now: float) -> None:
        later = (self._launched_at + after for after in NOTICES_S)
        due = next((at for at in later if at > now), None)
        if due is not None:
            self._timers["notice"] = due

    def _said_ready(self, now: float) -> None:
        """Its output, or the time, says that it is ready. With a port it has to listen there, too.

        It may have found the port taken and moved on: then another program's address would be told as its own.
        """
        if self._endpoint is None:
            self._become_ready(now)
        elif not self._confirming:
            self._confirming = True
            if self.config.ready_timeout_ms:
                self._timers.setdefault("ready", now + self.config.ready_timeout_ms / 1000)
            self._arm_notice(now)
            self._out(AwaitReady(self.name, self.run, self._endpoint, TcpReady()))

    def _become_ready(self, now: float) -> None:
        self._timers.clear()
        if self._endpoint is not None and self._address is not None and self._address.host is not None:
            self._endpoint = replace(self._endpoint, host=self._address.host)
        self._ready_at = now
        self._move(Trigger.READY)
        self._arm_health(now)
        endpoint, pid = self._endpoint, self._pid or 0
        elapsed = round((now - self._since) * 1000)
        self._out(
            Notify(
                ServiceReady(
                    self.name,
                    self._url(),
                    endpoint.host if endpoint else None,
                    endpoint.port if endpoint else None,
                    pid,
                    elapsed,
                )
            )
        )
        self._waiting.started(self._result(now))
        if endpoint is not None:
            self._out(RememberPort(self.name, self.config, endpoint.port))

    def _end_run(self, now: float, error: SidecarError | None, grace_ms: int | None = None) -> None:
        """Ask this run to end; ``error`` says why, if nobody asked for it."""
        self._error = error
        self._detail = None
        self._programs = []
        self._timers.clear()
        self._move(Trigger.STOP)
        if self._pid is None:
            return  # still preparing: its event ends the run
        stop = self.config.stop
        timeout_ms = stop.timeout_ms if grace_ms is None else min(stop.timeout_ms, grace_ms)
        if timeout_ms == 0 or stop.signal == "SIGKILL":
            self._out(Kill(self.name))
        else:
            self._out(Terminate(self.name, stop.signal))
            self._timers["kill"] = now + timeout_ms / 1000

    def _judge(self, event: Exited, how: str) -> None:
        """It ended unasked: find out why, and whether it can be tried again. Sets ``_error``."""
        lines = self._last_lines()
        endpoint = self._endpoint
        vite = isinstance(self.config, ViteService)
        if self.state != "starting" and event.code == 0:
            return
        if self._programs:
            self._error = judgement.step_failed(self.name, self._step, how, lines)
            self.desired = "stopped"
            return
        if self.state != "starting":
            self._error, again = judgement.ended_while_ready(self.name, how, lines, code=event.code, vite=vite)
        elif endpoint is not None and event.code != 0 and port_is_taken(lines, endpoint.port):
            self._port_tries += 1
            self._error, again = judgement.port_lost(self.name, endpoint.port, self._port_tries, lines), True
        else:
            self._error, again = judgement.ended_before_ready(self.name, how, lines, code=event.code, vite=vite)
        if not again:
            self.desired = "stopped"

    def _run_ended(
        self, now: float, *, clean: bool = False, port_lost: bool = False, left: tuple[int, ...] = ()
    ) -> None:
        """Nothing of this run is left (but those who cannot be ended): find out where to go on."""
        self._busy = False
        self._pid = None
        self._programs = []
        self._detail = None
        was_ready_for = 0.0 if self._ready_at is None else now - self._ready_at
        self._ready_at = None
        self._timers.clear()
        asked = self.state == "stopping" and self._error is None
        if asked:
            if self.desired == "running":
                self._waiting.stopped(self._result(now))
                self._launch(Trigger.RELAUNCH)
            elif left:
                self._error = judgement.not_ended(self.name, left)
                self._waiting.not_stopped(self._error)
                self._settle(Trigger.FAIL, now)
            else:
                self._settle(Trigger.END, now)
        elif port_lost and self._port_tries < PORT_TRIES:
            self._launch(Trigger.RELAUNCH)
        elif port_lost or self.desired == "stopped":
            self._settle(Trigger.FAIL, now)
        else:
            self._crashed(now, was_ready_for, clean=clean)

    def _crashed(self, now: float, was_ready_for: float, *, clean: bool) -> None:
        """It ended by itself while it should run."""
        policy = self.config.restart.policy
        if self._error is None and clean and policy != "always":
            self.desired = "stopped"
            self._settle(Trigger.END, now)
            return
        if policy == "never":
            self._settle(Trigger.FAIL, now)
            return
        if was_ready_for * 1000 >= self.config.restart.reset_after_ms:
            self._budget.reset()
        delay = self._budget.take(now)
        if delay is None:
            self._error = judgement.given_up(self.name, self.config.restart, self._error)
            self._settle(Trigger.FAIL, now)
            return
        self._restarts += 1
        self._since = now
        reason = self._error.message if self._error else "it ended, and its policy is always"
        self._move(Trigger.RETRY)
        self._timers["backoff"] = now + delay / 1000
        self._out(Notify(ServiceRestarting(self.name, self._budget.attempt, delay, reason)))

    def _settle(self, trigger: Trigger, now: float) -> None:
        """Come to rest, stopped or failed, and answer whoever waits."""
        self.desired = "stopped"
        self._timers.clear()
        if trigger is not Trigger.FAIL:
            self._error = None
        error = self._error
        self._endpoint = None
        self._move(trigger)
        self._out(Release(self.name))
        gone = error or SupersededError(f"{self.name} ended before it was ready.", service=self.name)
        self._waiting.not_started(gone)
        self._waiting.stopped(self._result(now))

    def _result(self, now: float) -> ServiceResult:
        return ServiceResult(self.name, self.status(now))

    def _move(self, trigger: Trigger, *, notify: bool = True) -> None:
        self.state = next_state(self.state, trigger)
        if notify:
            self._notify_state()

    def _notify_state(self) -> None:
        endpoint = self._endpoint
        self._out(
            Notify(
                ServiceState(
                    self.name,
                    self.state,
                    endpoint.host if endpoint else None,
                    endpoint.port if endpoint else None,
                    self._pid,
                    failure(self._error) if self._error else None,
                    self._detail,
                )
            )
        )

    def _arm_health(self, now: float) -> None:
        if self.config.health.interval_ms:
            self._timers["health"] = now + self.config.health.interval_ms / 1000

    def _check_health(self) -> None:
        probe = self._probe
        if self._endpoint is None or not isinstance(probe, ServerReady | HttpReady | TcpReady):
            return  # there is nothing to ask: it is as well as it runs
        self._turn += 1
        timeout = self.config.health.timeout_ms
        self._out(CheckHealth(self.name, self.run, self._turn, self._endpoint, probe, timeout))

    def _url(self) -> str | None:
        if self._endpoint is None:
            return None
        address = self._address or Address()
        base = self._banner.base if self._banner else address.base
        return url_of(self._endpoint.host, self._endpoint.port, address.scheme, base or "/")

    def _last_lines(self) -> list[str]:
        return [line.text for line in self._log.tail(min(self._printed + self._log.unfinished(self.run), LINES_JUDGED))]
