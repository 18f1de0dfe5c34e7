"""Every result and notification of the protocol as a frozen struct. On the wire they are JSON objects in camelCase.

The JSON Schema and the golden files are made from these and from ``requests``. Each subclass of ``Notification`` has
its method.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct, field

PROTOCOL_VERSION = 1
Id = int | float | str | None
State = Literal["stopped", "starting", "ready", "unhealthy", "backingOff", "stopping", "failed"]
Stream = Literal["stdout", "stderr"]
Cause = Literal["requested", "completed", "crashed", "unhealthy", "timeout", "portTaken", "addressChanged"]
"""Why a run ended, for programs."""


class Wire(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of everything that we send and receive."""


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Holder(Wire, frozen=True):
    """The process that has a port. Facts that could not be read are absent."""

    pid: int | None = None
    command: str | None = None
    user: str | None = None
    ours: bool = field(default_factory=bool)  # always sent: msgspec omits a default, but not a factory's value
    """Whether the process belongs to a sidecar: an earlier run has left it, or another run has it."""


def taken_by(holder: Holder | None) -> str:
    """Say which process has a port, as far as it is known."""
    if holder is None:
        return "not free"
    who = holder.command or "another program"
    facts = [f"pid {holder.pid}"] if holder.pid else []
    facts += [f"user {holder.user}"] if holder.user else []
    facts += ["started by a sidecar"] if holder.ours else []
    return f"taken by {who} ({', '.join(facts)})" if facts else f"taken by {who}"


class Failure(Wire, frozen=True):
    """The JSON-RPC error object."""

    code: int
    message: str
    data: dict[str, object] = field(default_factory=dict)


class ServiceStatus(Wire, frozen=True):
    """A service as it is now. ``uptime_ms`` counts since it was ready, ``restarts`` since it was started."""

    state: State
    type: str
    url: str | None = None
    """Set only while it is ready: in any other state another program may answer there."""
    host: str | None = None
    port: int | None = None
    pid: int | None = None
    uptime_ms: int | None = None
    restarts: int = field(default_factory=int)  # always sent, as ``Holder.ours`` is
    error: Failure | None = None
    detail: str | None = None
    """While it is unhealthy: what its last health check saw."""
    waiting_for: tuple[str, ...] = ()
    """While it is starting: the services that it depends on and that are not ready yet."""
    exit_code: int | None = None
    """For a task: the exit code of its last run."""
    log_file: str | None = None
    """The file with its output, once its first launch has been prepared."""


class Guarantees(Wire, frozen=True, omit_defaults=False):
    """The layers of the kill that are active here and now; a layer that is not is never claimed."""

    platform: str
    guard: bool
    """A second process of ours outlives us long enough to end the tree."""
    subreaper: bool
    """Daemonised descendants stay below us."""
    parent_death_signal: bool
    """The kernel kills each direct child when the supervisor dies."""
    parent_watch: Literal["pidfd", "kqueue", "handle", "none"]
    """How we notice the app's death, beside the end of stdin."""
    control_group: bool
    job_object: bool
    run_cookie: bool
    """Every child carries our run's id in its environment."""
    stdin_guard: bool
    """Vite's node ends with its stdin, which ends with us. False if a service has ``stdinGuard: false``. A Vite that
    yarn runs does not have it."""


class Server(Wire, frozen=True):
    """The name and version of this sidecar."""

    name: str
    version: str


class Capabilities(Wire, frozen=True, omit_defaults=False):
    """The methods and types that this sidecar knows. A later one may know more."""

    methods: tuple[str, ...]
    types: tuple[str, ...]
    """The types that a service can have."""


class InitializeResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``initialize``."""

    protocol_version: int
    server: Server
    pid: int
    capabilities: Capabilities
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
    """A line of output. ``seq`` is its number, as in ``ServiceLog``; an unfinished line has none yet."""

    stream: Stream
    text: str
    seq: int | None = None


class LogsResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``logs``, oldest first."""

    service: str
    lines: tuple[LogLine, ...]


