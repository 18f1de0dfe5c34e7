"""All services and the one client: takes an event and the time, gives effects. Opens nothing, reads no clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from sidecar.config import SERVICE_NAME_MOST, Service, ViteService, parse_services
from sidecar.core.readiness import matches
from sidecar.core.service import Matches, SupervisedService
from sidecar.errors import (
    AlreadyInitializedError,
    InvalidParamsError,
    NotInitializedError,
    ShuttingDownError,
    SidecarError,
    UnknownServiceError,
)
from sidecar.events import (
    AnnounceGrace,
    AppGone,
    Effect,
    Event,
    Exit,
    Exited,
    Interrupted,
    KillAll,
    Listening,
    Notify,
    Output,
    Prepared,
    PrepareFailed,
    Probed,
    Refuse,
    Reply,
    Spawned,
    SpawnFailed,
    Swept,
    Tick,
)
from sidecar.wire.messages import (
    PROTOCOL_VERSION,
    AnyRequest,
    Guarantees,
    Id,
    Initialize,
    InitializeResult,
    Logs,
    LogsResult,
    Restart,
    Server,
    Shutdown,
    ShutdownResult,
    Start,
    Status,
    StatusResult,
    Stop,
    SupervisorFault,
    SupervisorSwept,
)
from sidecar.wire.session import Received, failure

SUSPEND_S = 2.5
"""A deadline missed by more than this was not missed by us: the machine slept, or we were stopped."""

MAX_SERVICES = 64
"""Far above any app; a bound on threads."""

EXIT_CLEAN = 0
EXIT_APP_GONE = 3
EXIT_SIGNAL_BASE = 128


class Supervisor:
    """The core. ``step`` is the only way in; ``next_deadline`` says when to step with ``Tick`` at the latest."""

    def __init__(
        self,
        server: Server,
        pid: int,
        guarantees: Guarantees,
        random: Callable[[], float],
        matches: Matches = matches,
    ) -> None:
        """``pid`` is the supervisor's own; ``random`` gives floats in [0, 1) for the jitter.

        ``matches`` compares lines with a pattern of the user's, within a time.
        """
        self._matches = matches
        self._server = server
        self._pid = pid
        self._guarantees = guarantees
        self._random = random
        self._effects: list[Effect] = []
        self.services: dict[str, SupervisedService] = {}
        self._initialized = False
        self._last = 0.0
        self._exit_code: int | None = None
        """Set once everything is to end."""
        self._shutdowns: list[Id] = []
        self._ending: list[SupervisedService] = []
        """Still to be stopped, last first."""
        self._deadline: float | None = None
        """When the whole shutdown turns into a kill."""
        self._overdue = False
        """That has come: a preparation that hangs is waited for no longer."""
        self._exited = False
        self._app_is_gone = False
        self._swept: list[SupervisorSwept] = []

    def next_deadline(self) -> float | None:
        """The earliest timer of all, in seconds of the caller's clock."""
        due = [at for service in self.services.values() if (at := service.next_deadline()) is not None]
        if self._deadline is not None:
            due.append(self._deadline)
        return min(due, default=None)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; give the effects, to be performed in order."""
        self._effects = []
        if self._exited:
            return []
        self._notice_suspend(now)
        self._dispatch(event, now)
        for service in self.services.values():
            service.on_time(now)
        if self._exit_code is not None and not self._exited:
            self._go_on_ending(now)
        return self._effects

    def _put(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _notice_suspend(self, now: float) -> None:
        deadline = self.next_deadline()
        if deadline is not None and now - deadline > SUSPEND_S:
            gap = now - self._last  # how much of it we slept is unknown: each timer gets all that it had left
            for service in self.services.values():
                service.shift(gap, now)
            if self._deadline is not None:
                self._deadline += gap
        self._last = now

    def _dispatch(self, event: Event, now: float) -> None:
        match event:
            case Tick():
                pass
            case Received(id=call, request=request):
                self._receive(None if call is UNSET else call, request, now, answer=call is not UNSET)
            case Swept(report=report):
                self._swept.append(report)
                self._tell_swept()
            case AppGone():
                self._app_gone(now)
            case Interrupted(number=number):
                self._interrupted(number, now)
            case (
                Prepared() | PrepareFailed() | Spawned() | SpawnFailed() | Output() | Probed() | Listening() | Exited()
            ):
                service = self.services[event.service]
                if event.run == service.run:
                    _deliver(service, event, now)
                elif isinstance(event, Output):
                    service.log.append(event)
            case _ as never:
                assert_never(never)

    def _tell_swept(self) -> None:
        """The reports wait for the client's initialize: before its answer nothing is sent unasked."""
        while self._swept and self._initialized:
            self._put(Notify(self._swept.pop(0)))

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, call: Id, request: AnyRequest, now: float, *, answer: bool) -> None:
        try:
            self._serve(call, request, now, answer=answer)
        except SidecarError as error:
            if answer:
                self._put(Refuse(call, failure(error)))
            else:
                self._put(Notify(SupervisorFault(failure(error))))

    def _serve(self, call: Id, request: AnyRequest, now: float, *, answer: bool) -> None:
        if not isinstance(request, Initialize | Shutdown) and not self._initialized:
            raise NotInitializedError("The first request has to be initialize. Send it, then this one again.")
        if self._exit_code is not None and not isinstance(request, Shutdown | Status | Logs):
            raise ShuttingDownError("The sidecar is shutting down and takes no more work. Start a new one.")
        match request:
            case Initialize():
                result = self._initialize(request, now)
                if answer:
                    self._put(Reply(call, result))
                self._tell_swept()
            case Start(service=name):
                self._service(name).start(call, now, answer=answer)
            case Stop(service=name):
                self._service(name).stop(call, now, answer=answer)
            case Restart(service=name):
                self._service(name).restart(call, now, answer=answer)
            case Status(service=name):
                chosen = self.services if name is None else {name: self._service(name)}
                statuses = {key: service.status(now) for key, service in chosen.items()}
                if answer:
                    self._put(Reply(call, StatusResult(statuses)))
            case Logs(service=name, tail=tail):
                lines = self._service(name).log.tail(tail)
                if answer:
                    self._put(Reply(call, LogsResult(name, lines)))
            case Shutdown(grace_ms=grace_ms):
                if answer:
                    self._shutdowns.append(call)
                self._end_all(EXIT_CLEAN, now, grace_ms)
            case _ as never:
                assert_never(never)

    def _initialize(self, request: Initialize, now: float) -> InitializeResult:
        if self._initialized:
            raise AlreadyInitializedError("initialize was sent before. Each sidecar process takes it once.")
        if request.protocol_version != PROTOCOL_VERSION:
            raise InvalidParamsError(
                f"protocolVersion {request.protocol_version} is not spoken here; version {PROTOCOL_VERSION} is. "
                "Use the sidecar and the client of one release.",
                path="$.params.protocolVersion",
                supported=[PROTOCOL_VERSION],
            )
        if len(request.services) > MAX_SERVICES:
            raise InvalidParamsError(
                f"{len(request.services)} services are more than the {MAX_SERVICES} that one sidecar takes.",
                path="$.params.services",
            )
        services = parse_services(request.services, "$.params.services")
        for name, config in services.items():
            self.services[name] = SupervisedService(name, config, self._random, self._matches, self._put)
        self._initialized = True
        grace = max((config.stop.app_death_grace_ms for config in services.values()), default=0)
        if grace:
            self._put(AnnounceGrace(grace))
        return InitializeResult(
            protocol_version=PROTOCOL_VERSION,
            server=self._server,
            pid=self._pid,
            guarantees=self._guarantees_for(services),
            services={name: service.status(now) for name, service in self.services.items()},
        )

    def _guarantees_for(self, services: dict[str, Service]) -> Guarantees:
        """Never more than what holds for each of them."""
        guarded = all(it.stdin_guard for it in services.values() if isinstance(it, ViteService))
        return replace(self._guarantees, stdin_guard=self._guarantees.stdin_guard and guarded)

    def _service(self, name: str) -> SupervisedService:
        try:
            return self.services[name]
        except KeyError:
            known = ", ".join(self.services) or "none"
            shown = name[:SERVICE_NAME_MOST]  # no service has a longer one, and the client may have sent a megabyte
            message = f"There is no service {shown!r} at $.params.service. Declared in initialize: {known}."
            raise UnknownServiceError(message, path="$.params.service", service=shown) from None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end_all(self, code: int, now: float, grace_ms: int | None) -> None:
        """Stop everything, in reverse order of declaration; a second call can only tighten the deadline."""
        if self._exit_code is None:
            self._exit_code = code
            self._ending = list(self.services.values())
        if grace_ms is not None:
            self._tighten(now + grace_ms / 1000)

    def _tighten(self, deadline: float) -> None:
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _go_on_ending(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._overdue = True
            for service in self.services.values():
                service.stop(None, now, answer=False, grace_ms=0)
                service.kill()
            self._ending = []
        for service in self.services.values():
            if service.desired == "running" and not service.has_process:
                service.stop(None, now, answer=False)  # nothing new begins any more
        while self._ending and self._ending[-1].gone:
            self._ending.pop()
        if self._ending:
            service = self._ending[-1]
            if service.desired == "running":
                service.stop(None, now, answer=False)
        elif all(service.gone or (self._overdue and not service.has_process) for service in self.services.values()):
            self._leave()

    def _leave(self) -> None:
        self._exited = True
        if not all(service.gone for service in self.services.values()):
            self._put(KillAll())  # whatever that preparation is about to start
        for call in self._shutdowns:
            self._put(Reply(call, ShutdownResult(tuple(self.services))))
        self._put(Exit(self._exit_code or EXIT_CLEAN))

    def _app_gone(self, now: float) -> None:
        """SIGKILL at once, but for the services that asked for a grace. Of all that notice, the first counts."""
        if self._app_is_gone:
            return
        self._app_is_gone = True
        graces = [service.config.stop.app_death_grace_ms for service in self.services.values() if not service.gone]
        self._exit_code = EXIT_APP_GONE if self._exit_code is None else self._exit_code
        if not any(graces):
            self._put(KillAll())
            self._exited = True
            self._put(Exit(self._exit_code))
            return
        self._ending = []
        for service in self.services.values():
            service.stop(None, now, answer=False, grace_ms=service.config.stop.app_death_grace_ms)
        self._tighten(now + max(graces) / 1000)

    def _interrupted(self, number: int, now: float) -> None:
        """The first signal asks, the second insists."""
        if self._exit_code is None:
            self._end_all(EXIT_SIGNAL_BASE + number, now, None)
        else:
            self._exited = True
            self._put(KillAll())
            self._put(Exit(EXIT_SIGNAL_BASE + number))


def _deliver(
    service: SupervisedService,
    event: Prepared | PrepareFailed | Spawned | SpawnFailed | Output | Probed | Listening | Exited,
    now: float,
) -> None:
    match event:
        case Prepared():
            service.on_prepared(event, now)
        case PrepareFailed() | SpawnFailed():
            service.on_prepare_failed(event, now)
        case Spawned():
            service.on_spawned(event, now)
        case Output():
            service.on_output(event, now)
        case Probed():
            service.on_probed(event, now)
        case Listening():
            service.on_listening(event, now)
        case Exited():
            service.on_exited(event, now)
        case _ as never:
            assert_never(never)
