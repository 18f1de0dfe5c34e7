"""The status lines, one per service: a spinner until it is ready, then state, port, uptime, restarts and memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from msgspec import Struct, structs

from sidecar.protocol.messages import (
    AnyNotification,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    State,
)
from sidecar.terminal.messages import BAD, DIM, GOOD, LINK, MINUTE_S, NAME, WARN, Line, size, uptime
from sidecar.terminal.style import Style
from sidecar.terminal.tty import in_foreground

SPIN_S = 0.1
"""Between two frames of the spinner, which turns while a service starts or stops."""

TICK_S = 1.0
"""Between two redraws in the first minute, while the uptime shows seconds."""

IDLE_S = 10.0
"""Between two redraws later, when the uptime shows minutes."""

MEMORY_S = 5.0
"""At least this long between two measurements of memory, because one reads all of /proc."""

COMPACT = 60
"""On a terminal narrower than this, a line has only the service, its state and its port."""

READY = "ready"

STYLES: dict[State, str] = {"ready": GOOD, "unhealthy": WARN, "backingOff": WARN, "failed": BAD}


class Shown(Struct, frozen=True):
    """The content of a line. It is replaced as a whole, because one thread writes it and another reads it."""

    service: str
    state: State = "starting"
    url: str | None = None
    port: int | None = None
    ready_at: float | None = None
    restarts: int = 0
    memory: int | None = None
    when_ready: str = READY
    """The word for the state ``ready``: "running" for a service without a probe, "done" for a task."""

    @property
    def page(self) -> str | None:
        """The URL while the service is ready. At any other time another program may listen there."""
        return self.url if self.state == "ready" and self.ready_at is not None else None

    @property
    def spins(self) -> bool:
        """Whether the service is between two states."""
        return self.state in {"starting", "backingOff", "stopping"}


class StatusLines:
    """See ``screen.Bar``. One service is chosen; the keys act on it."""

    def __init__(
        self, services: Mapping[str, str], chosen: str, fd: int, measure: Callable[[], None], *, keys: bool
    ) -> None:
        """Draw on the terminal ``fd``. ``services`` maps each service to its ``when_ready``.

        ``measure`` causes a call of ``remember`` soon. ``keys`` says whether keys work.
        """
        self.chosen = chosen
        self._shown = {name: Shown(name, when_ready=word) for name, word in services.items()}
        self._fd = fd
        self._measure = measure
        self._hint: Line = (("  ? help", DIM),) if keys else ()
        self._measured_at = 0.0
        self._turn = 0

    # ── the loop's side ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def services(self) -> tuple[str, ...]:
        """All services, in the order of the lines."""
        return tuple(self._shown)

    def of(self, service: str) -> Shown:
        """Return the content of a service's line."""
        return self._shown[service]

    def follow(self, message: AnyNotification) -> bool:
        """Take a notification; return whether it changes a line."""
        if not isinstance(message, ServiceReady | ServiceRestarting | ServiceState):
            return False
        shown = self._shown[message.service]
        match message:
            case ServiceState(state="backingOff", port=port):
                # only ServiceRestarting says that another run follows: sidecar dev may end instead
                shown = structs.replace(shown, port=port, ready_at=None, memory=None)
            case ServiceState(state=state, port=port):
                at = shown.ready_at if state in {"ready", "unhealthy"} else None
                memory = shown.memory if at is not None else None
                shown = structs.replace(shown, state=state, port=port, ready_at=at, memory=memory)
            case ServiceReady(url=url):
                at = shown.ready_at
                if at is not None:
                    url = shown.url or url  # keep the first: a program without a probe may listen on several ports
                shown = structs.replace(shown, url=url, ready_at=at or time.monotonic())
            case ServiceRestarting():
                shown = structs.replace(shown, state="backingOff", restarts=shown.restarts + 1)
        self._shown[message.service] = shown
        return True

    def count_restart(self, service: str) -> None:
        """Count a restart that a person has asked for."""
        shown = self._shown[service]
        self._shown[service] = structs.replace(shown, restarts=shown.restarts + 1)

    def remember(self, service: str, memory: int | None) -> None:
        """Take the memory that ``measure`` found."""
        shown = self._shown[service]
        if shown.ready_at is not None:
            self._shown[service] = structs.replace(shown, memory=memory)

    # ── the writer's side ────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, style: Style, columns: int, most: int) -> list[str]:
        """Return the lines as of now: at most ``most``, each shorter than the terminal is wide."""
        now = time.monotonic()
        all_shown = list(self._shown.values())
        if now - self._measured_at >= MEMORY_S and any(each.ready_at is not None for each in all_shown):
            self._measured_at = now
            self._measure()
        self._turn += any(each.spins for each in all_shown)
        frame = style.frames[self._turn % len(style.frames)]
        compact = columns < COMPACT
        wide = max(map(len, self._shown)) if len(all_shown) > 1 else 0
        first = _first_shown(list(self._shown).index(self.chosen), len(all_shown), most)
        lines: list[Line] = []
        for number, shown in list(enumerate(all_shown, 1))[first : first + most]:
            mark = frame if shown.spins else style.glyphs.dot
            line = status_parts(shown, mark, now, compact=compact, wide=wide)
            if len(all_shown) > 1:
                arrow = style.glyphs.chosen if shown.service == self.chosen else " "
                line = ((f"{arrow}{number} ", NAME), *line)
            lines.append(line)
        if hidden := len(all_shown) - len(lines):
            lines[-1] = (*lines[-1], (f"  +{hidden}", DIM))
        lines[-1] = (*lines[-1], *self._hint)
        return [style.fit(line, columns - 1) for line in lines]

    def pace(self) -> float:
        """Return the time until the next redraw, if nothing happens before."""
        all_shown = list(self._shown.values())
        if any(each.spins for each in all_shown):
            return SPIN_S
        now = time.monotonic()
        young = any(each.ready_at is not None and now - each.ready_at < MINUTE_S for each in all_shown)
        return TICK_S if young else IDLE_S

    def allowed(self) -> bool:
        """Tell whether we may draw on the terminal."""
        return in_foreground(self._fd)


def _first_shown(chosen: int, count: int, most: int) -> int:
    """Return the first line to show if there is no room for all. The chosen one is always shown."""
    return max(0, min(chosen - most // 2, count - most))


def status_parts(shown: Shown, mark: str, now: float, *, compact: bool = False, wide: int = 0) -> Line:
    """Return the parts of a line; the last ones are cut first. The name takes ``wide`` characters."""
    state: str = "restarting" if shown.state == "backingOff" else shown.state
    if state == "ready":
        state = shown.when_ready
    parts = [(f"{mark} ", STYLES.get(shown.state, "cyan")), (f"{shown.service:<{wide}} {state}", NAME)]
    if compact:
        if shown.port:
            parts.append((f" :{shown.port}", LINK if shown.page else ""))
        return tuple(parts)
    if shown.page:
        parts.append((f"  {shown.page}", LINK))
    elif shown.port:
        parts.append((f"  port {shown.port}", ""))
    if shown.ready_at is not None:
        parts.append((f"  up {uptime(now - shown.ready_at)}", ""))
    parts.append((f"  restarts {shown.restarts}", WARN if shown.restarts else DIM))
    if shown.memory is not None:
        parts.append((f"  {size(shown.memory)}", ""))
    return tuple(parts)
