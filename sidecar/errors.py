"""Everything that can go wrong, split by whose fault it is.

``SidecarError``
├── ``CallerError``          the client sent something that is not a valid request
│   ├── ``ParseError``           not JSON, not UTF-8, too long
│   ├── ``InvalidRequestError``  JSON, but no JSON-RPC 2.0 request
│   ├── ``MethodNotFoundError``
│   ├── ``InvalidParamsError``
│   ├── ``NotInitializedError`` / ``AlreadyInitializedError`` / ``ShuttingDownError``
│   ├── ``UnknownServiceError``
│   └── ``SupersededError``      a later request made this one moot
├── ``ConfigurationError``   the project or the machine is not what the service needs
│   ├── ``ProjectNotFoundError``, ``NodeNotFoundError``, ``ViteNotFoundError``
├── ``ChildError``           the supervised program misbehaved
│   ├── ``TimeoutWaitingForServerError``, ``ServiceFailedError``
├── ``SystemFailureError``   the operating system refused
│   ├── ``PortUnavailableError``, ``ProcessSpawnFailedError``, ``UnsupportedPlatformError``
└── ``InternalError``        ours

Each message tells a person what happened, why, and what to do now; ``data`` carries the same for programs.
``ERROR_CODES`` is the one documented table of codes on the wire.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""For the type checker it is true. typing, with re, would be a megabyte of the guard, which needs neither."""
if TYPE_CHECKING:
    from typing import ClassVar


class SidecarError(Exception):
    """Base of all our errors.

    ``code`` is the JSON-RPC error code, ``kind`` its stable name for programs, ``data`` further facts.
    """

    code: ClassVar[int] = -32603
    kind: ClassVar[str] = "InternalError"

    def __init__(self, message: str, **data: object) -> None:
        """Keep the message for people and the data for programs."""
        super().__init__(message)
        self.message = message
        self.data = data


class CallerError(SidecarError):
    """The client's fault."""


class ParseError(CallerError):
    """The line is not UTF-8, not JSON, or longer than the bound."""

    code = -32700
    kind = "ParseError"


class InvalidRequestError(CallerError):
    """The line is JSON, but not one JSON-RPC 2.0 request object."""

    code = -32600
    kind = "InvalidRequest"


class MethodNotFoundError(CallerError):
    """No such method."""

    code = -32601
    kind = "MethodNotFound"


class InvalidParamsError(CallerError):
    """The params do not have the method's shape; the message names the place."""

    code = -32602
    kind = "InvalidParams"


class NotInitializedError(CallerError):
    """A request before ``initialize``."""

    code = -32002
    kind = "NotInitialized"


class AlreadyInitializedError(CallerError):
    """A second ``initialize``."""

    code = -32003
    kind = "AlreadyInitialized"


class ShuttingDownError(CallerError):
    """A request after ``shutdown`` or while everything is being stopped."""

    code = -32004
    kind = "ShuttingDown"


class UnknownServiceError(CallerError):
    """The request names a service that ``initialize`` did not declare."""

    code = -32005
    kind = "UnknownService"


class SupersededError(CallerError):
    """A later request (stop, shutdown) made this one moot."""

    code = -32006
    kind = "Superseded"


class ConfigurationError(SidecarError):
    """The project, or the machine, lacks something that the service needs. Trying again cannot help."""

    code = -32020
    kind = "ConfigurationError"


class ProjectNotFoundError(ConfigurationError):
    """The root is missing, or no project lives there."""

    code = -32021
    kind = "ProjectNotFound"


class NodeNotFoundError(ConfigurationError):
    """No node to run."""

    code = -32022
    kind = "NodeNotFound"


class ViteNotFoundError(ConfigurationError):
    """The project has no vite installed."""

    code = -32023
    kind = "ViteNotFound"


class ChildError(SidecarError):
    """The supervised program misbehaved."""

    code = -32030
    kind = "ServiceFailed"


class ServiceFailedError(ChildError):
    """The program ended and will not be tried again; ``data.lines`` has its last output."""


class TimeoutWaitingForServerError(ChildError):
    """The program runs but did not become ready in time."""

    code = -32012
    kind = "TimeoutWaitingForServer"


class SystemFailureError(SidecarError):
    """The operating system refused."""

    code = -32040
    kind = "SystemFailure"


class PortUnavailableError(SystemFailureError):
    """No usable port; ``data.holder`` names who has the wanted one."""

    code = -32010
    kind = "PortUnavailable"


class ProcessSpawnFailedError(SystemFailureError):
    """The program could not be started at all."""

    code = -32011
    kind = "ProcessSpawnFailed"


class UnsupportedPlatformError(SystemFailureError):
    """No host is written for this system yet."""

    code = -32041
    kind = "UnsupportedPlatform"


class InternalError(SidecarError):
    """Our fault; please report it."""


def _all_kinds(base: type[SidecarError]) -> list[type[SidecarError]]:
    return [base, *(kind for sub in base.__subclasses__() for kind in _all_kinds(sub))]


ERROR_CODES: dict[int, str] = {kind.code: kind.kind for kind in sorted(_all_kinds(SidecarError), key=lambda k: k.code)}
"""Code on the wire → stable name; the table on the protocol's page is checked against it."""
