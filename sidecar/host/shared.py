"""What is the same on every system. The guard loads this before it forks, so it imports nothing heavy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping

TYPE_CHECKING = False  # see sidecar.errors

RUN_ID = "SIDECAR_RUN_ID"
"""The cookie: every process of a run has it in its environment."""

SERVICE = "SIDECAR_SERVICE"

COMMAND_SHOWN = 200
"""How many characters of a process's command line are shown."""

CONNECT_S = 1.0
"""The bound for a connection to this machine itself, whose kernel answers at once."""

UNWATCHED = 0
"""Stands in place of the app's pid: no process is watched. No program has this pid."""

REFUSALS = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The system has no process, descriptor or memory to spare."""

if TYPE_CHECKING:
    from typing import TypeVar

    _Listener = TypeVar("_Listener", bound=tuple[object, ...])


def reached_at(table: Iterable[_Listener], address: str) -> list[_Listener]:
    """Return the listeners that a connection to ``address`` reaches. An exact address wins over a wildcard."""
    found = list(table)
    wildcards = ("::",) if ":" in address else ("0.0.0.0", "::")  # noqa: S104  compared, not bound
    at_each = ([it for it in found if it[0] == bound] for bound in (address, *wildcards))
    return next((there for there in at_each if there), [])


def could_take(table: Iterable[_Listener], address: str) -> list[_Listener]:
    """Return the listeners that a connection to ``address`` may reach, now or after other listeners have closed.

    The tables do not say whether a socket on ``::`` takes IPv4, too. We assume that it does.
    """
    bounds = {address, "::"} if ":" in address else {address, "0.0.0.0", "::"}  # noqa: S104  compared, not bound
    return [it for it in table if it[0] in bounds]


def takes_connections(address: str, port: int) -> bool:
    """Tell whether anything listens there."""
    import socket  # the guard loads this module, and needs no sockets

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_S)
        try:
            sock.connect((address, port))
        except TimeoutError:
            return True  # something listens: its backlog is full, or a packet filter drops the packets
        except OSError:
            return False  # ECONNREFUSED; EADDRNOTAVAIL, ENETUNREACH: there is no such address
    return True


def plain_address(address: str) -> str:
    """Turn an IPv4 address in IPv6 notation (``::ffff:127.0.0.1``, as Java binds it) into plain IPv4."""
    mapped = address.startswith("::ffff:") and "." in address
    return address.removeprefix("::ffff:") if mapped else address


def child_environment(own: Mapping[str, str], marks: Mapping[str, str]) -> dict[str, str]:
    """Make a program's whole environment: ours, its ``own``, and our ``marks``.

    Python buffers what it prints to a pipe until it has 8 kB. A small server's output would never be seen, so we set
    PYTHONUNBUFFERED. If the user sets this variable, even to an empty value, the user's value wins.
    """
    return {"PYTHONUNBUFFERED": "1", **os.environ, **own, **marks}


def command_of(pid: int) -> str | None:
    """Return the process's command line, shortened; ``None`` if the process is gone, or hidden from us."""
    import psutil  # loaded here, so that a start does not wait for it

    try:
        return " ".join(psutil.Process(pid).cmdline())[:COMMAND_SHOWN] or None
    except (psutil.Error, OSError):
        return None  # it is gone, or hidden from us; OSError: macOS says ENOMEM while the arguments change


def cannot_start(error: OSError) -> str:
    """Make the message for a start that the system refuses for want of processes, descriptors or memory."""
    return (
        f"the sidecar cannot start: {error.strerror}. Raise the limits of this user or container (ulimit -n, "
        "ulimit -u, pids.max), or free some memory, then start it again"
    )
