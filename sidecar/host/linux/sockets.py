"""Who listens where, on Linux: the kernel's socket tables and the descriptors of processes (proc(5))."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.tree import all_processes, raise_if_blind, variable
from sidecar.host.shared import RUN_ID, command_of, plain_address
from sidecar.wire.messages import Holder

TABLES = (("/proc/self/net/tcp", socket.AF_INET), ("/proc/self/net/tcp6", socket.AF_INET6))
_LISTEN = "0A"


def listeners(port: int) -> list[tuple[str, str, int]]:
    """(address, inode, uid) of each listening TCP socket on the port; none where that cannot be read."""
    return [(at, inode, uid) for at, number, inode, uid in all_listeners() or () if number == port]


def all_listeners() -> list[tuple[str, int, str, int]] | None:
    """(address, port, inode, uid) of each listening TCP socket in this network namespace.

    ``None`` where the kernel's tables cannot be read. Raises ``OSError`` where nothing can be read now.
    """
    found = []
    for table, family in TABLES:
        text = _read(table).decode("ascii", "replace")
        if not text and (family == socket.AF_INET or os.path.exists(table)):
            return None  # even an empty table has a head. IPv6's is missing where the kernel has no IPv6
        for line in text.splitlines()[1:]:
            fields = line.split(None, 10)
            if fields[3] == _LISTEN:
                address, _, port = fields[1].partition(":")
                found.append((_address(address, family), int(port, 16), fields[9], int(fields[7])))
    return found


def _address(text: str, family: socket.AddressFamily) -> str:
    """The kernel prints addresses as 32-bit words in its own byte order."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    return plain_address(socket.inet_ntop(family, b"".join(words)))


def sockets_of(pid: int) -> set[str]:
    """The inodes of the process's sockets, as far as we may look. Raises ``OSError`` where no look is possible now."""
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
    """Those of ``users`` (inode → uid) that may belong to a process of ``pids`` whose descriptors are closed to us.

    Of such a one only its user is known, so that is what a socket is judged by: and no other process that we can look
    into must have it. Raises ``OSError`` where no look is possible now.
    """
    closed = {user_of_closed(pid) for pid in pids}
    rest = {inode for inode, uid in users.items() if uid in closed}
    if rest:
        for pid in all_processes():
            rest -= sockets_of(pid)
    return rest


def user_of_closed(pid: int) -> int | None:
    """The user whom a process acts for (uid), if its descriptors are closed to us; ``None`` if they are not.

    The kernel closes them to the process's own user, too, where its program has file capabilities (``setcap`` on node,
    for a port below 1,024), see ptrace(2), and to all but root where it has become another user's.
    """
    try:
        os.readlink(f"/proc/{pid}/exe")  # the kernel asks the same as for its descriptors
    except PermissionError:
        status = _read(f"/proc/{pid}/status").partition(b"\nUid:")[2].split()
        return int(status[1]) if status else None
    except OSError as error:
        raise_if_blind(error)  # ENOENT, ESRCH: it is gone
    return None


def _read(path: str) -> bytes:
    """All of a small file in /proc; empty if it is gone or not ours to read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise_if_blind(error)
        return b""  # ENOENT, ESRCH: the process is gone; EACCES: another user's


def holder_of(port: int, own_run_id: str | None = None) -> Holder | None:
    """Who listens on the port. The user is in the kernel's table; the process can be hidden from us."""
    found = listeners(port)
    if not found:
        return None
    inodes = {inode for _, inode, _ in found}
    user = _user(found[0][2])
    for pid in all_processes():
        if inodes & sockets_of(pid):
            run_id = variable(pid, RUN_ID)
            return Holder(pid, command_of(pid), user, ours=run_id not in {None, own_run_id})
    return Holder(user=user)


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
