"""What happened, in words for people. Pure: messages in, styled lines out.

A line is a row of (text, style), with styles as rich names them; where nothing is styled the texts alone are the line.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

from sidecar.core.judgement import LINES_ARE_THERE
from sidecar.wire.messages import (
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

KEYS = (
    ("r", "restart"),
    ("o", "open in the browser"),
    ("l", "clear"),
    ("q", "quit"),
    ("?", "help"),
)


def describe(message: AnyNotification, unprobed: Collection[str] = ()) -> list[Line]:
    """What to tell of a notification; often nothing. Output is not told, but shown.

    Of the services ``unprobed`` it is only known that they run.
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
        case ServiceRestarting(attempt=attempt, delay_ms=delay, reason=reason):
            again = f"restarting in {duration(delay)} (attempt {attempt})"
            return [((reason.replace(LINES_ARE_THERE, ""), WARN),), ((again, ""),)]
        case ServiceState(state="unhealthy", service=name, detail=detail):
            return [((f"{name} is unhealthy: {detail or 'it failed its health check'}", WARN),)]
        case ServiceState(state="stopping", service=name, error=Failure()):
            return [((f"stopping {name}", WARN),)]  # why is told once it has ended
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
    """Why it is over, with the program's last lines if they are wanted."""
    lines: list[Line] = [((error.message.replace(LINES_ARE_THERE, ""), BAD),)]
    last = error.data.get("lines")
    if with_lines and isinstance(last, list | tuple) and last:
        lines.append((("Its last lines:", ""),))
        lines.extend(((f"    {line}", DIM),) for line in last)
    return lines


def describe_keys() -> list[Line]:
    """The help."""
    return [*(((f"{key}  ", NAME), (what, "")) for key, what in KEYS), (("Ctrl-C  ", NAME), ("end it", ""))]


def _swept(report: SupervisorSwept) -> list[Line]:
    count = len(report.processes)
    told: list[Line] = []
    if count:
        what = "1 process" if count == 1 else f"{count} processes"
        told.append(((f"ended {what} that an earlier run, which was killed, had left", WARN),))
    return [*told, *(((problem, WARN),) for problem in report.problems)]


def duration(ms: int) -> str:
    """Milliseconds for people."""
    return f"{ms} ms" if ms < SECOND_MS else f"{ms / SECOND_MS:.1f} s"


def uptime(seconds: float) -> str:
    """The same for what takes long."""
    whole = int(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"


def size(count: int) -> str:
    """Bytes for people."""
    amount = count / KILO
    for unit in ("kB", "MB"):
        if amount < KILO:
            return f"{amount:.0f} {unit}"
        amount /= KILO
    return f"{amount:.1f} GB"
