"""The runs of one service, one after the other: how each begins and ends, and what comes after it.

``_launch`` begins a run. The run may first wait for its neighbours. Then ``Prepare`` and ``Spawn``, and the events that
answer them, make it a process. The run ends by itself, or ``end`` asks it to. When nothing of it is left, ``_ended``
decides what follows: another run, at once or after a delay, or rest.
"""

from __future__ import annotations

from msgspec.structs import replace

from sidecar.core import diagnosis
from sidecar.core.condition import Condition
from sidecar.core.events import (
    Exited,
    Kill,
    Notify,
    Prepare,
    Prepared,
    PrepareFailed,
    RememberPort,
    Spawn,
    SpawnFailed,
    Terminate,
)
from sidecar.core.exits import judge
from sidecar.core.lifecycle import Trigger
from sidecar.core.neighbours import Neighbours
from sidecar.core.pending import PendingRequests
from sidecar.core.readiness import how_it_ended
from sidecar.core.restart import RestartBudget
from sidecar.core.run import Run
from sidecar.errors import SidecarError, SupersededError
from sidecar.protocol.messages import Cause, PortChanged, ServiceExited, ServiceReady, ServiceRestarting

PORT_TRIES = 5
"""How many runs in a row may lose their port between our choice and the program's bind. Then the service fails."""

ENDED_FOR: dict[Cause, str] = {"addressChanged": "an address of another service that it was told has changed"}
"""The reason for people, if we ended a run without an error and without a client's request."""