OriginOwner = Literal["service", "foreign", "nobody", "unknown"]
"""The owner of the sockets at an origin. ``service``: only services of this sidecar listen there. ``foreign``: some
other program does. ``nobody``: no program does. ``unknown``: that cannot be found out."""


class CheckOriginResult(Wire, frozen=True):
    """The answer to ``checkOrigin``. ``service`` is set if the owner is one."""

    origin: str
    owner: OriginOwner
    service: str | None = None


class TokenResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``token``. No other message contains the token."""

    service: str
    token: str


class ShutdownResult(Wire, frozen=True, omit_defaults=False):
    """The answer to ``shutdown``, sent when everything is gone."""

    stopped: tuple[str, ...]


Result = InitializeResult | ServiceResult | StatusResult | LogsResult | CheckOriginResult | TokenResult | ShutdownResult

# ── notifications ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Notification(Wire, frozen=True):
    """Base of the messages that we send without a request."""

    method: ClassVar[str]


class ServiceState(Notification, frozen=True):
    """A service has changed its state, or its port was chosen."""

    method: ClassVar[str] = "service/state"
    service: str
    state: State
    host: str | None = None
    port: int | None = None
    pid: int | None = None
    error: Failure | None = None
    detail: str | None = None
    """While it is unhealthy: what its last health check saw."""
    waiting_for: tuple[str, ...] = ()
    """While it is starting: the services that it depends on and that are not ready yet."""


class ServiceWaiting(Notification, frozen=True):
    """The service runs but is not ready after ``elapsed_ms``; ``detail`` says what was found so far."""

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
    """Lines of output. Before them, ``dropped`` lines were lost because the client was slow.

    ``seq`` is the number of the first line; the others follow one by one. If there are no lines, it is the number of
    the next line. A service's lines are numbered from 1, over both streams and all its runs.

    ``partial`` is the unfinished last line of the stream: a question, or a frame of a progress bar. The stream's next
    ``partial`` replaces it, and so do its next ``lines``, which contain the whole line.
    """

    method: ClassVar[str] = "service/log"
    service: str
    stream: Stream
    lines: tuple[str, ...]
    dropped: int = field(default_factory=int)  # always sent, as ``Holder.ours`` is
    partial: str = ""
    seq: int = field(default_factory=int)


class ServiceExited(Notification, frozen=True):
    """The program and everything that it left behind are gone."""

    method: ClassVar[str] = "service/exited"
    service: str
    reason: str
    code: int | None = None
    signal: str | None = None
    cause: Cause | None = None
    """Why it ended, for programs; ``reason`` says it for people."""


class ServiceRestarting(Notification, frozen=True):
    """The service will be started again in ``delay_ms``."""

    method: ClassVar[str] = "service/restarting"
    service: str
    attempt: int
    delay_ms: int
    reason: str
    cause: Cause | None = None
    """Why the run before ended."""


class PortChanged(Notification, frozen=True):
    """The service gets the port ``to``, because ``holder`` has the wanted port ``from``."""

    method: ClassVar[str] = "service/portChanged"
    service: str
    origin: int = field(name="from")
    to: int
    holder: Holder | None = None


class SupervisorFault(Notification, frozen=True):
    """An error that no answer to a request can carry."""

    method: ClassVar[str] = "supervisor/error"
    error: Failure


class SweptProcess(Wire, frozen=True):
    """A process that an earlier run left behind."""

    pid: int
    command: str | None = None


class SupervisorSwept(Notification, frozen=True, omit_defaults=False):
    """What killed runs had left. It was ended before this run started anything."""

    method: ClassVar[str] = "supervisor/swept"
    processes: tuple[SweptProcess, ...]
    groups: int
    """Control groups removed."""
    records: int
    """Dead runs that had a record."""
    folders: int
    """Folders of killed one-file programs removed, ours and those of services."""
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
