"""What the end of a run means, in words for people: the error, and whether another try could help. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.config import LogReady, Probe, RestartConfig
from sidecar.core.readiness import hopeless, out_of_watches
from sidecar.errors import (
    ConfigurationError,
    PortUnavailableError,
    ServiceFailedError,
    SidecarError,
    SystemFailureError,
    TimeoutWaitingForServerError,
)
from sidecar.events import Endpoint, Probed

LINES_JUDGED = 200
"""Of so many last lines the cause is read: a stack trace may follow it."""

LINES_IN_ERROR = 40
"""So many last lines of output go into a failure: Vite's longest report of a broken configuration has thirty."""

_LOOPBACKS = ("127.0.0.1", "::1")
_ANY = ("0.0.0.0", "::")  # noqa: S104  told of others' sockets, not bound

LINES_ARE_THERE = " Its last lines are in data.lines."
"""For programs; a view that shows the lines leaves it out."""


def failed(name: str, what: str, lines: Sequence[str], advice: str | None = None) -> ServiceFailedError:
    """It failed, by ``what``; ``advice`` is what to do now, if more can be said than to read the lines."""
    advice = f" {advice}" if advice else LINES_ARE_THERE
    return ServiceFailedError(f"{name} failed: {what}.{advice}", service=name, lines=lines[-LINES_IN_ERROR:])


def step_failed(name: str, step: str, how: str, lines: Sequence[str]) -> ServiceFailedError:
    """A step before the program did not end with exit code 0; trying again would find the same."""
    return failed(name, f"its step ({step}) ended with {how}, so the program was not started", lines)


def ended_before_ready(
    name: str, how: str, lines: Sequence[str], *, code: int | None, vite: bool
) -> tuple[ServiceFailedError, bool]:
    """The error for a run that ended before it was ready, and whether another one could end better.

    ``code`` is the exit code, ``None`` for a signal. Vite never exits by itself before it serves, unless it cannot.
    """
    advice = hopeless(lines, code)
    again = advice is None and (code is None or not vite)
    if advice is None and not again:
        advice = "Vite ends so when it cannot start at all: see its last lines."
    elif advice is None and code == 0:
        advice = "Does it go into the background? Let it run in the foreground, so that it can be supervised."
    return failed(name, f"it ended with {how} before it was ready", lines, advice), again


def ended_while_ready(
    name: str, how: str, lines: Sequence[str], *, code: int | None, vite: bool
) -> tuple[ServiceFailedError, bool]:
    """The same for a run that had been ready. A Vite that was ready could start, whatever it printed since.

    Only where the system has no file watches left would the next one end, too.
    """
    advice = hopeless(lines, code)
    again = advice is None or (vite and not out_of_watches(lines))
    return failed(name, f"it ended with {how}", lines, advice), again


def port_lost(name: str, port: int, tries: int, lines: Sequence[str]) -> PortUnavailableError:
    """The port was taken between our choice and the program's bind, for the ``tries``-th time."""
    return PortUnavailableError(
        f"Port {port} was taken by another program {tries} times between our choice and the start of {name}. "
        "Choose another port in port.preferred, or end that program.",
        port=port,
        lines=lines[-LINES_IN_ERROR:],
    )


def seen(
    probe: Probe | None,
    endpoint: Endpoint | None,
    last: Probed | None,
    places: tuple[tuple[str, int], ...] | None,
) -> str:
    """What a service that is not ready yet was found to do.

    ``last`` is the readiness probe's last finding; ``places`` are the (address, port) pairs on which it listens.
    """
    if isinstance(probe, LogReady) and last is None:
        said = [f"no line of its output has matched {probe.pattern!r} yet"]
    else:
        said = [last.detail] if last is not None else []
    if endpoint is None or places is None:
        return said[0] if said else "it has not been asked yet"
    if any(port == endpoint.port and _covers(host, endpoint.host) for host, port in places):
        if isinstance(probe, LogReady) or (last is not None and last.reached):
            return said[0]
        return "it takes connections, but has not answered yet"  # a refusal is older than this look
    if last is not None and last.verdict == "down":
        said = []  # a refused connection: the sockets say more
    if places:
        told = str(endpoint.port)
        if any(port == endpoint.port for _, port in places):
            told = _place(endpoint.host, endpoint.port)
        said.append(f"it listens on {', '.join(_place(*place) for place in places)}; it was told {told}")
    else:
        said.append("it listens nowhere yet")
    return "; ".join(said)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _covers(listening: str, told: str) -> bool:
    """Whether what listens on one address is reached on the other; a name may stand for any."""
    is_name = not (told[0].isdigit() or ":" in told)
    return is_name or listening in (told, *_ANY) or (told in (*_LOOPBACKS, *_ANY) and listening in _LOOPBACKS)


def pattern_too_slow(name: str, pattern: str) -> ConfigurationError:
    """The user's pattern backtracks: it could take hours for a line."""
    return ConfigurationError(
        f"The pattern {pattern!r} of {name} (ready.pattern) takes too long to match and is not tried any more in this "
        "run. Make it simpler: leave out a .* that another one follows.",
        service=name,
    )


def timed_out(
    name: str, timeout_ms: int, url: str | None, found: str, lines: Sequence[str]
) -> TimeoutWaitingForServerError:
    """It runs and was not ready in time; ``found`` is what ``seen`` says."""
    where = f" on {url}" if url else ""
    return TimeoutWaitingForServerError(
        f"{name} runs, but was not ready{where} within {timeout_ms / 1000:g} s: {found}. "
        "If it only needs longer, raise readyTimeoutMs (in sidecar dev: --ready-timeout).",
        service=name,
        lines=lines[-LINES_IN_ERROR:],
    )


def given_up(name: str, restart: RestartConfig, last: SidecarError | None) -> ServiceFailedError:
    """The restart budget is spent; ``last`` is why the last run ended."""
    why = last.message if last else f"{name} ended."
    window_s = restart.window_ms / 1000
    match restart.limit:
        case 0:
            what = f"{name} may not be restarted (restart.limit is 0). This time"
        case 1:
            what = f"{name} was restarted once in {window_s:g} s and is given up. The last time"
        case limit:
            what = f"{name} was restarted {limit} times in {window_s:g} s and is given up. The last time"
    return ServiceFailedError(f"{what}: {why}", **(last.data if last else {}))


def not_ended(name: str, left: tuple[int, ...]) -> SystemFailureError:
    """It was to be stopped, and these have outlived SIGKILL; 0 stands for who cannot be seen."""
    who = ", ".join(f"process {pid}" if pid else "a process that is hidden from us" for pid in left)
    return SystemFailureError(
        f"{name} was killed, but {who} could not be ended: in the kernel (it waits for a disk or a network file system "
        "that does not answer), or another user's. It goes when that answers; until then its port may be held.",
        service=name,
        pids=[pid for pid in left if pid],
    )
