"""All services and the one client: takes an event and the time, returns effects. Opens nothing, and reads no clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from msgspec.structs import replace

from sidecar.config.groups import Matches
from sidecar.config.services import SERVICE_NAME_MOST, SERVICE_TYPES, Service, ViteService
from sidecar.config.wiring import parse_services
from sidecar.core.addresses import AddressBook
from sidecar.core.events import (
    AnnounceGrace,
    AppGone,
    Effect,
    Event,
    Exit,
    Exited,
    FindOwner,
    Interrupted,
    KillAll,
    Listening,
    Notify,
    Output,
    OwnerFound,
    PortChosen,
    PortNotChosen,
    Prepared,
    PrepareFailed,
    Probed,
    Spawned,
    SpawnFailed,
    Swept,
    Tick,
)
from sidecar.core.neighbours import Neighbours
from sidecar.core.origin import Origin, kept_addresses, parse_origin
from sidecar.core.pending import US, Caller
from sidecar.core.readiness import matches
from sidecar.core.service import SupervisedService
from sidecar.errors import (
    AlreadyInitializedError,
    InvalidParamsError,
    NotInitializedError,
    ShuttingDownError,
    SidecarError,
    UnknownServiceError,
)
from sidecar.exit_codes import EXIT_APP_GONE, EXIT_CLEAN, EXIT_SIGNALLED
from sidecar.protocol.messages import (
    PROTOCOL_VERSION,
    Capabilities,
    CheckOriginResult,
    Guarantees,
    InitializeResult,
    LogsResult,
    Server,
    ShutdownResult,
    StatusResult,
    SupervisorFault,
    SupervisorSwept,
    TokenResult,
)
from sidecar.protocol.requests import (
    METHODS,
    AnyRequest,
    CheckOrigin,
    Initialize,
    Logs,
    Restart,
    Shutdown,
    Start,
    Status,
    Stop,
    Token,
)
from sidecar.protocol.rpc import Received, failure

SUSPEND_S = 2.5
"""If a deadline is missed by more than this, the machine slept, or we were stopped."""

MAX_SERVICES = 64
"""A bound on threads. No app needs nearly as many services."""


class Supervisor:
    """The core. ``step`` is its only entry. ``next_deadline`` says when to step with ``Tick`` at the latest."""

    def __init__(
        self,
        server: Server,
        pid: int,
        guarantees: Guarantees,
        random: Callable[[], float],
        make_token: Callable[[], str],
        matches: Matches = matches,
    ) -> None:
        """``pid`` is the supervisor's own. ``random`` returns floats in [0, 1), for the jitter.

        ``make_token`` returns a secret of 256 bits. ``matches`` compares lines with a user's pattern, within a bound.
        """
        self._matches = matches
        self._server = server
        self._pid = pid
        self._guarantees = guarantees
        self._random = random
        self._make_token = make_token
        self._effects: list[Effect] = []
        self.services: dict[str, SupervisedService] = {}
        self._neighbours = Neighbours(self.services, AddressBook({}, make_token), self._put)
        self._initialized = False
        self._last = 0.0
        self._exit_code: int | None = None
        """Set once everything has to end."""
        self._shutdowns: list[Caller] = []
        self._checks: dict[int, tuple[Caller, str]] = {}
        """The open questions about origins, by number: the caller, and the origin's text."""
        self._last_check = 0
        self._deadline: float | None = None
        """When the shutdown becomes a kill."""
        self._overdue = False
        """Whether that time has come. Then we no longer wait for a preparation that hangs."""
        self._exited = False
        self._app_is_gone = False
        self._swept: list[SupervisorSwept] = []

    def next_deadline(self) -> float | None:
        """Return when the earliest timer is due, in seconds of the caller's clock; ``None`` if there is none."""
        due = [at for service in self.services.values() if (at := service.next_deadline()) is not None]
        if self._deadline is not None:
            due.append(self._deadline)
        return min(due, default=None)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event. Return the effects; the caller performs them in order."""
        self._effects = []
        if self._exited:
            return []
        self._notice_suspend(now)
        self._dispatch(event, now)
        for service in self.services.values():
            service.on_time(now)
        self._let_go_on(now)
        if self._exit_code is not None and not self._exited:
            self._go_on_ending(now)
        return self._effects

    def _put(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _let_go_on(self, now: float) -> None:
        """Let services react to changes of others, until no service reacts any more."""
        done = -1
        while done != len(self._effects):
            done = len(self._effects)
            for service in self.services.values():
                service.heed_addresses(now)
                service.go_on(now)
        self._neighbours.forget_problems()

    def _notice_suspend(self, now: float) -> None:
        deadline = self.next_deadline()
        if deadline is not None and now - deadline > SUSPEND_S:
            gap = now - self._last  # we do not know how much of it was sleep: each timer gets all its remaining time
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
                self._receive(Caller(call, self._put), request, now)
            case Swept(report=report):
                self._swept.append(report)
                self._tell_swept()
            case OwnerFound(number=number, owner=owner, service=name):
                caller, text = self._checks.pop(number)
                caller.reply(CheckOriginResult(text, owner, name))
            case AppGone():
                self._app_gone(now)
            case Interrupted(number=number):
                self._interrupted(number, now)
            case PortChosen(service=name, endpoint=endpoint):
                self._neighbours.port_chosen(name, endpoint)
            case PortNotChosen(service=name, error=error):
                self._neighbours.port_not_chosen(name, error)
            case (
                Prepared() | PrepareFailed() | Spawned() | SpawnFailed() | Output() | Probed() | Listening() | Exited()
            ):
                service = self.services[event.service]
                if event.run == service.run:
                    service.on_event(event, now)
                elif isinstance(event, Output):
                    service.log.append(self._neighbours.redacted(event))
            case _ as never:
                assert_never(never)

    def _tell_swept(self) -> None:
        """Send the reports of sweeps once the client has initialized. No notification comes before that answer."""
        while self._swept and self._initialized:
            self._put(Notify(self._swept.pop(0)))

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, caller: Caller, request: AnyRequest, now: float) -> None:
        try:
            self._serve(caller, request, now)
        except SidecarError as error:
            if caller.waits:
                caller.refuse(error)
            else:
                self._put(Notify(SupervisorFault(failure(error))))

    def _serve(self, caller: Caller, request: AnyRequest, now: float) -> None:
        if not isinstance(request, Initialize | Shutdown) and not self._initialized:
            raise NotInitializedError("The first request has to be initialize. Send it, then this one again.")
        if self._exit_code is not None and not isinstance(request, Shutdown | Status | Logs | CheckOrigin):
            raise ShuttingDownError("The sidecar is shutting down and takes no more work. Start a new one.")
        match request:
            case Initialize():
                caller.reply(self._initialize(request, now))
                self._tell_swept()
            case Start(service=name):
                self._service(name).start(caller, now)
            case Stop(service=name):
                self._service(name).stop(caller, now)
            case Restart(service=name):
                self._service(name).restart(caller, now)
            case Status(service=name):
                chosen = self.services if name is None else {name: self._service(name)}
                caller.reply(StatusResult({key: service.status(now) for key, service in chosen.items()}))
            case Logs(service=name, tail=tail):
                caller.reply(LogsResult(name, self._service(name).log.tail(tail)))
            case CheckOrigin(origin=text):
                where = parse_origin(text)
                if caller.waits:
                    self._check(caller, text, where)
            case Token(service=name):
                caller.reply(TokenResult(name, self._token(name)))
            case Shutdown(grace_ms=grace_ms):
                self._shutdowns.append(caller)
                self._end_all(EXIT_CLEAN, now, grace_ms)
            case _ as never:
                assert_never(never)

    def _check(self, caller: Caller, text: str, where: Origin) -> None:
        """Have the owner looked up now.

        Resolve only the host names of our services. An origin with any other name is foreign.
        """
        if where.is_name and all(service.host != where.host for service in self.services.values()):
            caller.reply(CheckOriginResult(text, "foreign"))
            return
        self._last_check += 1
        self._checks[self._last_check] = caller, text
        self._put(FindOwner(self._last_check, where.host, where.port))

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
        try:
            services = parse_services(request.services, "$.params.services", request.variant, self._matches)
            kept = kept_addresses(request.origins, request.services, "$.params.origins")
        except InvalidParamsError as error:
            error.data["server"] = self._server  # the client may be newer than we are
            raise
        book = AddressBook(services, self._make_token, kept)
        self._neighbours = Neighbours(self.services, book, self._put)
        for name, config in services.items():
            self.services[name] = SupervisedService(
                name, config, self._neighbours, self._random, self._matches, self._put
            )
        self._initialized = True
        grace = max((config.stop.app_death_grace_ms for config in services.values()), default=0)
        if grace:
            self._put(AnnounceGrace(grace))
        return InitializeResult(
            protocol_version=PROTOCOL_VERSION,
            server=self._server,
            pid=self._pid,
            capabilities=Capabilities(tuple(METHODS), tuple(SERVICE_TYPES)),
            guarantees=self._guarantees_for(services),
            services={name: service.status(now) for name, service in self.services.items()},
        )

    def _guarantees_for(self, services: dict[str, Service]) -> Guarantees:
        """Return the guarantees that hold for every service."""
        guarded = all(it.stdin_guard for it in services.values() if isinstance(it, ViteService))
        return replace(self._guarantees, stdin_guard=self._guarantees.stdin_guard and guarded)

    def _token(self, name: str) -> str:
        self._service(name)
        token = self._neighbours.token(name)
        if token is None:
            advice = "A service has one if {token} stands in its env, or {services.NAME.token} in that of another."
            raise InvalidParamsError(f"{name} has no token at $.params.service.", advice, path="$.params.service")
        return token

    def _service(self, name: str) -> SupervisedService:
        try:
            return self.services[name]
        except KeyError:
            known = ", ".join(self.services) or "none"
            shown = name[:SERVICE_NAME_MOST]  # no service has a longer name, but the client may have sent a megabyte
            message = f"There is no service {shown!r} at $.params.service. Declared in initialize: {known}."
            raise UnknownServiceError(message, path="$.params.service", service=shown) from None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end_all(self, code: int, now: float, grace_ms: int | None) -> None:
        """Stop everything, dependents first. A second call can only make the deadline earlier."""
        if self._exit_code is None:
            self._exit_code = code
        if grace_ms is not None:
            self._tighten(now + grace_ms / 1000)

    def _tighten(self, deadline: float) -> None:
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _go_on_ending(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._overdue = True
            for service in self.services.values():
                service.stop(US, now, grace_ms=0)
                service.kill()
        for name, service in self.services.items():
            # a service that is up stays until its dependents are gone; any other one stops at once, before its next run
            serves = service.state in ("ready", "unhealthy")
            if service.desired == "running" and (not serves or self._neighbours.may_stop(name)):
                service.stop(US, now)
        if all(service.gone or (self._overdue and not service.has_process) for service in self.services.values()):
            self._leave()

    def _leave(self) -> None:
        self._exited = True
        if not all(service.gone for service in self.services.values()):
            self._put(KillAll())  # for whatever a preparation under way may still start
        for caller, _ in self._checks.values():
            caller.refuse(ShuttingDownError("The sidecar ended before the owner of the origin was found out."))
        for caller in self._shutdowns:
            caller.reply(ShutdownResult(tuple(self.services)))
        self._put(Exit(self._exit_code or EXIT_CLEAN))

    def _app_gone(self, now: float) -> None:
        """Kill everything at once, except services with a grace. Only the first report of the app's death counts."""
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
        for service in self.services.values():
            service.stop(US, now, grace_ms=service.config.stop.app_death_grace_ms)
        self._tighten(now + max(graces) / 1000)

    def _interrupted(self, number: int, now: float) -> None:
        """End in order at the first signal, kill at the second."""
        if self._exit_code is None:
            self._end_all(EXIT_SIGNALLED + number, now, None)
        else:
            self._exited = True
            self._put(KillAll())
            self._put(Exit(EXIT_SIGNALLED + number))
