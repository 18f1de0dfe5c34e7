"""Tell people what happened. Pure: messages in, styled lines out.

A line is a sequence of (text, style), with rich's names for styles. Plain output uses the texts alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from sidecar.protocol.messages import (
    AnyNotification,
    Failure,
    PortChanged,
    ServiceExited,
    ServiceLog,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    ServiceWaiting,
    SupervisorFault,
    SupervisorSwept,
    taken_by,
)

Line = tuple[tuple[str, str], ...]

GOOD, WARN, BAD, NAME, LINK, DIM = "bold green", "yellow", "bold red", "bold", "bold cyan", "dim"

SECOND_MS = 1_000
MINUTE_S = 60
HOUR_S = 3_600
KILO = 1_000

KEYS_FOR_ALL = (
    ("1-9, Tab", "pick a service; r, s, o and f act on it"),
    ("R", "restart all"),
    ("f", "show only this service, or all again"),
)
KEYS = (
    ("r", "restart"),
    ("s", "stop, or start"),
    ("o", "open in the browser"),
    ("l", "clear"),
    ("q", "quit"),
    ("?", "help"),
)


def describe(message: AnyNotification, unprobed: Collection[str] = ()) -> list[Line]:
    """Return the lines for a notification. Many have none, for example output, which the display shows.

    ``unprobed`` services have no probe: they run, but we do not know when they are ready.
    """
    match message:
        case ServiceReady(service=name, url=str(url)) if name in unprobed:
            return [((name, NAME), (" listens on ", ""), (url, LINK))]
        case ServiceReady(service=name) if name in unprobed:
            return [((name, NAME), (" is ", ""), ("running", GOOD))]
        case ServiceReady(service=name, url=url, elapsed_ms=elapsed):
            where: Line = ((" on ", ""), (url, LINK)) if url else ()
            return [((name, NAME), (" is ", ""), ("ready", GOOD), *where, (f" after {duration(elapsed)}", DIM))]
        case ServiceWaiting(service=name, elapsed_ms=elapsed, detail=detail):
            return [((f"{name} is not ready after {round(elapsed / SECOND_MS)} s: {detail}", WARN),)]
        case PortChanged(origin=wanted, to=port, holder=holder):
            return [((f"port {wanted} is {taken_by(holder)}; using {port} instead", WARN),)]
        case ServiceRestarting(reason=reason, cause="addressChanged"):
            return [((reason, ""),)]
        case ServiceRestarting(attempt=attempt, delay_ms=delay, reason=reason):
            again = f"restarting in {duration(delay)} (attempt {attempt})"
            return [((reason, WARN),), ((again, ""),)]
        case ServiceState(state="unhealthy", service=name, detail=detail):
            return [((f"{name} is unhealthy: {detail or 'it failed its health check'}", WARN),)]
        case ServiceState(state="stopping", service=name, error=Failure()):
            return [((f"stopping {name}", WARN),)]  # the reason follows once it has ended
        case ServiceState(service=name, waiting_for=(_, *_) as others):
            return [((f"{name} waits for {', '.join(others)}", DIM),)]
        case ServiceExited(cause="addressChanged"):
            return []  # ServiceRestarting describes it
        case ServiceExited(service=name, reason=reason, code=0) if reason != "stopped":
            return [((f"{name} has ended with exit code 0", ""),)]
        case SupervisorFault(error=error):
            return [((error.message, BAD),)]
        case SupervisorSwept():
            return _swept(message)
        case ServiceState() | ServiceExited() | ServiceLog():
            return []
        case _ as never:
            assert_never(never)


def describe_failure(error: Failure, *, with_lines: bool = True) -> list[Line]:
    """Describe a failure, with the program's last lines if ``with_lines``."""
    lines: list[Line] = [((error.message, BAD),)]
    last = error.data.get("lines")
    if with_lines and isinstance(last, list | tuple) and last:
        lines.append((("Its last lines:", ""),))
        lines.extend(((f"    {line}", DIM),) for line in last)
    return lines


def describe_keys(*, several: bool) -> list[Line]:
    """Describe the keys. Some have a meaning only if there are ``several`` services."""
    keys = (*(KEYS_FOR_ALL if several else ()), *KEYS, ("Ctrl-C", "end it"))
    return [((f"{key}  ", NAME), (what, "")) for key, what in keys]


def _swept(report: SupervisorSwept) -> list[Line]:
    count = len(report.processes)
    told: list[Line] = []
    if count:
        what = "1 process" if count == 1 else f"{count} processes"
        told.append(((f"ended {what} left over from an earlier run that was killed", WARN),))
    return [*told, *(((problem, WARN),) for problem in report.problems)]


def duration(ms: int) -> str:
    """Write milliseconds for people."""
    return f"{ms} ms" if ms < SECOND_MS else f"{ms / SECOND_MS:.1f} s"


def uptime(seconds: float) -> str:
    """Write a long time for people."""
    whole = int(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"


def size(count: int) -> str:
    """Write a number of bytes for people."""
    amount = count / KILO
    for unit in ("kB", "MB"):
        if amount < KILO:
            return f"{amount:.0f} {unit}"
        amount /= KILO
    return f"{amount:.1f} GB"
