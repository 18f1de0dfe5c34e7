"""The view without a status line and keys: lines only."""

from __future__ import annotations

from sidecar.console.front import FLUSH_S
from sidecar.console.screen import Screen
from sidecar.console.words import describe, describe_failure
from sidecar.events import Output
from sidecar.wire.messages import AnyNotification, Failure


class PlainDisplay:
    """Lines only."""

    def __init__(self, screen: Screen) -> None:
        """Write to ``screen``."""
        self._screen = screen

    def show(self, message: AnyNotification) -> None:
        """See ``front.Display``."""
        self._screen.put(*describe(message))

    def relay(self, output: Output) -> None:
        """See ``front.Display``."""
        self._screen.put_output(output)

    def fail(self, error: Failure) -> None:
        """See ``front.Display``."""
        self._screen.put(*describe_failure(error))

    def close(self) -> None:
        """See ``front.Display``."""
        self._screen.hide(FLUSH_S, ending=True)
