"""What the loop needs from its surroundings."""

from __future__ import annotations

from typing import Protocol

from sidecar.core.events import Output
from sidecar.host.base import Host
from sidecar.protocol.messages import AnyNotification, Failure, Id, Result, ServiceReady, ServiceState


class Front(Protocol):
    """The client side of the runtime: the stdio client, or the standalone view."""

    def reply(self, call: Id, result: Result) -> None:
        """Answer a request."""
        ...

    def refuse(self, call: Id, error: Failure) -> None:
        """Answer a request with an error."""
        ...

    def notify(self, message: AnyNotification) -> None:
        """Send a notification."""
        ...

    def relay(self, output: Output) -> None:
        """Pass on what a program wrote."""
        ...

    def pace(self) -> None:
        """Block the reader of a child's output, within a bound, while too much output waits for the client."""
        ...

    def close(self) -> None:
        """Deliver what still waits, within a bound."""
        ...


class Surroundings(Protocol):
    """The surroundings of a run: the system, and the guard."""

    host: Host

    def wait_settled(self) -> None:
        """Block until what earlier runs left is gone. Called from a preparation's thread."""
        ...

    def announce_grace(self, ms: int) -> None:
        """Tell the guard how long the services may take to end when the app dies."""
        ...

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Record this message for ``sidecar ps``."""
        ...
