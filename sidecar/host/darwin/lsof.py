"""Who listens where, by lsof, which macOS has: its kernel's own tables need root."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

assert sys.platform != "win32"  # for mypy: no lsof there

from sidecar.host.darwin.kin import System
from sidecar.host.shared import REFUSALS, RUN_ID, command_of, plain_address
from sidecar.wire.messages import Holder

PROGRAMS: tuple[str, ...] = ("/usr/sbin/lsof", "/usr/bin/lsof")
"""Where macOS has it, and for the tests where Debian has it: not what a project's PATH may put before it."""

BOUND_S = 10.0
"""It takes 50 ms; one that hangs (on a dead network drive) must not hang a probe for ever."""

_WILDCARDS = {"IPv4": "0.0.0.0", "IPv6": "::"}  # noqa: S104  compared, not bound


def listeners(port: int) -> list[tuple[str, int]] | None:
    """(address, pid) of each listening TCP socket on the port, as far as we may look: of this user's processes.

    ``None`` where lsof cannot be asked. Raises ``OSError`` where the system has no process or descriptor to spare.
    """
    found = _ask(f"-iTCP:{port}")
    return None if found is None else list(dict.fromkeys((address, pid) for address, _, pid in found))


def listeners_of(pids: Iterable[int]) -> list[tuple[str, int, int]] | None:
    """(address, port, pid) of each listening TCP socket that one of ``pids`` has; otherwise as ``listeners``."""
    wanted = ",".join(map(str, pids))
    return _ask("-a", "-p", wanted, "-iTCP") if wanted else []


def hides(system: System, pids: Iterable[int]) -> bool:
    """Whether lsof does not show the sockets of one of ``pids`` to us: the process has become another user's."""
    for pid in pids:
        try:
            system.kill(pid, 0)
        except PermissionError:
            return True
        except ProcessLookupError:
            continue  # it went since the look
    return False


def _ask(*which: str) -> list[tuple[str, int, int]] | None:
    for program in PROGRAMS:
        # -nP: no names for addresses and ports, -b: nothing that may block; -F: one field a line, p before its t and n
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
            return None  # EACCES, EPERM: a sandbox that does not let us run it
        # it ends with 1 where it finds nothing, and where it fails: then it says why
        return None if told.stderr and not told.stdout else parse(told.stdout)
    return None


def holder_of(system: System, port: int, own_run_id: str | None = None) -> Holder | None:
    """Who listens on the port. Of another user's process nothing is shown, and nobody is named."""
    import psutil

    try:
        found = listeners(port) or []
    except OSError:
        return None  # EAGAIN, EMFILE: no look is possible now, and the name is only told
    for _, pid in found:
        run_id = system.variable(pid, RUN_ID)
        try:
            user = psutil.Process(pid).username()
        except psutil.Error:
            continue  # it went since the look
        return Holder(pid, command_of(pid), user, ours=run_id not in {None, own_run_id})
    return None


def parse(text: str) -> list[tuple[str, int, int]]:
    """What lsof prints → (address, port, pid)."""
    found: dict[tuple[str, int, int], None] = {}  # a socket with several descriptors is listed as often
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
