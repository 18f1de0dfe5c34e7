"""The health checks of a ready service: they ask it again and again whether it still answers."""

from __future__ import annotations

from typing import assert_never

from sidecar.config.services import HttpReady, ServerReady, TcpReady
from sidecar.core import diagnosis
from sidecar.core.condition import Condition
from sidecar.core.events import CheckHealth, Probed
from sidecar.core.lifecycle import Trigger
from sidecar.errors import SidecarError


class HealthChecks:
    """Asks, counts missed answers, and moves the service between ready and unhealthy."""

    def __init__(self, condition: Condition) -> None:
        """``condition`` is the service's condition."""
        self._condition = condition

    def schedule(self, now: float) -> None:
        """Schedule the next check, if the service has health checks."""
        interval_ms = self._condition.config.health.interval_ms
        if interval_ms:
            self._condition.timers["health"] = now + interval_ms / 1000

    def start_over(self, now: float) -> None:
        """Count from zero, and ignore a check that is still out: its result proves nothing now."""
        self._condition.run.misses = 0
        self._condition.run.turn += 1
        self.schedule(now)

    def check(self) -> None:
        """Ask the service, if there is anything to ask. If not, it is healthy while it runs."""
        condition = self._condition
        if condition.endpoint is None or not isinstance(condition.probe, ServerReady | HttpReady | TcpReady):
            return
        condition.run.turn += 1
        timeout = condition.config.health.timeout_ms
        condition.out(
            CheckHealth(
                condition.name, condition.run.number, condition.run.turn, condition.endpoint, condition.probe, timeout
            )
        )

    def on_probed(self, event: Probed, now: float) -> SidecarError | None:
        """Take a check's result. Return why the run has to end; ``None`` if it goes on."""
        condition = self._condition
        if event.turn != condition.run.turn or condition.state not in ("ready", "unhealthy"):
            return None
        self.schedule(now)
        match event.verdict:
            case "ok":
                condition.run.misses = 0
                condition.run.detail = None
                if condition.state == "unhealthy":
                    condition.move(Trigger.HEALED)
            case "down" | "foreign":
                condition.run.misses += 1
                condition.run.detail = event.detail
                condition.move(Trigger.MISSED, notify=condition.state == "ready")
                if condition.config.health.restart and condition.run.misses >= condition.config.health.failures:
                    what = f"it failed {condition.run.misses} health checks in a row ({event.detail})"
                    return diagnosis.failed(condition.name, what, condition.last_lines())
            case "unknown":
                pass  # the fault was on our side of the connection, and says nothing about the service
            case _ as never:
                assert_never(never)
        return None
