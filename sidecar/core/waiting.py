"""The requests that wait for a service to come up or to be gone: each is answered exactly once."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import SidecarError
from sidecar.events import Effect, Refuse, Reply
from sidecar.wire.messages import Id, ServiceResult
from sidecar.wire.session import failure


class Waiting:
    """Keeps their ids, and gives the effects that answer them."""

    def __init__(self, out: Callable[[Effect], None]) -> None:
        """``out`` takes each effect, in order."""
        self._out = out
        self._starts: list[Id] = []
        self._stops: list[Id] = []

    def for_start(self, call: Id) -> None:
        """To be answered when the service is ready or has failed."""
        self._starts.append(call)

    def for_stop(self, call: Id) -> None:
        """To be answered when nothing of the service is left."""
        self._stops.append(call)

    def started(self, result: ServiceResult) -> None:
        """Answer who waits for the start."""
        calls, self._starts = self._starts, []
        for call in calls:
            self._out(Reply(call, result))

    def not_started(self, error: SidecarError) -> None:
        """Refuse who waits for the start."""
        calls, self._starts = self._starts, []
        self._refuse(calls, error)

    def stopped(self, result: ServiceResult) -> None:
        """Answer who waits for the stop."""
        calls, self._stops = self._stops, []
        for call in calls:
            self._out(Reply(call, result))

    def not_stopped(self, error: SidecarError) -> None:
        """Refuse who waits for the stop."""
        calls, self._stops = self._stops, []
        self._refuse(calls, error)

    def _refuse(self, calls: list[Id], error: SidecarError) -> None:
        for call in calls:
            self._out(Refuse(call, failure(error)))
