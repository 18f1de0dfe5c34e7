"""The condition of one service: the data that the parts of its state machine share.

It also makes the answers that need nothing else. ``SupervisedService`` makes it, and gives it to its parts: ``Runs``,
``Startup`` and ``HealthChecks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sidecar.config.services import Service, TaskService, ready_probe, type_of, url_of
from sidecar.core.diagnosis import LINES_JUDGED
from sidecar.core.events import Address, Effect, Endpoint, Notify
from sidecar.core.lifecycle import Trigger, next_state
from sidecar.core.log_buffer import LogBuffer
from sidecar.core.run import Run
from sidecar.errors import SidecarError
from sidecar.protocol.messages import ServiceResult, ServiceState, ServiceStatus, State
from sidecar.protocol.rpc import failure

StartupTimer = Literal["ready", "notice", "banner", "delay"]
Timer = StartupTimer | Literal["kill", "backoff", "health"]
"""Only ``ready``, ``notice`` and ``banner`` run together. Otherwise a state needs at most one timer."""


class Condition:
    """One service as it is now."""

    def __init__(self, name: str, config: Service, out: Callable[[Effect], None]) -> None:
        """``out`` gets each effect, in order."""
        self.name = name
        self.config = config
        self.out = out
        self.probe = ready_probe(config)
        self.is_task = isinstance(config, TaskService)
        self.state: State = "stopped"
        self.desired: Literal["running", "stopped"] = "stopped"
        self.error: SidecarError | None = None
        """Why this run has to end, or why the service failed."""
        self.run = Run(0)
        self.restarts = 0
        self.endpoint: Endpoint | None = None
        """Where it listens; a restart keeps it."""
        self.exit_code: int | None = None
        """The exit code of a task's last run."""
        self.timers: dict[Timer, float] = {}
        """When each timer is due."""
        self.log = LogBuffer()
        self.log_file: str | None = None

    def move(self, trigger: Trigger, *, notify: bool = True) -> None:
        """Enter the state that the table gives, and report it."""
        self.state = next_state(self.state, trigger)
        if notify:
            self.notify()

    def notify(self) -> None:
        """Report the service's state to the client."""
        endpoint, run = self.endpoint, self.run
        host, port = (endpoint.host, endpoint.port) if endpoint else (None, None)
        error = failure(self.error) if self.error else None
        state = ServiceState(self.name, self.state, host, port, run.pid, error, run.detail, run.waiting_for)
        self.out(Notify(state))

    def status(self, now: float) -> ServiceStatus:
        """Return the service's present status."""
        endpoint, run = self.endpoint, self.run
        return ServiceStatus(
            state=self.state,
            type=type_of(self.config),
            url=self.url() if self.state == "ready" else None,
            host=endpoint.host if endpoint else None,
            port=endpoint.port if endpoint else None,
            pid=run.pid,
            uptime_ms=None if run.ready_at is None else round((now - run.ready_at) * 1000),
            restarts=self.restarts,
            error=failure(self.error) if self.error else None,
            detail=run.detail,
            waiting_for=run.waiting_for,
            exit_code=self.exit_code,
            log_file=self.log_file,
        )

    def result(self, now: float) -> ServiceResult:
        """Make the answer to the requests that wait for the service."""
        return ServiceResult(self.name, self.status(now))

    def stopped_result(self) -> ServiceResult:
        """Make the answer to a stop after which the service was started again. The run to stop is over."""
        return ServiceResult(self.name, ServiceStatus("stopped", type_of(self.config)))

    def url(self) -> str | None:
        """Return the URL of the service's page; ``None`` if it has no port."""
        if self.endpoint is None:
            return None
        address = self.answers_at(self.endpoint)
        return url_of(self.endpoint.host, self.endpoint.port, address.scheme, address.base or "/")

    def answers_at(self, endpoint: Endpoint) -> Address:
        """Return where the service answers, as far as we know."""
        address = self.run.address or Address()
        banner = self.run.banner or address
        scheme = banner.scheme if self.run.captured else address.scheme
        return Address(scheme, endpoint.host, banner.base)

    def last_lines(self) -> list[str]:
        """Return the last lines that this run has printed, as many as are searched for a cause."""
        lines = self.run.printed + self.log.unfinished(self.run.number)
        return [line.text for line in self.log.tail(min(lines, LINES_JUDGED))]
