"""All errors, grouped by the side that caused them.

``SidecarError``
├── ``CallerError``          the client sent an invalid request
│   ├── ``ParseError``           not JSON, not UTF-8, too long
│   ├── ``InvalidRequestError``  JSON, but no JSON-RPC 2.0 request
│   ├── ``MethodNotFoundError``
│   ├── ``InvalidParamsError``
│   ├── ``NotInitializedError`` / ``AlreadyInitializedError`` / ``ShuttingDownError``
│   ├── ``UnknownServiceError``
│   └── ``SupersededError``      a later request made this one pointless
├── ``ConfigurationError``   the project or the machine is not what the service needs
│   ├── ``ProjectNotFoundError``, ``NodeNotFoundError``, ``ViteNotFoundError``
├── ``ChildError``           the supervised program misbehaved
│   ├── ``TimeoutWaitingForServerError``, ``ServiceFailedError``, ``DependencyFailedError``
├── ``SystemFailureError``   the operating system refused
│   ├── ``PortUnavailableError``, ``ProcessSpawnFailedError``, ``UnsupportedPlatformError``
└── ``InternalError``        a bug in the sidecar

Each message tells a person what happened, why, and what to do now. ``data`` tells programs the same. ``ERROR_CODES`` is
the table of codes on the wire.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""The type checker takes this for true. Importing typing (and re with it) would cost the guard a megabyte."""
if TYPE_CHECKING:
    from typing import ClassVar


class SidecarError(Exception):
    """Base of all our errors.

    ``code`` is the JSON-RPC error code, ``kind`` its stable name for programs, ``data`` more facts.
    """

    code: ClassVar[int] = -32603
    kind: ClassVar[str] = "InternalError"

    def __init__(self, problem: str, advice: str = "", /, **data: object) -> None:
        """Keep the message for people and the data for programs.

        ``advice`` says what to do; the message is the problem and the advice. If there is advice, ``data.reason`` is
        the problem alone, for a client that gives other advice.
        """
        message = f"{problem} {advice}" if advice else problem
        super().__init__(message)
        self.problem = problem
        self.advice = advice
        self.message = message
        self.data = {"reason": problem, **data} if advice else data


class CallerError(SidecarError):
    """The client sent an invalid request."""


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
    """A later request (stop, shutdown) made this one pointless."""

    code = -32006
    kind = "Superseded"


class ConfigurationError(SidecarError):
    """The project or the machine lacks something that the service needs. Trying again cannot help."""

    code = -32020
    kind = "ConfigurationError"


class ProjectNotFoundError(ConfigurationError):
    """The root does not exist, or has no project."""

    code = -32021
    kind = "ProjectNotFound"


class NodeNotFoundError(ConfigurationError):
    """There is no node to run."""

    code = -32022
    kind = "NodeNotFound"


class ViteNotFoundError(ConfigurationError):
    """Vite is not installed in the project."""

    code = -32023
    kind = "ViteNotFound"


class ChildError(SidecarError):
    """The supervised program misbehaved."""

    code = -32030
    kind = "ServiceFailed"


class ServiceFailedError(ChildError):
    """The program ended and will not be tried again; ``data.lines`` has its last output."""


class TimeoutWaitingForServerError(ChildError):
    """The program runs, but it did not become ready in time."""

    code = -32012
    kind = "TimeoutWaitingForServer"


class DependencyFailedError(ChildError):
    """A service that this one depends on failed or is stopped; ``data.cause`` is its error."""

    code = -32031
    kind = "DependencyFailed"


class SystemFailureError(SidecarError):
    """The operating system refused."""

    code = -32040
    kind = "SystemFailure"


class PortUnavailableError(SystemFailureError):
    """There is no usable port; ``data.holder`` names the program that has the wanted one."""

    code = -32010
    kind = "PortUnavailable"


class ProcessSpawnFailedError(SystemFailureError):
    """The program could not be started."""

    code = -32011
    kind = "ProcessSpawnFailed"


class UnsupportedPlatformError(SystemFailureError):
    """The sidecar does not support this system yet."""

    code = -32041
    kind = "UnsupportedPlatform"


class InternalError(SidecarError):
    """A bug in the sidecar; please report it."""


def _all_kinds(base: type[SidecarError]) -> list[type[SidecarError]]:
    return [base, *(kind for sub in base.__subclasses__() for kind in _all_kinds(sub))]


ERROR_CODES: dict[int, str] = {kind.code: kind.kind for kind in sorted(_all_kinds(SidecarError), key=lambda k: k.code)}
"""Code on the wire → stable name. A test compares the table on the protocol's page with it."""
