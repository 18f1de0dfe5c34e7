"""Who listens where, by lsof, which macOS has: its kernel's own tables need root."""

from __future__ import annotations

import subprocess
import sys

assert sys.platform != "win32"  # for mypy: no lsof there

from sidecar.host.darwin.kin import System
from sidecar.host.shared import RUN_ID, command_of
from sidecar.wire.messages import Holder

PROGRAMS = ("/usr/sbin/lsof", "/usr/bin/lsof")
"""Where macOS has it, and for the tests where Debian has it: not what a project's PATH may put before it."""

BOUND_S = 10.0
"""It takes 50 ms; one that hangs (on a dead network drive) must not hang a probe for ever."""

_WILDCARDS = {"IPv4": "0.0.0.0", "IPv6": "::"}  # noqa: S104  compared, not bound


def listeners(port: int) -> list[tuple[str, int]]:
    """(address, pid) of each listening TCP socket on the port, as far as we may look: of this user's processes."""
    for program in PROGRAMS:
        # -nP: no names for addresses and ports, -b: nothing that may block; -F: one field a line, p before its t and n
        command = [program, "-nP", "-b", "-w", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fptn"]
        try:
            told = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=False
            )
        except FileNotFoundError:
            continue
        except (OSError, subprocess.TimeoutExpired):
            return []  # EAGAIN, EMFILE: the next probe asks again
        return parse(told.stdout)
    return []


def holder_of(system: System, port: int, own_run_id: str | None = None) -> Holder | None:
    """Who listens on the port. Of another user's process nothing is shown, and nobody is named."""
    import psutil

    for _, pid in listeners(port):
        run_id = system.variable(pid, RUN_ID)
        try:
            user = psutil.Process(pid).username()
        except psutil.Error:
            continue  # it went since the look
        return Holder(pid, command_of(pid), user, ours=run_id not in {None, own_run_id})
    return None


def parse(text: str) -> list[tuple[str, int]]:
    """What lsof prints → (address, pid)."""
    found: dict[
        tuple[str, int], None
    ] = {}  # a socket that was inherited has several descriptors, and is listed as often
    pid = 0
    kind = ""
    for line in text.splitlines():
        what, value = line[:1], line[1:]
        if what == "p":
            pid = int(value)
        elif what == "t":
            kind = value
        elif what == "n":
            address = value.rpartition(":")[0].strip("[]")
            found[_WILDCARDS.get(kind, address) if address == "*" else address, pid] = None
    return list(found)
