"""Every message of the protocol as a frozen struct; the JSON Schema and the golden files are made from these.

Shapes are JSON objects in camelCase. ``Request`` subclasses are tagged by their method, ``Notification`` subclasses
carry the method that they are sent with.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

PROTOCOL_VERSION = 1

Id = int | float | str | None
State = Literal["stopped", "starting", "ready", "unhealthy", "backingOff", "stopping", "failed"]
Stream = Literal["stdout", "stderr"]


class Wire(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of what we send and take."""


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Request(Wire, frozen=True, forbid_unknown_fields=True):
    """Base of the params of every request."""


class Client(Wire, frozen=True):
    """Who speaks to us."""

    name: str
    version: str = ""


class Initialize(Request, frozen=True):
    """The first request: which version is spoken, who speaks, and the services."""

    protocol_version: int
    client: Client | None = None
    services: dict[str, object] = field(default_factory=dict)


class Start(Request, frozen=True):
    """Start a service; answered when it is ready or has failed."""

    service: str


class Stop(Request, frozen=True):
    """Stop a service; answered when its whole tree is gone."""

    service: str


class Restart(Request, frozen=True):
    """Stop and start; answered like ``start``."""

    service: str


class Status(Request, frozen=True):
    """The status of one service, or of all."""

    service: str | None = None


class Logs(Request, frozen=True):
    """The last ``tail`` lines of a service."""

    service: str
    tail: Annotated[int, Meta(ge=0, le=10_000)] = 100


class Shutdown(Request, frozen=True):
    """Stop everything and exit; ``grace_ms`` bounds every service's own stop timeout."""

    grace_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None


AnyRequest = Initialize | Start | Stop | Restart | Status | Logs | Shutdown

METHODS: dict[str, type[AnyRequest]] = {
    "initialize": Initialize,
    "start": Start,
    "stop": Stop,
    "restart": Restart,
    "status": Status,
    "logs": Logs,
    "shutdown": Shutdown,
}

# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Holder(Wire, frozen=True):
    """Who has a port; what could not be read is absent."""

    pid: int | None = None
    command: str | None = None
    user: str | None = None
    ours: bool = False
    """A process that an earlier run of ours left (or another run of ours has) there."""


def taken_by(holder: Holder | None) -> str:
    """Who has a port, as far as it is known."""
    if holder is None:
        return "not free"
    who = holder.command or "another program"
    facts = [f"pid {holder.pid}"] if holder.pid else []
    facts += [f"user {holder.user}"] if holder.user else []
    facts += ["started by another sidecar"] if holder.ours else []
    return f"taken by {who} ({', '.join(facts)})" if facts else f"taken by {who}"


class Failure(Wire, frozen=True):
    """The JSON-RPC error object."""

    code: int
    message: str
    data: dict[str, object] = field(default_factory=dict)


class ServiceStatus(Wire, frozen=True):
    """One service as it is now; ``uptime_ms`` counts from when it became ready, ``restarts`` since it was started."""

    state: State
    type: str
    url: str | None = None
    host: str | None = None
    port: int | None = None
    pid: int | None = None
    uptime_ms: int | None = None
    restarts: int = 0
    error: Failure | None = None
    detail: str | None = None
    """While it is unhealthy: what its last health check saw."""


class Guarantees(Wire, frozen=True, omit_defaults=False):
    """The layers of the kill that are active here and now, never more."""

    platform: str
    guard: bool
    """A second process of ours outlives us long enough to end the tree."""
    subreaper: bool
    """Daemonised descendants stay below us."""
    parent_death_signal: bool
    """The kernel kills each direct child when the supervisor dies."""
    parent_watch: Literal["pidfd", "kqueue", "handle", "none"]
    """How the app's death is noticed, beside the end of stdin."""
    control_group: bool
    job_object: bool
    run_cookie: bool
    """Every child carries our run's id in its environment."""
    stdin_guard: bool
    """Vite's node ends with its stdin, which ends with us; but for a Vite that yarn runs. Not if a service says no."""


class Server(Wire, frozen=True):
    """Who we are."""

    name: str
    version: str


class InitializeResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``initialize``."""

    protocol_version: int
    server: Server
    pid: int
    guarantees: Guarantees
    services: dict[str, ServiceStatus]


class ServiceResult(Wire, frozen=True):
    """The answer to ``start``, ``stop`` and ``restart``."""

    service: str
    status: ServiceStatus


class StatusResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``status``."""

    services: dict[str, ServiceStatus]


class LogLine(Wire, frozen=True):
    """One line of output."""

    stream: Stream
    text: str


class LogsResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``logs``, oldest first."""

    service: str
    lines: tuple[LogLine, ...]


class ShutdownResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``shutdown``, sent when everything is gone."""

    stopped: tuple[str, ...]


Result = InitializeResult | ServiceResult | StatusResult | LogsResult | ShutdownResult

# ── notifications ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Notification(Wire, frozen=True):
    """Base of what we send unasked."""

    method: ClassVar[str]


class ServiceState(Notification, frozen=True):
    """A service changed its state, or its port was chosen."""

    method: ClassVar[str] = "service/state"
    service: str
    state: State
    host: str | None = None
    port: int | None = None
    pid: int | None = None
    error: Failure | None = None
    detail: str | None = None
    """While it is unhealthy: what its last health check saw."""


class ServiceWaiting(Notification, frozen=True):
    """The service runs and is not ready yet, after ``elapsed_ms``; ``detail`` is what was found so far."""

    method: ClassVar[str] = "service/waiting"
    service: str
    elapsed_ms: int
    detail: str


class ServiceReady(Notification, frozen=True):
    """The service answers; ``elapsed_ms`` counts from the request (or the crash) that led here."""

    method: ClassVar[str] = "service/ready"
    service: str
    url: str | None
    host: str | None
    port: int | None
    pid: int
    elapsed_ms: int


class ServiceLog(Notification, frozen=True):
    """Lines of output; ``dropped`` lines before these were lost because the client was slow.

    ``partial`` is the stream's last line, which has not ended yet: a question, or a progress bar's frame. The next
    ``partial`` of the stream replaces it, and so do its next ``lines``, which have it whole.
    """

    method: ClassVar[str] = "service/log"
    service: str
    stream: Stream
    lines: tuple[str, ...]
    dropped: int = 0
    partial: str = ""


class ServiceExited(Notification, frozen=True):
    """The program and all it left behind are gone."""

    method: ClassVar[str] = "service/exited"
    service: str
    reason: str
    code: int | None = None
    signal: str | None = None


class ServiceRestarting(Notification, frozen=True):
    """The service will be started again in ``delay_ms``."""

    method: ClassVar[str] = "service/restarting"
    service: str
    attempt: int
    delay_ms: int
    reason: str


class PortChanged(Notification, frozen=True):
    """The port is not the one wanted (``from``): ``holder`` has that."""

    method: ClassVar[str] = "service/portChanged"
    service: str
    origin: int = field(name="from")
    to: int
    holder: Holder | None = None


class SupervisorFault(Notification, frozen=True):
    """Something went wrong that no request's answer can carry."""

    method: ClassVar[str] = "supervisor/error"
    error: Failure


class SweptProcess(Wire, frozen=True):
    """A process that an earlier run left behind."""

    pid: int
    command: str | None = None


class SupervisorSwept(Notification, frozen=True, omit_defaults=False):
    """What was left by runs that were killed whole, and has been ended before anything of this run was started."""

    method: ClassVar[str] = "supervisor/swept"
    processes: tuple[SweptProcess, ...]
    groups: int
    """Control groups removed."""
    records: int
    """Dead runs that had a record."""
    folders: int
    """Folders of killed one-file binaries removed."""
    problems: tuple[str, ...]


AnyNotification = (
    ServiceState
    | ServiceWaiting
    | ServiceReady
    | ServiceLog
    | ServiceExited
    | ServiceRestarting
    | PortChanged
    | SupervisorFault
    | SupervisorSwept
)

NOTIFICATIONS: tuple[type[Notification], ...] = (
    ServiceState,
    ServiceWaiting,
    ServiceReady,
    ServiceLog,
    ServiceExited,
    ServiceRestarting,
    PortChanged,
    SupervisorFault,
    SupervisorSwept,
)

# ── envelopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class RequestEnvelope(Struct, frozen=True):
    """JSON-RPC 2.0's request object, before its params are looked at."""

    jsonrpc: Literal["2.0"]
    method: str
    params: object = UNSET
    id: Id | UnsetType = UNSET


class ResultEnvelope(Struct, frozen=True, kw_only=True):
    """A success."""

    jsonrpc: str = "2.0"
    id: Id
    result: Result


class ErrorEnvelope(Struct, frozen=True, kw_only=True):
    """A failure; ``id`` is null where the request's own could not be read."""

    jsonrpc: str = "2.0"
    id: Id
    error: Failure


class NotificationEnvelope(Struct, frozen=True, kw_only=True):
    """A notification."""

    jsonrpc: str = "2.0"
    method: str
    params: AnyNotification
