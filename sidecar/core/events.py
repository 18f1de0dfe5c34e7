"""The two closed unions between the core and the world: ``Event`` (what happened) and ``Effect`` (what to do).

``run`` counts the launches of a service. By it we recognise a late event of an earlier launch.
Times are seconds of a monotonic clock. Durations with names in ``_ms`` are milliseconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from sidecar.config.services import PortConfig, Probe, Service
from sidecar.errors import SidecarError
from sidecar.protocol.messages import (
    AnyNotification,
    Failure,
    Holder,
    Id,
    OriginOwner,
    Result,
    ServiceLog,
    Stream,
    SupervisorSwept,
)
from sidecar.protocol.rpc import Received

Verdict = Literal["ok", "down", "foreign", "unknown"]
"""A probe's result. ``ok``: our server answers. ``down``: nothing answers, or nothing useful. ``foreign``: another
program answers. ``unknown``: the fault is on our side of the connection (no route, no descriptors), and says nothing
about the server."""

Owner = Literal["ours", "foreign", "unknown"]
"""The owner of a listening socket: the service's tree, another program, or unknown because the system hides it."""

# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tick(Struct, frozen=True):
    """A deadline may have passed."""


class AppGone(Struct, frozen=True):
    """The app is dead, or a process of ours that we depend on: end everything at once. ``cause`` is for people."""

    cause: str


class Swept(Struct, frozen=True):
    """The sweep has ended what dead runs left."""

    report: SupervisorSwept


class Interrupted(Struct, frozen=True):
    """We were asked to end by signal ``number``."""

    number: int


class Launch(Struct, frozen=True):
    """A program, ready to start: its words, its folder, and the variables to add to ours."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = field(default_factory=dict)
    pid_namespace: bool = False
    """Whether it runs in a pid namespace of its own."""
    before: tuple[Launch, ...] = ()
    """Steps: programs that run first, one after the other, each to exit code 0. Messages show a step's last word."""
    program_words: int = 0
    """How many words at the beginning are paths that we found. Nothing is filled into them: a folder may be called
    ``{port}``."""
    verbatim: frozenset[str] = frozenset()
    """The variables that come from a file. Nothing is filled into their values."""
    port: PortConfig | None = None
    """The port that it wants, by the configuration or by the project; ``None`` if it has none."""


class Endpoint(Struct, frozen=True):
    """Where a service listens.

    If the preferred port was not free, ``wanted`` is that port, and ``holder`` is the process that has it.
    """

    host: str
    port: int
    wanted: int | None = None
    holder: Holder | None = None
    usual: bool = False
    """Whether it is the preferred port. That one is not remembered."""


class PortChosen(Struct, frozen=True):
    """The answer to ``ChoosePort``."""

    service: str
    endpoint: Endpoint


class PortNotChosen(Struct, frozen=True):
    """The answer to ``ChoosePort`` if there is no port."""

    service: str
    error: SidecarError


class Prepared(Struct, frozen=True):
    """The program is found and its port is chosen."""

    service: str
    run: int
    launch: Launch
    endpoint: Endpoint | None
    log_file: str | None = None
    """The file to which its output is also written."""


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
    """The program wrote ``lines``.

    If ``lines`` is empty, ``partial`` is the beginning of a line that has not ended for a while.
    """

    service: str
    run: int
    stream: Stream
    lines: tuple[str, ...]
    size: int
    """The memory of the text, in bytes. Buffers with a bound use it: to compute it again would cost as much as to pass
    the text on."""
    partial: str = ""
    seq: int = 0
    """The number of the first line; of the next line, if there are no lines. The core counts."""

    def message(self, dropped: int = 0) -> ServiceLog:
        """Make the notification. ``dropped`` is the number of lines that were dropped before it."""
        return ServiceLog(self.service, self.stream, self.lines, dropped, self.partial, self.seq)


class Address(Struct, frozen=True):
    """Where a server answered, as far as a probe could find out."""

    scheme: Literal["http", "https"] = "http"
    host: str | None = None
    """A literal address, if it is not the endpoint's own host: the other loopback."""
    base: str | None = "/"
    """The path below which the server has its pages; ``None`` if that is not known yet."""


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
    """The answer to ``FindListeners``: the (address, port) pairs; ``None`` if they cannot be read."""

    service: str
    run: int
    places: tuple[tuple[str, int], ...] | None


class OwnerFound(Struct, frozen=True):
    """The answer to ``FindOwner`` with the same ``number``. ``service`` is the owner's name, if it is one of ours."""

    number: int
    owner: OriginOwner
    service: str | None = None


class Exited(Struct, frozen=True):
    """The program and all that it left are dead, and its output has been read. Either ``code`` or ``signal`` is set."""

    service: str
    run: int
    code: int | None
    signal: str | None
    left: tuple[int, ...] = ()
    """Pids of the processes that survived SIGKILL, if any. 0 stands for a process that is hidden from us."""


Event = (
    Tick
    | AppGone
    | Swept
    | Interrupted
    | Received
    | PortChosen
    | PortNotChosen
    | Prepared
    | PrepareFailed
    | Spawned
    | SpawnFailed
    | Output
    | Probed
    | Listening
    | OwnerFound
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
    """Send a notification to the client."""

    message: AnyNotification


class Relay(Struct, frozen=True):
    """Pass output on to the client."""

    output: Output


class ChoosePort(Struct, frozen=True):
    """Choose the port of a service that is not started yet, because another service refers to it."""

    service: str
    config: Service


class Prepare(Struct, frozen=True):
    """Find the program and choose a port, ``keep`` if possible. ``known`` has the values of references, by key."""

    service: str
    run: int
    config: Service
    keep: int | None
    known: dict[str, str] = {}


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


class FindOwner(Struct, frozen=True):
    """Find what listens on ``port`` at every address of ``host``. Look now: earlier results do not count."""

    number: int
    host: str
    """A literal address, ``localhost``, or the host of a service."""
    port: int


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
    """Free the port of a service that has ended."""

    service: str


class RememberPort(Struct, frozen=True):
    """Remember the port that worked for this service of this project."""

    service: str
    config: Service
    endpoint: Endpoint


class AnnounceGrace(Struct, frozen=True):
    """Tell the guard how long the services may take to end when the app is dead."""

    ms: int


class KillAll(Struct, frozen=True):
    """End every tree now, without waiting for anything else."""


class Exit(Struct, frozen=True):
    """Leave with this exit code."""

    code: int


Effect = (
    Reply
    | Refuse
    | Notify
    | Relay
    | ChoosePort
    | Prepare
    | Spawn
    | AwaitReady
    | FindListeners
    | FindOwner
    | CheckHealth
    | Terminate
    | Kill
    | Release
    | RememberPort
    | AnnounceGrace
    | KillAll
    | Exit
)
