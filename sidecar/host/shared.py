"""What means the same on every system. Light on purpose: the guard loads this before it forks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping

TYPE_CHECKING = False  # see sidecar.errors

RUN_ID = "SIDECAR_RUN_ID"
"""The cookie: every process of a run has it in its environment."""

SERVICE = "SIDECAR_SERVICE"

COMMAND_SHOWN = 200
"""So much of a process's command line is named."""

UNWATCHED = 0
"""In the place of the app's pid: no process is watched. No program has that number."""

EXIT_APP_GONE = 3
EXIT_REFUSED = 71

REFUSALS = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The system has no process, descriptor or memory to spare."""

if TYPE_CHECKING:
    from typing import TypeVar

    _Listener = TypeVar("_Listener", bound=tuple[object, ...])


def reached_at(table: Iterable[_Listener], address: str) -> list[_Listener]:
    """Those that a connection to ``address`` reaches: the most closely bound, as the kernel chooses them."""
    found = list(table)
    wildcards = ("::",) if ":" in address else ("0.0.0.0", "::")  # noqa: S104  compared, not bound
    at_each = ([it for it in found if it[0] == bound] for bound in (address, *wildcards))
    return next((there for there in at_each if there), [])


def plain_address(address: str) -> str:
    """Turn an IPv4 address in IPv6's clothes (``::ffff:127.0.0.1``, as Java binds it) into what it is reached by."""
    mapped = address.startswith("::ffff:") and "." in address
    return address.removeprefix("::ffff:") if mapped else address


def child_environment(own: Mapping[str, str], marks: Mapping[str, str]) -> dict[str, str]:
    """A program's whole environment: ours, its ``own``, and our ``marks``.

    Python keeps what it prints to a pipe until it has 8 kB of it, so that nothing of a small server would ever be seen.
    Whoever sets the variable decides otherwise; set to nothing, too.
    """
    return {"PYTHONUNBUFFERED": "1", **os.environ, **own, **marks}


def command_of(pid: int) -> str | None:
    """Its command line, shortened; ``None`` if it is gone, or hidden from us."""
    import psutil  # loaded only where processes are looked at closely: off the way to ready

    try:
        return " ".join(psutil.Process(pid).cmdline())[:COMMAND_SHOWN] or None
    except psutil.Error:
        return None  # it is gone, or hidden from us


def cannot_start(error: OSError) -> str:
    """What to tell a person where the system gives too little for a start."""
    return (
        f"the sidecar cannot start: {error.strerror}. Raise the limits of this user or container (ulimit -n, "
        "ulimit -u, pids.max), or free some memory, then start it again"
    )
