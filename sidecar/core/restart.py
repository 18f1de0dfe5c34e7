"""Decide how often and how soon a service is started again after its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sidecar.config.services import RestartConfig


class RestartBudget:
    """At most ``limit`` restarts in a sliding window, with exponential, jittered delays between them."""

    def __init__(self, config: RestartConfig, random: Callable[[], float]) -> None:
        """``random`` returns floats in [0, 1), for the jitter."""
        self._config = config
        self._random = random
        self._taken: deque[float] = deque()
        self.attempt = 0
        """Restarts since the last reset."""

    def reset(self) -> None:
        """Forget all restarts: after a start by the client, or a long time without a crash."""
        self._taken.clear()
        self.attempt = 0

    def take(self, now: float) -> int | None:
        """Take one restart. Return the delay before it in milliseconds; ``None`` if the budget is spent."""
        window = self._config.window_ms / 1000
        while self._taken and now - self._taken[0] >= window:
            self._taken.popleft()
        if len(self._taken) >= self._config.limit:
            return None
        self._taken.append(now)
        backoff = self._config.backoff
        # the exponent has a bound, or the float would overflow after many attempts
        delay = min(backoff.initial_ms * backoff.factor ** min(self.attempt, 64), backoff.max_ms)
        self.attempt += 1
        spread = 1 + backoff.jitter * (2 * self._random() - 1)
        return min(round(delay * spread), backoff.max_ms)
