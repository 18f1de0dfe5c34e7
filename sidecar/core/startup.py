"""Follow a run from its spawn to readiness: what the program prints, where it answers, and how long that may take.

Each method that returns a ``bool`` says whether the service is ready now. ``SupervisedService`` then acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from sidecar.config.groups import Matches
from sidecar.config.services import DelayReady, LogReady, PortConfig, ServerReady, TcpReady
from sidecar.core import diagnosis
from sidecar.core.capture import captured, says_where
from sidecar.core.condition import Condition, StartupTimer
from sidecar.core.events import AwaitReady, FindListeners, Listening, Notify, Output, Probed
from sidecar.core.neighbours import Neighbours
from sidecar.core.readiness import told_address
from sidecar.errors import SidecarError
from sidecar.protocol.messages import ServiceWaiting, SupervisorFault
from sidecar.protocol.rpc import failure

NOTICES_S = (2.0, 10.0, 30.0)
"""When, after its launch, we report that a service is not ready yet, and what we have seen of it."""

BANNER_S = 1.0
"""How long we wait for the base of a server that answers. The server prints it, or (without TLS) its page tells it."""

NO_GROUPS: Mapping[str, str] = {}


class Startup:
    """Watches a program that is starting."""

    def __init__(self, condition: Condition, neighbours: Neighbours, matches: Matches) -> None:
        """``condition`` belongs to the service. ``matches`` compares lines with a user's pattern, within a bound."""
        self._condition = condition
        self._neighbours = neighbours
        self._matches = matches

    def on_spawned(self, now: float) -> bool:
        """Begin to wait for the readiness of the program that runs now."""
        condition = self._condition
        self._limit(now)
        condition.run.launched_at = now
        self._schedule_notice(now)
        if condition.run.programs or condition.is_task:
            return False  # a step: only the program after it becomes ready; a task: it is ready when it has ended
        match condition.probe:
            case None:
                return True
            case DelayReady(ms=ms):
                # this replaces the other timers: nothing is late before the delay is over
                condition.timers = {"delay": now + ms / 1000}
            case LogReady():
                pass  # on_output reads its lines
            case probe:
                if condition.endpoint is not None:
                    condition.out(AwaitReady(condition.name, condition.run.number, condition.endpoint, probe))
        return False

    def on_output(self, event: Output, now: float) -> bool:
        """Look for the line that means ready, or for the printed address of a server that answers."""
        condition = self._condition
        if condition.state != "starting" or condition.run.programs:
            return False
        if isinstance(condition.probe, LogReady):
            groups = self._search(condition.probe.pattern, event.lines or (event.partial,))
            # an address in an unfinished line may be incomplete
            return groups is not None and bool(event.lines or not says_where(groups)) and self._said_ready(now, groups)
        if isinstance(condition.probe, ServerReady) and condition.endpoint is not None:
            condition.run.banner = told_address(event.lines, condition.endpoint) or condition.run.banner
            return condition.run.banner is not None and "banner" in condition.timers
        return False

    def on_probed(self, event: Probed, now: float) -> bool:
        """Take a result of the readiness probe."""
        condition = self._condition
        condition.run.seen = event
        if condition.state != "starting" or event.verdict != "ok":
            return False
        condition.run.address = event.address
        if event.address.base is None and condition.run.banner is None:
            condition.timers["banner"] = now + BANNER_S
            return False
        return True

    def on_listening(self, event: Listening, now: float) -> SidecarError | None:
        """Report where the service listens; or return why the run has to end, if its time is over."""
        condition = self._condition
        if condition.state != "starting":
            return None
        if condition.run.step:
            seen = f"its step ({condition.run.step}) has not ended yet"
        elif condition.is_task:
            seen = "it has not ended yet"
        else:
            seen = diagnosis.seen(condition.probe, condition.endpoint, condition.run.seen, event.places)
        if condition.run.timing_out:
            return diagnosis.timed_out(
                condition.name, condition.config.ready_timeout_ms, condition.url(), seen, condition.last_lines()
            )
        elapsed = round((now - condition.run.launched_at) * 1000)
        condition.out(Notify(ServiceWaiting(condition.name, elapsed, seen)))
        return None

    def on_time(self, timer: StartupTimer, now: float) -> bool:
        """Do what is due for this timer."""
        condition = self._condition
        match timer:
            case "ready" if condition.run.address is not None:
                return True  # it answers; only its base is not known yet
            case "ready":
                condition.run.timing_out = True
                condition.timers.clear()
                condition.out(FindListeners(condition.name, condition.run.number))
            case "notice":
                self._schedule_notice(now)
                condition.out(FindListeners(condition.name, condition.run.number))
            case "banner":
                return True
            case "delay":
                return self._said_ready(now)
            case _ as never:
                assert_never(never)
        return False

    def _said_ready(self, now: float, groups: Mapping[str, str] = NO_GROUPS) -> bool:
        """React to a line, or to the end of a delay, that means that the service is ready.

        If it has a port, check that it listens there. It may have found the port taken, and moved on. Then we
        would report another program's address as its own.
        """
        condition = self._condition
        if condition.run.confirming:
            return False
        if says_where(groups):
            found = captured(groups, condition.endpoint.host if condition.endpoint else PortConfig().host)
            if found is None:
                return False  # no usable address (port 0, say): another line may have one
            condition.run.captured = True
            condition.endpoint, condition.run.banner = found
            self._neighbours.port_chosen(condition.name, condition.endpoint)
            condition.notify()
        if condition.endpoint is None:
            return True
        condition.run.confirming = True
        if "ready" not in condition.timers:
            self._limit(now)
        self._schedule_notice(now)
        condition.out(AwaitReady(condition.name, condition.run.number, condition.endpoint, TcpReady()))
        return False

    def _search(self, pattern: str, lines: tuple[str, ...]) -> Mapping[str, str] | None:
        """Return the groups of the line that means ready. A pattern that is too slow is not tried again in this run."""
        condition = self._condition
        if condition.run.pattern_given_up:
            return None
        try:
            return self._matches(pattern, lines)
        except TimeoutError:
            condition.run.pattern_given_up = True
            condition.out(Notify(SupervisorFault(failure(diagnosis.pattern_too_slow(condition.name, pattern)))))
            return None

    def _limit(self, now: float) -> None:
        """Start the timer for its time to become ready, if that has a limit."""
        if self._condition.config.ready_timeout_ms:
            self._condition.timers["ready"] = now + self._condition.config.ready_timeout_ms / 1000

    def _schedule_notice(self, now: float) -> None:
        later = (self._condition.run.launched_at + after for after in NOTICES_S)
        due = next((at for at in later if at > now), None)
        if due is not None:
            self._condition.timers["notice"] = due
