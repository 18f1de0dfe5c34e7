"""Every request of the protocol as a frozen struct, tagged by its method."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from sidecar.protocol.messages import Wire

WebOrigin = Annotated[str, Meta(extra_json_schema={"pattern": r"^https?://[^/?#@\s]+$"})]
"""The schema's pattern is coarse. ``core.origin`` checks the rest, and says in a sentence what is wrong."""


class Request(Wire, frozen=True, forbid_unknown_fields=True):
    """Base of the params of every request."""


class Client(Wire, frozen=True):
    """The name and version of the client."""

    name: str
    version: str = ""


class Initialize(Request, frozen=True):
    """The first request: the protocol's version, the client, and the services."""

    protocol_version: int
    client: Client | None = None
    services: dict[str, object] = field(default_factory=dict)
    variant: Literal["dev", "release"] | None = None
    """The variant of this run; needed if a service differs between the two."""
    origins: dict[str, WebOrigin] = field(default_factory=dict)
    """Service → the origin where the app offers it (``http://127.0.0.1:1420``), whatever port it listens on. Other
    services get this as its origin and URL."""


class Start(Request, frozen=True):
    """Start a service. The answer comes when it is ready or has failed."""

    service: str


class Stop(Request, frozen=True):
    """Stop a service. The answer comes when its whole tree is gone."""

    service: str


class Restart(Request, frozen=True):
    """Stop and start a service. The answer comes as for ``start``."""

    service: str


class Status(Request, frozen=True):
    """Ask for the status of one service, or of all."""

    service: str | None = None


class Logs(Request, frozen=True):
    """Ask for the last ``tail`` lines of a service."""

    service: str
    tail: Annotated[int, Meta(ge=0, le=10_000)] = 100


class Token(Request, frozen=True):
    """Ask for the secret of a service, which it has as ``{token}`` in its environment."""

    service: str


class Shutdown(Request, frozen=True):
    """Stop everything and exit. ``grace_ms`` bounds the stop timeout of every service."""

    grace_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None


class CheckOrigin(Request, frozen=True):
    """Ask which program listens at a web origin (``http://127.0.0.1:5173``) now."""

    origin: WebOrigin


AnyRequest = Initialize | Start | Stop | Restart | Status | Logs | CheckOrigin | Token | Shutdown

METHODS: dict[str, type[AnyRequest]] = {
    "initialize": Initialize,
    "start": Start,
    "stop": Stop,
    "restart": Restart,
    "status": Status,
    "logs": Logs,
    "checkOrigin": CheckOrigin,
    "token": Token,
    "shutdown": Shutdown,
}
