"""Explain the end of a run to people: the error, and whether another try could help. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.config.groups import names_address
from sidecar.config.services import LogReady, Probe, RestartConfig
from sidecar.core.events import Endpoint, Probed
from sidecar.core.readiness import hopeless, out_of_watches
from sidecar.errors import (
    ConfigurationError,
    DependencyFailedError,
    PortUnavailableError,
    ServiceFailedError,
    SidecarError,
    SupersededError,
    SystemFailureError,
    TimeoutWaitingForServerError,
)
from sidecar.protocol.rpc import failure

LINES_JUDGED = 200
"""Number of trailing log lines that are searched for a cause. A stack trace may follow the cause."""

LINES_IN_ERROR = 40
"""Number of trailing log lines in an error. Vite's longest report of a broken configuration has thirty."""

_LOOPBACKS = ("127.0.0.1", "::1")
_ANY = ("0.0.0.0", "::")  # noqa: S104  compared, not bound


def failed(name: str, what: str, lines: Sequence[str], advice: str | None = None) -> ServiceFailedError:
    """Make the error for a failure; ``what`` is its cause. ``advice`` says what to do besides reading the lines."""
    return ServiceFailedError(f"{name} failed: {what}.", advice or "", service=name, lines=lines[-LINES_IN_ERROR:])


def step_failed(name: str, step: str, how: str, lines: Sequence[str]) -> ServiceFailedError:
    """Make the error for a step that did not end with exit code 0. Another try would end the same."""
    return failed(name, f"its step ({step}) ended with {how}, so the program was not started", lines)


def ended_before_ready(
    name: str, how: str, lines: Sequence[str], *, code: int | None, vite: bool
) -> tuple[ServiceFailedError, bool]:
    """Make the error for a run that ended before it was ready. Return also whether another run could end better.

    ``code`` is the exit code; ``None`` means a signal. If Vite exits by itself before it serves, it could not start.
    """
    advice = hopeless(lines, code)
    again = advice is None and (code is None or not vite)
    if advice is None and not again:
        advice = "Vite ends like this when it cannot start at all. See its last lines."
    elif advice is None and code == 0:
        advice = "Does it go into the background? Let it run in the foreground, so that it can be supervised."
    return failed(name, f"it ended with {how} before it was ready", lines, advice), again


def ended_while_ready(
    name: str, how: str, lines: Sequence[str], *, code: int | None, vite: bool
) -> tuple[ServiceFailedError, bool]:
    """Make the error for a run that had been ready. Return also whether another run could end better.

    A Vite that was ready can start again, whatever it has printed, unless the system has no file watches left.
    """
    advice = hopeless(lines, code)
    again = advice is None or (vite and not out_of_watches(lines))
    return failed(name, f"it ended with {how}", lines, advice), again


def task_failed(name: str, how: str, lines: Sequence[str], *, code: int | None) -> tuple[ServiceFailedError, bool]:
    """Make the error for a task that did not end with exit code 0."""
    advice = hopeless(lines, code)
    return failed(name, f"it ended with {how}", lines, advice), advice is None


def port_lost(name: str, port: int, tries: int, lines: Sequence[str]) -> PortUnavailableError:
    """Make the error for a port that was taken between our choice and the program's bind, ``tries`` times in a row."""
    return PortUnavailableError(
        f"Port {port} was taken by another program {tries} times between our choice and the start of {name}.",
        "Choose another port in port.preferred, or end that program.",
        service=name,
        port=port,
        lines=lines[-LINES_IN_ERROR:],
    )


def seen(
    probe: Probe | None,
    endpoint: Endpoint | None,
    last: Probed | None,
    places: tuple[tuple[str, int], ...] | None,
) -> str:
    """Describe what a service that is not ready yet is doing.

    ``last`` is the last result of the readiness probe. ``places`` are the (address, port) pairs on which it listens.
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
        return "it takes connections, but has not answered yet"  # the probe was refused before it listened
    if last is not None and last.verdict == "down":
        said = []  # its sockets say more than the refused connection
    if places:
        told = str(endpoint.port)
        if any(port == endpoint.port for _, port in places):
            told = _place(endpoint.host, endpoint.port)
        itself = isinstance(probe, LogReady) and names_address(probe.pattern)
        word = "it said that it listens on" if itself else "it was told"
        said.append(f"it listens on {', '.join(_place(*place) for place in places)}; {word} {told}")
    else:
        said.append("it listens nowhere yet")
    return "; ".join(said)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _covers(listening: str, told: str) -> bool:
    """Tell whether a client of ``told`` reaches the socket on ``listening``. A name may mean any address."""
    is_name = not (told[0].isdigit() or ":" in told)
    return is_name or listening in (told, *_ANY) or (told in (*_LOOPBACKS, *_ANY) and listening in _LOOPBACKS)


def pattern_too_slow(name: str, pattern: str) -> ConfigurationError:
    """Make the error for a user's pattern that backtracks: it could take hours for a line."""
    return ConfigurationError(
        f"The pattern {pattern!r} of {name} (ready.pattern) takes too long to match and is not tried any more in this "
        "run.",
        "Make it simpler: leave out a .* that another one follows.",
        service=name,
    )


def timed_out(
    name: str, timeout_ms: int, url: str | None, found: str, lines: Sequence[str]
) -> TimeoutWaitingForServerError:
    """Make the error for a service that runs but was not ready in time. ``found`` is the result of ``seen``."""
    where = f" on {url}" if url else ""
    return TimeoutWaitingForServerError(
        f"{name} runs, but was not ready{where} within {timeout_ms / 1000:g} s: {found}.",
        "If it only needs longer, raise readyTimeoutMs (in sidecar dev: --ready-timeout).",
        service=name,
        lines=lines[-LINES_IN_ERROR:],
    )


def dependency_failed(name: str, dependency: str, cause: SidecarError | None) -> DependencyFailedError:
    """Make the error for a service that was not launched: its ``dependency`` has failed by ``cause``, or is stopped."""
    cause = cause or SupersededError(f"{dependency} is stopped.", service=dependency)
    return DependencyFailedError(
        f"{name} was not started, as it depends on {dependency}: {cause.problem}",
        f"When that is mended, start {name} again.",
        service=name,
        dependency=dependency,
        cause=failure(cause),
    )


def given_up(name: str, restart: RestartConfig, last: SidecarError | None) -> ServiceFailedError:
    """Make the error for a spent restart budget. ``last`` says why the last run ended."""
    why = last.message if last else f"{name} ended."
    window_s = restart.window_ms / 1000
    match restart.limit:
        case 0:
            what = f"{name} may not be restarted (restart.limit is 0). This time"
        case 1:
            what = f"{name} was restarted once in {window_s:g} s and is given up. The last time"
        case limit:
            what = f"{name} was restarted {limit} times in {window_s:g} s and is given up. The last time"
    data = last.data if last else {}
    if "reason" in data:
        data = {**data, "reason": f"{what}: {data['reason']}"}
    return ServiceFailedError(f"{what}: {why}", **data)


def not_ended(name: str, left: tuple[int, ...]) -> SystemFailureError:
    """Make the error for a stop whose processes in ``left`` survived SIGKILL. 0 stands for a hidden process."""
    who = ", ".join(f"process {pid}" if pid else "a process that is hidden from us" for pid in left)
    return SystemFailureError(
        f"{name} was killed, but {who} could not be ended. Such a process belongs to another user, or hangs in the "
        "kernel until a disk or a network file system answers. Until it ends, its port may stay taken.",
        service=name,
        pids=[pid for pid in left if pid],
    )
