"""The status line, of one service: a spinner until ready, then state, port, uptime, restarts and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from msgspec import Struct, structs

from sidecar.console.look import Look
from sidecar.console.terminal import in_foreground
from sidecar.console.words import BAD, DIM, GOOD, LINK, MINUTE_S, NAME, WARN, Line, size, uptime
from sidecar.wire.messages import (
    AnyNotification,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    State,
)

SPIN_S = 0.1
"""Between two frames of the spinner: only at the start and at the end of a run."""

TICK_S = 1.0
"""Between two looks at the line in the first minute: the seconds of the uptime."""

IDLE_S = 10.0
"""The same later, when it shows minutes, and memory that has changed by then."""

MEMORY_S = 5.0
"""Memory is counted by reading all of /proc: no more often than this."""

NARROW = 80
"""The width to assume where the terminal does not say."""

_FOLLOWED = (ServiceReady, ServiceRestarting, ServiceState)

STYLES: dict[State, str] = {"ready": GOOD, "unhealthy": WARN, "backingOff": WARN, "failed": BAD}


class Shown(Struct, frozen=True):
    """What the line says. Replaced as a whole: one thread makes it, another reads it."""

    service: str
    state: State = "starting"
    url: str | None = None
    port: int | None = None
    ready_at: float | None = None
    restarts: int = 0
    memory: int | None = None
    probed: bool = True


class StatusLine:
    """See ``screen.Bar``."""

    def __init__(self, service: str, fd: int, measure: Callable[[], None], *, keys: bool, probed: bool = True) -> None:
        """Draw on the terminal ``fd``. ``measure`` asks for ``remember``, some time soon; ``keys`` whether any work.

        Of a service that is not ``probed`` it is only known that it runs.
        """
        self.shown = Shown(service, probed=probed)
        self._fd = fd
        self._measure = measure
        self._hint: Line = (("  ? help", DIM),) if keys else ()
        self._measured_at = 0.0
        self._turn = 0

    # ── the loop's side ──────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, message: AnyNotification) -> bool:
        """Take a notification; whether the line changes by it."""
        if isinstance(message, _FOLLOWED) and message.service != self.shown.service:
            return False
        match message:
            case ServiceState(state=state, port=port):
                at = self.shown.ready_at if state in {"ready", "unhealthy"} else None
                memory = self.shown.memory if at is not None else None
                self.shown = structs.replace(self.shown, state=state, port=port, ready_at=at, memory=memory)
            case ServiceReady(url=url):
                at = self.shown.ready_at
                if at is not None:
                    url = self.shown.url or url  # found out later: a program without a probe may listen on several
                self.shown = structs.replace(self.shown, url=url, ready_at=at or time.monotonic())
            case ServiceRestarting():
                self.count_restart()
            case _:
                return False
        return True

    def count_restart(self) -> None:
        """One more, asked for or not."""
        self.shown = structs.replace(self.shown, restarts=self.shown.restarts + 1)

    def remember(self, memory: int | None) -> None:
        """What ``measure`` found."""
        if self.shown.ready_at is not None:
            self.shown = structs.replace(self.shown, memory=memory)

    # ── the writer's side ────────────────────────────────────────────────────────────────────────────────────────────

    def text(self, look: Look) -> str:
        """The line as it is now, shorter than the terminal is wide."""
        shown, now = self.shown, time.monotonic()
        if shown.ready_at is not None and now - self._measured_at >= MEMORY_S:
            self._measured_at = now
            self._measure()
        if self._spins(shown):
            self._turn += 1
            mark = look.frames[self._turn % len(look.frames)]
        else:
            mark = look.glyphs.dot
        return look.fit((*status_parts(shown, mark, now), *self._hint), _columns(self._fd) - 1)

    def pace(self) -> float:
        """When to look again, if nothing happens."""
        shown = self.shown
        if self._spins(shown):
            return SPIN_S
        young = shown.ready_at is not None and time.monotonic() - shown.ready_at < MINUTE_S
        return TICK_S if young else IDLE_S

    def allowed(self) -> bool:
        """Whether the terminal is ours to draw on."""
        return in_foreground(self._fd)

    @staticmethod
    def _spins(shown: Shown) -> bool:
        return shown.state in {"starting", "backingOff", "stopping"}


def status_parts(shown: Shown, mark: str, now: float) -> Line:
    """The line's parts; what is last is cut first."""
    state: str = "restarting" if shown.state == "backingOff" else shown.state
    if state == "ready" and not shown.probed:
        state = "running"
    parts = [(f"{mark} ", STYLES.get(shown.state, "cyan")), (f"{shown.service} {state}", NAME)]
    if shown.ready_at is not None and shown.url:
        parts.append((f"  {shown.url}", LINK))
    elif shown.port:
        parts.append((f"  port {shown.port}", ""))
    if shown.ready_at is not None:
        parts.append((f"  up {uptime(now - shown.ready_at)}", ""))
    parts.append((f"  restarts {shown.restarts}", WARN if shown.restarts else DIM))
    if shown.memory is not None:
        parts.append((f"  {size(shown.memory)}", ""))
    return tuple(parts)


def _columns(fd: int) -> int:
    try:
        return os.get_terminal_size(fd).columns or NARROW
    except OSError:
        return NARROW  # EIO: the terminal is gone, which the next write will tell
