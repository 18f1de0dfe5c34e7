"""The requests that wait for a service to be ready or gone. Each is answered exactly once."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from sidecar.core.events import Effect, Refuse, Reply
from sidecar.errors import SidecarError
from sidecar.protocol.messages import Id, Result, ServiceResult
from sidecar.protocol.rpc import failure


class Caller:
    """The sender of one request. It gets one answer; or none, if the request had no id."""

    def __init__(self, call: Id | UnsetType, out: Callable[[Effect], None]) -> None:
        """``call`` is the request's id. ``out`` gets the answer."""
        self._call = call
        self._out = out

    @property
    def waits(self) -> bool:
        """Whether an answer is expected."""
        return self._call is not UNSET

    def reply(self, result: Result) -> None:
        """Answer with a result."""
        if self._call is not UNSET:
            self._out(Reply(self._call, result))

    def refuse(self, error: SidecarError) -> None:
        """Answer with an error."""
        if self._call is not UNSET:
            self._out(Refuse(self._call, failure(error)))


US = Caller(UNSET, lambda _effect: None)
"""The supervisor itself, which expects no answer."""


class PendingRequests:
    """The callers that wait for one service."""

    def __init__(self) -> None:
        """Start with none."""
        self._starts: list[Caller] = []
        self._stops: list[Caller] = []

    def for_start(self, caller: Caller) -> None:
        """Add a caller, to be answered when the service is ready or has failed."""
        self._starts.append(caller)

    def for_stop(self, caller: Caller) -> None:
        """Add a caller, to be answered when nothing of the service is left."""
        self._stops.append(caller)

    def started(self, result: ServiceResult) -> None:
        """Answer the callers that wait for the start."""
        callers, self._starts = self._starts, []
        for caller in callers:
            caller.reply(result)

    def not_started(self, error: SidecarError) -> None:
        """Refuse the callers that wait for the start."""
        callers, self._starts = self._starts, []
        for caller in callers:
            caller.refuse(error)

    def stopped(self, result: ServiceResult) -> None:
        """Answer the callers that wait for the stop."""
        callers, self._stops = self._stops, []
        for caller in callers:
            caller.reply(result)

    def not_stopped(self, error: SidecarError) -> None:
        """Refuse the callers that wait for the stop."""
        callers, self._stops = self._stops, []
        for caller in callers:
            caller.refuse(error)
