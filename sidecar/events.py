"""The two closed unions between the core and the world: ``Event`` (what happened) and ``Effect`` (what to do).

``run`` counts the launches of a service: an event of an earlier launch that comes late is told apart by it.
Times are seconds of a monotonic clock; durations in names ending in ``_ms`` are milliseconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from sidecar.config import Probe, Service
from sidecar.errors import SidecarError
from sidecar.wire.messages import AnyNotification, Failure, Holder, Id, Result, ServiceLog, Stream, SupervisorSwept
from sidecar.wire.session import Received

Verdict = Literal["ok", "down", "foreign", "unknown"]
"""What a probe found: our server answers; nobody (or nothing useful) does; somebody else does; the fault was on our
side of the connection (no route, no descriptors) and says nothing about the server."""

Owner = Literal["ours", "foreign", "unknown"]
"""The owner of a listening socket: the service's tree, another program, or unknown as the system hides it."""

# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tick(Struct, frozen=True):
    """A deadline may have passed."""


class AppGone(Struct, frozen=True):
    """The app is dead, or a part of ours is: end everything at once. ``cause`` is for people."""

    cause: str


class Swept(Struct, frozen=True):
    """What dead runs had left has been ended."""

    report: SupervisorSwept


class Interrupted(Struct, frozen=True):
    """We were asked to end by signal ``number``."""

    number: int


class Launch(Struct, frozen=True):
    """A program, ready to be started: words, folder, and the variables to add to ours."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = field(default_factory=dict)
    pid_namespace: bool = False
    """Whether it is to run in a pid namespace of its own."""
    before: tuple[Launch, ...] = ()
    """Steps: programs that run first, one after the other, each to exit code 0. People are told the last word."""
    program_words: int = 0
    """So many words at the beginning are paths that we found: a folder may be called ``{port}``."""


class Endpoint(Struct, frozen=True):
    """Where a service listens. ``wanted`` is the preferred port if that could not be had, and ``holder`` who has it."""

    host: str
    port: int
    wanted: int | None = None
    holder: Holder | None = None


class Prepared(Struct, frozen=True):
    """The program is found and its port is chosen."""

    service: str
    run: int
    launch: Launch
    endpoint: Endpoint | None


class PrepareFailed(Struct, frozen=True):
    """There is no such program, or no port."""

    service: str
    run: int
    error: SidecarError


class Spawned(Struct, frozen=True):
    """The program runs."""

    service: str
    run: int
    pid: int


class SpawnFailed(Struct, frozen=True):
    """The system did not start the program."""

    service: str
    run: int
    error: SidecarError


class Output(Struct, frozen=True):
    """The program wrote lines; or ``partial``, the begin of a line that it has not ended for a while, and no lines."""

    service: str
    run: int
    stream: Stream
    lines: tuple[str, ...]
    size: int
    """Of the lines, in bytes, for whoever keeps them within a bound: to add it up anew would cost as much as to pass
    them on."""
    partial: str = ""

    def message(self, dropped: int = 0) -> ServiceLog:
        """As the client is told of it, and of so many lines before it that were dropped."""
        return ServiceLog(self.service, self.stream, self.lines, dropped, self.partial)


class Address(Struct, frozen=True):
    """Where a server answered, as far as a probe could find out."""

    scheme: Literal["http", "https"] = "http"
    host: str | None = None
    """A literal address, if it is not the endpoint's own host: the other loopback."""
    base: str | None = "/"
    """The path below which the server has its pages; ``None`` where that is not found out yet."""


class Probed(Struct, frozen=True):
    """A probe's result. ``turn`` is the health check's number, or 0 for the readiness probe."""

    service: str
    run: int
    turn: int
    verdict: Verdict
    detail: str
    address: Address = Address()
    reached: bool = True
    """Whether a connection was made."""


class Listening(Struct, frozen=True):
    """The answer to ``FindListeners``: the (address, port) pairs, or ``None`` where they cannot be read."""

    service: str
    run: int
    places: tuple[tuple[str, int], ...] | None


class Exited(Struct, frozen=True):
    """The program is dead, all that it left behind is dead, and its output has been read. One of the two is set."""

    service: str
    run: int
    code: int | None
    signal: str | None
    left: tuple[int, ...] = ()
    """The pids of who has outlived SIGKILL, if not all of it is dead; 0 for who is hidden from us."""


Event = (
    Tick
    | AppGone
    | Swept
    | Interrupted
    | Received
    | Prepared
    | PrepareFailed
    | Spawned
    | SpawnFailed
    | Output
    | Probed
    | Listening
    | Exited
)

# ── effects ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Reply(Struct, frozen=True):
    """Answer a request."""

    id: Id
    result: Result


class Refuse(Struct, frozen=True):
    """Answer a request with an error."""

    id: Id
    error: Failure


class Notify(Struct, frozen=True):
    """Tell the client."""

    message: AnyNotification


class Relay(Struct, frozen=True):
    """Pass output on to the client."""

    output: Output


class Prepare(Struct, frozen=True):
    """Find the program and choose a port, ``keep`` first."""

    service: str
    run: int
    config: Service
    keep: int | None


class Spawn(Struct, frozen=True):
    """Start the program."""

    service: str
    run: int
    launch: Launch


class AwaitReady(Struct, frozen=True):
    """Probe until the server answers (or the run ends)."""

    service: str
    run: int
    endpoint: Endpoint
    probe: Probe


class FindListeners(Struct, frozen=True):
    """Find out where the service's processes listen."""

    service: str
    run: int


class CheckHealth(Struct, frozen=True):
    """Probe once."""

    service: str
    run: int
    turn: int
    endpoint: Endpoint
    probe: Probe
    timeout_ms: int


class Terminate(Struct, frozen=True):
    """Ask the service's process group to end, by ``signal``."""

    service: str
    signal: str


class Kill(Struct, frozen=True):
    """End the service's whole tree now."""

    service: str


class Release(Struct, frozen=True):
    """The service has ended: its port is free for others."""

    service: str


class RememberPort(Struct, frozen=True):
    """This port worked for this service of this project."""

    service: str
    config: Service
    port: int


class AnnounceGrace(Struct, frozen=True):
    """Tell the guard how long the services may take to end when the app is dead."""

    ms: int


class KillAll(Struct, frozen=True):
    """End every tree now; wait for nothing else."""


class Exit(Struct, frozen=True):
    """Leave with this exit code."""

    code: int


Effect = (
    Reply
    | Refuse
    | Notify
    | Relay
    | Prepare
    | Spawn
    | AwaitReady
    | FindListeners
    | CheckHealth
    | Terminate
    | Kill
    | Release
    | RememberPort
    | AnnounceGrace
    | KillAll
    | Exit
)
