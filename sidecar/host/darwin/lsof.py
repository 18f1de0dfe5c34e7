"""Listening sockets and their owners by lsof, for this user's processes. See ``sockets`` for when lsof is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

assert sys.platform != "win32"  # for mypy: no lsof there

from sidecar.host.darwin.lineage import System
from sidecar.host.shared import REFUSALS, RUN_ID, command_of, plain_address
from sidecar.protocol.messages import Holder

PROGRAMS: tuple[str, ...] = ("/usr/sbin/lsof", "/usr/bin/lsof")
"""The path of lsof on macOS, and on Debian for the tests. A project's PATH could name another program."""

BOUND_S = 10.0
"""The bound for lsof. It takes 50 ms, but may hang on a dead network drive. It must not block a probe forever."""

_WILDCARDS = {"IPv4": "0.0.0.0", "IPv6": "::"}  # noqa: S104  compared, not bound


def listeners(port: int) -> list[tuple[str, int]] | None:
    """Return (address, pid) of each listening TCP socket on the port. lsof shows us only this user's processes.

    ``None`` if lsof cannot be asked. Raises ``OSError`` if the system has no process or descriptor to spare.
    """
    found = _ask(f"-iTCP:{port}")
    return None if found is None else list(dict.fromkeys((address, pid) for address, _, pid in found))


def listeners_of(pids: Iterable[int]) -> list[tuple[str, int, int]] | None:
    """Return (address, port, pid) of each listening TCP socket of ``pids``. ``None`` and errors as in ``listeners``."""
    wanted = ",".join(map(str, pids))
    return _ask("-a", "-p", wanted, "-iTCP") if wanted else []


def hides(system: System, pids: Iterable[int]) -> bool:
    """Tell whether lsof hides the sockets of one of ``pids`` from us, because it has become another user's process."""
    for pid in pids:
        try:
            system.kill(pid, 0)
        except PermissionError:
            return True
        except ProcessLookupError:
            continue  # it has ended since
    return False


def _ask(*which: str) -> list[tuple[str, int, int]] | None:
    for program in PROGRAMS:
        # -nP: no names for addresses and ports; -b: no calls that may block; -F: one field a line, p before its t and n
        command = [program, "-nP", "-b", "-w", *which, "-sTCP:LISTEN", "-Fptn"]
        try:
            told = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=False
            )
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            return None
        except OSError as error:
            if error.errno in REFUSALS:
                raise
            return None  # EACCES, EPERM: a sandbox does not let us run it
        # lsof exits with 1 if it finds nothing, and also if it fails; only a failure is written to stderr
        return None if told.stderr and not told.stdout else parse(told.stdout)
    return None


def holder_of(system: System, port: int, own_run_id: str | None = None) -> Holder | None:
    """Return what listens on the port; ``None``, too, if it is another user's process, which lsof does not show."""
    import psutil

    try:
        found = listeners(port) or []
    except OSError:
        return None  # EAGAIN, EMFILE: no look is possible now, and the holder is only for a message
    for _, pid in found:
        run_id = system.variable(pid, RUN_ID)
        try:
            user = psutil.Process(pid).username()
        except (psutil.Error, OSError):
            continue  # it has ended since; OSError: psutil passes on errors that it does not know (ENOMEM)
        return Holder(pid, command_of(pid), user, ours=run_id not in {None, own_run_id})
    return None


def parse(text: str) -> list[tuple[str, int, int]]:
    """Parse the output of lsof into (address, port, pid)."""
    found: dict[tuple[str, int, int], None] = {}  # lsof lists a socket once for each of its descriptors
    pid = 0
    kind = ""
    for line in text.splitlines():
        what, value = line[:1], line[1:]
        if what == "p":
            pid = int(value)
        elif what == "t":
            kind = value
        elif what == "n":
            address, _, port = value.rpartition(":")
            address = _WILDCARDS.get(kind, address) if address == "*" else plain_address(address.strip("[]"))
            found[address, int(port), pid] = None
    return list(found)
