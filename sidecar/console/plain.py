"""The view without a status line and keys: lines only."""

from __future__ import annotations

from collections.abc import Collection

from sidecar.console.front import FLUSH_S
from sidecar.console.screen import Screen
from sidecar.console.words import NAME, describe, describe_failure
from sidecar.events import Output
from sidecar.wire.messages import AnyNotification, Failure, ServiceExited, ServiceState, State


class PlainDisplay:
    """Lines only."""

    def __init__(self, screen: Screen, unprobed: Collection[str] = ()) -> None:
        """Write to ``screen``. Of the services ``unprobed`` it is only known that they run."""
        self._screen = screen
        self._unprobed = unprobed
        self._states: dict[str, State] = {}
        self._heard: set[str] = set()
        """The services whose output has been shown."""

    def show(self, message: AnyNotification) -> None:
        """See ``front.Display``."""
        match message:
            case ServiceExited(service=name) if self._states.get(name) == "starting":
                return  # it has failed, and that is told next, with how it ended
            case ServiceState(service=name, state=state):
                if state == "ready" and self._states.get(name) == "unhealthy":
                    self._screen.put(((name, NAME), (" answers again", "")))
                self._states[name] = state
            case _:
                pass
        self._screen.put(*describe(message, self._unprobed))

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
