"""The view without a status line and keys: lines only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sidecar.commands.dev.client import FLUSH_S
from sidecar.core.events import Output
from sidecar.diagnostics import docs
from sidecar.errors import ERROR_CODES
from sidecar.protocol.messages import AnyNotification, Failure, LogLine, ServiceExited, ServiceState, State
from sidecar.terminal.messages import DIM, NAME, describe, describe_failure
from sidecar.terminal.screen import Screen


class PlainDisplay:
    """Shows lines only."""

    def __init__(self, screen: Screen, unprobed: Collection[str] = ()) -> None:
        """Write to ``screen``. ``unprobed`` services have no probe: they run, but nothing says when they are ready."""
        self._screen = screen
        self._unprobed = unprobed
        self._states: dict[str, State] = {}
        self._heard: set[str] = set()
        """The services whose output has been shown."""
        self._pages: set[str] = set()
        """The pages of the documentation that were named: each once, however often a service fails."""

    def show(self, message: AnyNotification) -> None:
        """See ``client.Display``."""
        match message:
            case ServiceExited(service=name) if self._states.get(name) == "starting":
                return  # the failure comes next, and says how it ended
            case ServiceState(service=name, state=state):
                if state == "ready" and self._states.get(name) == "unhealthy":
                    self._screen.put(((name, NAME), (" answers again", "")))
                self._states[name] = state
            case _:
                pass
        self._screen.put(*describe(message, self._unprobed))

    def relay(self, output: Output) -> None:
        """See ``client.Display``."""
        self._heard.add(output.service)
        self._screen.put_output(output)

    def fail(self, error: Failure, going_on: str | None = None) -> None:
        """See ``client.Display``. If only one service has printed, its last lines are right above."""
        self._screen.put(*describe_failure(error, with_lines=len(self._heard) > 1))
        page = docs("errors", ERROR_CODES[error.code])
        if page not in self._pages:
            self._pages.add(page)
            self._screen.put(((page, DIM),))
        if going_on is not None:
            self._screen.put(((f"pick {going_on} and press r to start it again", DIM),))

    def replay(self, service: str, lines: Sequence[LogLine]) -> None:
        """See ``client.Display``. Lines are never hidden here."""

    def close(self) -> None:
        """See ``client.Display``."""
        self._screen.hide(FLUSH_S, ending=True)
