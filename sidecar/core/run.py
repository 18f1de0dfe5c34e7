"""The data of one launch of a service, from its preparation until nothing of it is left."""

from __future__ import annotations

from msgspec import Struct

from sidecar.core.events import Address, Launch, Probed
from sidecar.protocol.messages import Cause


class Run(Struct):
    """One launch. The service makes one for each launch, and drops it when the launch is over."""

    number: int
    """How many launches the service has had, this one included. Events carry this, so a late one is recognised."""
    busy: bool = False
    """Whether a preparation, a spawn or a process is under way. Its end will come as an event."""
    pid: int | None = None
    programs: list[Launch] = []
    """Programs that have not started yet: while a step runs, there is at least one."""
    step: str = ""
    """The running step; empty if the program itself runs."""
    launched_at: float = 0.0
    ready_at: float | None = None
    printed: int = 0
    """How many lines it has printed. Lines of earlier runs say nothing about this one."""
    waiting_for: tuple[str, ...] = ()
    """Before the launch: the services that it depends on and that are not ready yet."""
    known: dict[str, str] = {}
    """The values of its references."""
    cause: Cause = "crashed"
    """Why it ends. By default the program ended by itself."""

    # until it is ready

    seen: Probed | None = None
    """The last result of the readiness probe."""
    address: Address | None = None
    """The address at which it has answered."""
    banner: Address | None = None
    """The address that a dev server has printed, or that the pattern's groups have captured."""
    captured: bool = False
    """Whether the pattern captured ``banner``: then the program itself chose where it listens."""
    confirming: bool = False
    """Whether it has said that it is ready, and we now check its port."""
    pattern_given_up: bool = False
    """Whether the pattern of ``ready`` took too long."""
    timing_out: bool = False
    """Whether its time to become ready is over, and we now find out where it listens, for the error."""

    # while it is ready

    turn: int = 0
    """The number of the last health check."""
    misses: int = 0
    """Failed health checks in a row."""
    detail: str | None = None
    """The result of the last failed health check; ``None`` if the service is healthy."""
