"""Listening sockets and their owners on macOS: from the kernel's table of TCP sockets, and from lsof.

The table (sysctl ``net.inet.tcp.pcblist_n``, which netstat reads, too) has the sockets of all users. It needs no root,
and costs two system calls. It names one process for each socket: the last one that has bound it, listened on it or
accepted from it. Others may have the same socket, and the named one may be dead. So the table can prove that a listener
is ours, or that there is none. For everything else we ask lsof. That costs a process and 50 ms, but names every process
of this user that has the socket.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection

assert sys.platform != "win32"  # for mypy: users

from sidecar.host.darwin import lsof
from sidecar.host.darwin.lineage import Listener, System
from sidecar.host.shared import RUN_ID, command_of, plain_address
from sidecar.protocol.messages import Holder

# The numbers below are from xnu-11417 (macOS 15.5), and the same in xnu-8792 (macOS 13). Structs are packed to 4 bytes.
XSO_SOCKET = 0x001
XSO_INPCB = 0x010
XSO_TCPCB = 0x020
"""bsd/sys/socketvar.h:495 to 500: the kinds of the records. Each socket has one of each, not in this order."""

_GENERATION = struct.Struct("=II16x")
"""struct xinpgen (bsd/netinet/in_pcb.h:520), before and after the records: its length, and the number of sockets."""
_HEAD = struct.Struct("=II")
"""Each record: its length, its kind. The next one begins at a multiple of 8 bytes (bsd/netinet/in_pcblist.c:95)."""
_INPCB = struct.Struct("=18x2s24xB19x16s")
"""struct xinpcb_n (bsd/netinet/in_pcb.h:485): the local port in network byte order, the version, the local address."""
_SOCKET = struct.Struct("=64xIi")
"""struct xsocket_n (bsd/sys/socketvar.h:506): the user, and the last process that acted on it."""
_TCPCB = struct.Struct("=36xi")
"""struct xtcpcb_n (bsd/netinet/tcp_var.h:1609): the state."""

_LEAST = {XSO_INPCB: _INPCB.size, XSO_SOCKET: _SOCKET.size, XSO_TCPCB: _TCPCB.size}

_INP_IPV6 = 0x2
"""bsd/netinet/in_pcb.h:533"""
_TCPS_LISTEN = 1
"""bsd/netinet/tcp_fsm.h:76"""


def parse(data: bytes) -> list[Listener]:
    """Parse the table, and return its listening sockets. Raises ``ValueError`` if ``data`` is not such a table."""
    try:
        if _GENERATION.unpack_from(data)[0] != _GENERATION.size:
            raise ValueError("it begins with something else")
        found: list[Listener] = []
        at = _GENERATION.size
        parts: dict[int, int] = {}
        while at < len(data):
            length, kind = _HEAD.unpack_from(data, at)
            if length == _GENERATION.size:
                return found  # the same struct as at the beginning: the end
            if length < _LEAST.get(kind, _HEAD.size) or at + length > len(data):
                raise ValueError("a record is shorter than what is read of it")
            if kind == XSO_INPCB:
                parts = {}
            parts[kind] = at
            if kind == XSO_TCPCB and _TCPCB.unpack_from(data, at)[0] == _TCPS_LISTEN:
                found.append(_listener(data, parts))
            at += -(-length // 8) * 8
    except (struct.error, KeyError) as error:
        raise ValueError(f"its records have another layout: {error}") from None
    raise ValueError("it has no end")


def _listener(data: bytes, parts: dict[int, int]) -> Listener:
    port, version, address = _INPCB.unpack_from(data, parts[XSO_INPCB])
    user, pid = _SOCKET.unpack_from(data, parts[XSO_SOCKET])
    if version & _INP_IPV6:
        text = plain_address(socket.inet_ntop(socket.AF_INET6, address))
    else:
        text = socket.inet_ntop(socket.AF_INET, address[-4:])
    return text, int.from_bytes(port, "big"), pid, user


def listeners(system: System, port: int) -> list[tuple[str, int]]:
    """Return (address, pid) of each listening socket on the port, as far as the system tells.

    Raises ``OSError`` if the system has no process or descriptor to spare.
    """
    table = system.listeners()
    if table is None:
        return lsof.listeners(port) or []
    return [(address, pid) for address, number, pid, _ in table if number == port]


def last_of(table: list[Listener], port: int) -> list[tuple[str, int]]:
    """Return (address, pid) of each listening socket on the port. The pid is 0 if the socket is another user's.

    Such a socket's pid proves nothing: its process may be dead, and the user could wait until one of ours gets the pid.
    """
    me = os.geteuid()
    return [(address, pid if user == me else 0) for address, number, pid, user in table if number == port]


def listeners_of(system: System, pids: Collection[int]) -> list[tuple[str, int, int]] | None:
    """Return (address, port, pid) of each listening socket of ``pids``, as far as we may look; else ``None``.

    Raises ``OSError`` if the system has no process or descriptor to spare.
    """
    table = system.listeners()
    if table is not None:
        me = os.geteuid()
        ours = [(address, port, pid) for address, port, pid, user in table if pid in pids and user == me]
        # if the last process of a socket is dead, another process has inherited the socket, perhaps one of ours
        if all(it[2] in pids or it[3] != me or lives(system, it[2]) for it in table):
            return ours
    return lsof.listeners_of(pids)


def lives(system: System, pid: int) -> bool:
    """Tell whether a living process has the pid. The kernel's own sockets have pid 0."""
    if pid == 0:
        return True
    process = system.read(pid)
    return process is not None and not process.dead


def holder_of(system: System, port: int, own_run_id: str | None = None) -> Holder | None:
    """Return what listens on the port. The table also names another user's process, which lsof does not show."""
    for _, number, pid, user in system.listeners() or ():
        if number == port and pid != 0 and lives(system, pid):
            run_id = system.variable(pid, RUN_ID)
            return Holder(pid, command_of(pid), _name_of(user), ours=run_id not in {None, own_run_id})
    return lsof.holder_of(system, port, own_run_id)


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)  # the directory service does not answer