class Runs:
    """Begins and ends the runs of a service, and answers the requests that wait for them."""

    def __init__(
        self, condition: Condition, neighbours: Neighbours, waiting: PendingRequests, budget: RestartBudget
    ) -> None:
        """``condition`` and ``waiting`` belong to the service."""
        self._condition = condition
        self._neighbours = neighbours
        self._waiting = waiting
        self._budget = budget
        self._since = 0.0
        """When the client asked for a start, or the last run was lost. The time to readiness counts from here."""
        self._ports_lost = 0
        """How many runs in a row have lost their port."""

    # ── the begin ────────────────────────────────────────────────────────────────────────────────────────────────────

    def want_afresh(self, now: float) -> None:
        """Begin a new run for a client: at once, or when the present run is gone, whatever ended it."""
        condition = self._condition
        condition.desired = "running"
        self._neighbours.start_needed(condition.name, now)
        self._budget.reset()
        condition.restarts = 0
        self._since = now
        condition.error = None
        match condition.state:
            case "stopped" | "failed":
                self._launch(Trigger.START, now)
            case "backingOff":
                self.relaunch(now)
            case _:
                pass  # stopping: _ended will begin the new run

    def relaunch(self, now: float) -> None:
        """Begin the next run."""
        self._launch(Trigger.RELAUNCH, now)

    def _launch(self, trigger: Trigger, now: float) -> None:
        condition = self._condition
        condition.run = Run(condition.run.number + 1)
        condition.error = None
        condition.exit_code = None
        condition.timers.clear()
        if trigger is not Trigger.RELAUNCH or condition.state != "starting":
            self._ports_lost = 0
        hold = self._neighbours.hold(condition.name)
        condition.run.waiting_for = hold.waiting_for if hold is not None else ()
        condition.move(trigger)
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Prepare the run, unless that is done already, or its neighbours still hold it back."""
        condition, run = self._condition, self._condition.run
        if condition.state != "starting" or run.busy:
            return
        hold = self._neighbours.hold(condition.name)
        if hold is not None and hold.error is not None:
            self._give_up(hold.error)
            self._ended(now)
            return
        waiting_for = hold.waiting_for if hold is not None else ()
        if waiting_for != run.waiting_for:
            run.waiting_for = waiting_for
            condition.notify()
        if hold is None:
            run.busy = True
            run.known = self._neighbours.values(condition.name)
            keep = condition.endpoint.port if condition.endpoint else self._neighbours.kept_port(condition.name)
            condition.out(Prepare(condition.name, run.number, condition.config, keep, run.known))
        else:
            self._neighbours.choose_ports(hold.ports)

    def on_prepared(self, event: Prepared, now: float) -> None:
        """Start the program, unless it was stopped meanwhile."""
        condition, endpoint = self._condition, event.endpoint
        condition.log_file = event.log_file
        if condition.state != "starting":
            self._ended(now)
            return
        condition.endpoint = endpoint
        if endpoint is not None:
            self._neighbours.port_chosen(condition.name, endpoint)
        condition.notify()
        if endpoint is not None and endpoint.wanted is not None:
            change = PortChanged(condition.name, origin=endpoint.wanted, to=endpoint.port, holder=endpoint.holder)
            condition.out(Notify(change))
        # if the last run only lost its port, its steps have done their work already
        condition.run.programs = [event.launch] if self._ports_lost else [*event.launch.before, event.launch]
        self._spawn_next()

    def on_prepare_failed(self, event: PrepareFailed | SpawnFailed, now: float) -> None:
        """Give up: nothing runs, and another try would fail in the same way."""
        if self._condition.state == "starting":
            self._give_up(event.error)
        self._ended(now)

    def _spawn_next(self) -> None:
        run = self._condition.run
        program = run.programs.pop(0)
        run.step = program.argv[-1] if run.programs else ""
        self._condition.out(Spawn(self._condition.name, run.number, program))

    def become_ready(self, now: float) -> None:
        """Report that the run answers, and where."""
        condition, run = self._condition, self._condition.run
        condition.timers.clear()
        endpoint = condition.endpoint
        if endpoint is not None and run.address is not None and run.address.host is not None:
            endpoint = condition.endpoint = replace(endpoint, host=run.address.host)
        run.ready_at = now
        condition.move(Trigger.READY)
        if endpoint is not None:
            self._neighbours.answered(condition.name, condition.answers_at(endpoint))
        host, port = (endpoint.host, endpoint.port) if endpoint else (None, None)
        elapsed = round((now - self._since) * 1000)
        condition.out(Notify(ServiceReady(condition.name, condition.url(), host, port, run.pid or 0, elapsed)))
        self._waiting.started(condition.result(now))
        if endpoint is not None and not run.captured:
            condition.out(RememberPort(condition.name, condition.config, endpoint))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, now: float, cause: Cause, error: SidecarError | None = None, *, grace_ms: int | None = None) -> None:
        """Ask this run to end. ``error`` says why, unless a client has asked for it."""
        condition, run = self._condition, self._condition.run
        run.cause = cause
        run.waiting_for = ()
        condition.error = error
        run.detail = None
        run.programs = []
        condition.timers.clear()
        condition.move(Trigger.STOP)
        if not run.busy:
            self._ended(now)
            return
        if run.pid is None:
            return  # still preparing or starting: the event about that ends the run
        stop = condition.config.stop
        timeout_ms = stop.timeout_ms if grace_ms is None else min(stop.timeout_ms, grace_ms)
        if timeout_ms == 0 or stop.signal == "SIGKILL":
            condition.out(Kill(condition.name))
        else:
            condition.out(Terminate(condition.name, stop.signal))
            condition.timers["kill"] = now + timeout_ms / 1000

    def end_if_outdated(self, now: float) -> None:
        """End the run if addresses of neighbours have changed since it got them. Another run then follows."""
        condition, run = self._condition, self._condition.run
        if run.busy and condition.state in ("starting", "ready", "unhealthy"):
            values = self._neighbours.values(condition.name)
            if any(values.get(key) != value for key, value in run.known.items()):
                self.end(now, "addressChanged")

    def on_exited(self, event: Exited, now: float) -> None:
        """Take the end of the whole run, or of one of its steps."""
        condition, run = self._condition, self._condition.run
        if condition.state == "starting" and run.programs and event.code == 0 and not event.left:
            run.pid = None
            condition.timers.clear()
            self._spawn_next()
            return
        how = how_it_ended(event.code, event.signal)
        if condition.is_task:
            condition.exit_code = event.code
        if condition.is_task and condition.state == "starting" and event.code == 0:
            self._complete(how, now)
            return
        if condition.state == "stopping":
            reason = condition.error.message if condition.error else ENDED_FOR.get(run.cause, "stopped")
        else:
            reason = how
            self._judge(event)
        condition.out(Notify(ServiceExited(condition.name, reason, event.code, event.signal, run.cause)))
        self._ended(now, left=event.left)

    def _complete(self, how: str, now: float) -> None:
        """Treat a finished task as ready until a client stops it."""
        condition = self._condition
        condition.out(Notify(ServiceExited(condition.name, how, 0, cause="completed")))
        condition.run = Run(condition.run.number)
        condition.timers.clear()
        condition.move(Trigger.READY)
        self._waiting.started(condition.result(now))

    def _judge(self, event: Exited) -> None:
        """Note why a run ended unasked, and whether another one may follow."""
        found = judge(self._condition, event, self._ports_lost)
        self._condition.run.cause = found.cause
        self._condition.error = found.error
        if found.cause == "portTaken":
            self._ports_lost += 1
        if not found.again:
            self._condition.desired = "stopped"

    def _give_up(self, error: SidecarError) -> None:
        self._condition.error = error
        self._condition.desired = "stopped"

    def _ended(self, now: float, *, left: tuple[int, ...] = ()) -> None:
        """Decide what follows. Nothing of this run is left, except processes that cannot be ended."""
        condition = self._condition
        ended, condition.run = condition.run, Run(condition.run.number)
        condition.timers.clear()
        port_lost = ended.cause == "portTaken"
        if condition.state == "stopping" and condition.error is None:
            self._ended_as_asked(ended, left, now)
        elif port_lost and self._ports_lost < PORT_TRIES:
            self.relaunch(now)
        elif port_lost or condition.desired == "stopped":
            self.settle(Trigger.FAIL, now)
        else:
            self._ended_unasked(ended, now)

    def _ended_as_asked(self, ended: Run, left: tuple[int, ...], now: float) -> None:
        """Go on after a stop or restart by a client, or after a change of an address that the run was given."""
        condition = self._condition
        if condition.desired == "running":
            self._waiting.stopped(condition.stopped_result())
            if ended.cause == "addressChanged":
                self._since = now
                reason = f"{condition.name} is restarted: {ENDED_FOR[ended.cause]}"
                self._tell_restart(0, reason, ended.cause)
            self.relaunch(now)
        elif left:
            condition.error = diagnosis.not_ended(condition.name, left)
            self._waiting.not_stopped(condition.error)
            self.settle(Trigger.FAIL, now)
        else:
            self.settle(Trigger.END, now)

    def _ended_unasked(self, ended: Run, now: float) -> None:
        """Start another run if the restart policy and the budget allow it, because the service should run."""
        condition, restart = self._condition, self._condition.config.restart
        if ended.cause == "completed" and restart.policy != "always":
            self.settle(Trigger.END, now)
            return
        if restart.policy == "never":
            self.settle(Trigger.FAIL, now)
            return
        was_ready_for = 0.0 if ended.ready_at is None else now - ended.ready_at
        if was_ready_for * 1000 >= restart.reset_after_ms:
            self._budget.reset()
        delay_ms = self._budget.take(now)
        if delay_ms is None:
            condition.error = diagnosis.given_up(condition.name, restart, condition.error)
            self.settle(Trigger.FAIL, now)
            return
        condition.restarts += 1
        self._since = now
        reason = condition.error.problem if condition.error else "it ended, and its policy is always"
        condition.move(Trigger.RETRY)
        condition.timers["backoff"] = now + delay_ms / 1000
        self._tell_restart(delay_ms, reason, ended.cause)

    def _tell_restart(self, delay_ms: int, reason: str, cause: Cause) -> None:
        told = ServiceRestarting(self._condition.name, self._budget.attempt, delay_ms, reason, cause)
        self._condition.out(Notify(told))

    def settle(self, trigger: Trigger, now: float) -> None:
        """Come to rest, stopped or failed, and answer the waiting requests."""
        condition = self._condition
        condition.desired = "stopped"
        condition.timers.clear()
        if trigger is not Trigger.FAIL:
            condition.error = None
        error = condition.error
        condition.endpoint = None
        condition.move(trigger)
        self._neighbours.rest(condition.name)
        gone = error or SupersededError(f"{condition.name} ended before it was ready.", service=condition.name)
        self._waiting.not_started(gone)
        self._waiting.stopped(condition.result(now))
