"""The view without a status line and keys: lines only."""

from __future__ import annotations

from collections.abc import Collection

from sidecar.console.front import FLUSH_S
from sidecar.console.screen import Screen
from sidecar.console.words import NAME, describe, describe_failure
from sidecar.events import Output
from sidecar.wire.messages import AnyNotification, Failure, ServiceState


class PlainDisplay:
    """Lines only."""

    def __init__(self, screen: Screen, unprobed: Collection[str] = ()) -> None:
        """Write to ``screen``. Of the services ``unprobed`` it is only known that they run."""
        self._screen = screen
        self._unprobed = unprobed
        self._unhealthy: set[str] = set()
        self._heard: set[str] = set()
        """The services whose output has been shown."""

    def show(self, message: AnyNotification) -> None:
        """See ``front.Display``."""
        self._screen.put(*describe(message, self._unprobed))
        if isinstance(message, ServiceState):
            if message.state == "ready" and message.service in self._unhealthy:
                self._screen.put(((message.service, NAME), (" answers again", "")))
            if message.state == "unhealthy":
                self._unhealthy.add(message.service)
            else:
                self._unhealthy.discard(message.service)

    def relay(self, output: Output) -> None:
        """See ``front.Display``."""
        self._heard.add(output.service)
        self._screen.put_output(output)

    def fail(self, error: Failure) -> None:
        """See ``front.Display``. The last lines of the only service stand right above."""
        self._screen.put(*describe_failure(error, with_lines=len(self._heard) > 1))

    def close(self) -> None:
        """See ``front.Display``."""
        self._screen.hide(FLUSH_S, ending=True)
