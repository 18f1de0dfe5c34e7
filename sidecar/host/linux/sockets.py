"""Listening sockets and their owners on Linux: from the kernel's tables and the processes' descriptors (proc(5))."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.names import user_name
from sidecar.host.linux.processes import all_processes, raise_if_blind, variable
from sidecar.host.shared import RUN_ID, command_of, plain_address
from sidecar.protocol.messages import Holder

TABLES = (("/proc/self/net/tcp", socket.AF_INET), ("/proc/self/net/tcp6", socket.AF_INET6))
_LISTEN = "0A"


def listeners(port: int) -> list[tuple[str, str, int]]:
    """Return (address, inode, uid) of each listening TCP socket on the port; none if the tables cannot be read."""
    return [(at, inode, uid) for at, number, inode, uid in all_listeners() or () if number == port]


def all_listeners() -> list[tuple[str, int, str, int]] | None:
    """Return (address, port, inode, uid) of each listening TCP socket in this network namespace.

    ``None`` if we may not read the kernel's tables. Raises ``OSError`` if nothing can be read now.
    """
    found = []
    for table, family in TABLES:
        text = _read(table).decode("ascii", "replace")
        if not text and (family == socket.AF_INET or os.path.exists(table)):
            return None  # even an empty table has a head line. The table of IPv6 is missing if the kernel has no IPv6
        for line in text.splitlines()[1:]:
            fields = line.split(None, 10)
            if fields[3] == _LISTEN:
                address, _, port = fields[1].partition(":")
                found.append((_address(address, family), int(port, 16), fields[9], int(fields[7])))
    return found


def _address(text: str, family: socket.AddressFamily) -> str:
    """Decode an address. The kernel prints it as 32-bit words in its own byte order."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    return plain_address(socket.inet_ntop(family, b"".join(words)))


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of the process's sockets; none if we may not look. Raises ``OSError`` if we cannot look now."""
    found: set[str] = set()
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise_if_blind(error)
        return found  # EACCES: another user's; ENOENT: it is gone
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue  # closed since the listing
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def possibly_of(pids: Iterable[int], users: Mapping[str, int]) -> set[str]:
    """Find the sockets in ``users`` (inode → uid) that may belong to an unreadable process in ``pids``.

    If we may not read a process's descriptors, fall back to matching the socket's uid. Leave out each socket that
    another process visibly has. Raises ``OSError`` if no process can be read now.
    """
    closed = {user_of_closed(pid) for pid in pids}
    rest = {inode for inode, uid in users.items() if uid in closed}
    if rest:
        for pid in all_processes():
            rest -= sockets_of(pid)
    return rest


def user_of_closed(pid: int) -> int | None:
    """Return the process's effective uid if we may not read its descriptors; ``None`` if we may.

    The kernel hides them even from the process's own user if the program has file capabilities (``setcap`` on node, for
    a port below 1,024), see ptrace(2). It hides them from all but root if the process has become another user's.
    """
    try:
        os.readlink(f"/proc/{pid}/exe")  # the kernel checks the same permission as for the descriptors
    except PermissionError:
        status = _read(f"/proc/{pid}/status").partition(b"\nUid:")[2].split()
        return int(status[1]) if status else None
    except OSError as error:
        raise_if_blind(error)  # ENOENT, ESRCH: it is gone
    return None


def _read(path: str) -> bytes:
    """Read a small file in /proc; empty if it is gone, or we may not read it."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise_if_blind(error)
        return b""  # ENOENT, ESRCH: the process is gone; EACCES: another user's


def holder_of(port: int, own_run_id: str | None = None) -> Holder | None:
    """Return what listens on the port. The kernel's table has the user, but the process may be hidden from us."""
    found = listeners(port)
    if not found:
        return None
    inodes = {inode for _, inode, _ in found}
    user = user_name(found[0][2])
    for pid in all_processes():
        if inodes & sockets_of(pid):
            run_id = variable(pid, RUN_ID)
            return Holder(pid, command_of(pid), user, ours=run_id not in {None, own_run_id})
    return Holder(user=user)
