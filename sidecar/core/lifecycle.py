"""A service's whole life in one table: (state, trigger) → next state. Any other pair cannot happen, and raises.

A service that the client wants running goes stopped → starting → ready. It may become unhealthy, and ready again. A run
ends in one of three ways: it was asked to end (stopping → stopped), another run follows (→ backingOff → starting), or
we give up (→ failed). A service leaves ``stopping`` only when its whole tree is gone. Its next state then depends on
what is desired: a restart is a stop with ``running`` desired.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sidecar.errors import InternalError
from sidecar.protocol.messages import State


class Trigger(StrEnum):
    """The reason why a service changes its state."""

    START = "start"
    """The client wants it running."""
    READY = "ready"
    """The service answers for the first time in this run."""
    MISSED = "missed"
    """A health check failed."""
    HEALED = "healed"
    """A health check succeeded again."""
    STOP = "stop"
    """The client wants it stopped, or the supervisor wants this run ended."""
    RETRY = "retry"
    """The run ended. Another one follows after a delay."""
    RELAUNCH = "relaunch"
    """The next run begins."""
    END = "end"
    """The run ended as it should."""
    FAIL = "fail"
    """The run ended. No other one follows."""


TABLE: Final[dict[tuple[State, Trigger], State]] = {
    ("stopped", Trigger.START): "starting",
    ("starting", Trigger.READY): "ready",
    ("starting", Trigger.RELAUNCH): "starting",
    ("starting", Trigger.STOP): "stopping",
    ("starting", Trigger.RETRY): "backingOff",
    ("starting", Trigger.FAIL): "failed",
    ("ready", Trigger.MISSED): "unhealthy",
    ("ready", Trigger.STOP): "stopping",
    ("ready", Trigger.RETRY): "backingOff",
    ("ready", Trigger.END): "stopped",
    ("ready", Trigger.FAIL): "failed",
    ("unhealthy", Trigger.MISSED): "unhealthy",
    ("unhealthy", Trigger.HEALED): "ready",
    ("unhealthy", Trigger.STOP): "stopping",
    ("unhealthy", Trigger.RETRY): "backingOff",
    ("unhealthy", Trigger.END): "stopped",
    ("unhealthy", Trigger.FAIL): "failed",
    ("backingOff", Trigger.RELAUNCH): "starting",
    ("backingOff", Trigger.STOP): "stopped",
    ("stopping", Trigger.END): "stopped",
    ("stopping", Trigger.RELAUNCH): "starting",
    ("stopping", Trigger.RETRY): "backingOff",
    ("stopping", Trigger.FAIL): "failed",
    ("failed", Trigger.START): "starting",
    ("failed", Trigger.STOP): "stopped",
}


def next_state(state: State, trigger: Trigger) -> State:
    """Look up the next state in the table.

    Raises ``InternalError`` for a pair that is not in it. That is our own fault, never a client's or a child's.
    """
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise InternalError(f"No transition from {state} by {trigger}. Please report this.", state=state) from None
