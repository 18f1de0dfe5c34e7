"""Does our server answer? One attempt, and the paced loop that waits for the first yes.

Plain sockets: ``http.client`` costs more to import than a whole launch may take, and a status line is all we need.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import assert_never

from sidecar.config import DelayReady, HttpReady, LogReady, Ready, TcpReady, ViteService, url_of
from sidecar.errors import PortUnavailableError
from sidecar.events import Endpoint, Owner, Verdict
from sidecar.host.ports import WILDCARD_V4, WILDCARD_V6, resolve

PACE_S = 0.002
"""Between two attempts: readiness is reported within 10 ms of the first answer, and a refused connect costs 50 µs."""

ATTEMPT_S = 5.0
"""A server that took our connection may be busy with its start: wait for it, then ask anew."""

CONTROL_S = 1.0
"""The same on a listener of our own: the kernel answers it by itself, in microseconds."""

HEAD_BYTES = 4096
"""A status line is in the first of these, or it is no HTTP."""

VITE_ACCEPT = "text/x-vite-ping"
VITE_STATUS = 204
"""What Vite, and hardly anything else, answers to that Accept header, on any path."""
VITE_CLIENT = "/@vite/client"

_FOUND = 200
_SERVER_FAULT = 500

_OUR_FAULT = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
}
"""The interface is down, or we lack descriptors or memory: nothing that the server could help."""

Ownership = Callable[[str, int], Owner]
"""(literal address, port) → whose socket listens there."""


def attempt(probe: Ready | ViteService, endpoint: Endpoint, owned: Ownership, timeout_s: float) -> tuple[Verdict, str]:
    """Ask once; the verdict and a few words for people."""
    try:
        addresses = _reachable(endpoint)
    except PortUnavailableError as error:
        return "unknown", error.message  # the name had an address when the port was chosen: the resolver is at fault
    failures = []
    for address in addresses:
        try:
            return _attempt_at(address, probe, endpoint, owned, timeout_s)
        except OSError as error:
            failures.append(error)  # the server may listen on another address of the name only
    said = next((it for it in failures if it.errno not in _OUR_FAULT), failures[0])
    return "unknown" if said.errno in _OUR_FAULT else "down", (said.strerror or str(said)).lower()


def _attempt_at(
    address: str, probe: Ready | ViteService, endpoint: Endpoint, owned: Ownership, timeout_s: float
) -> tuple[Verdict, str]:
    """Raises ``OSError`` if nobody takes the connection, or breaks it off."""
    ours = cache(partial(owned, address, endpoint.port))
    try:
        verdict, detail = _ask(probe, address, endpoint, ours, timeout_s)
    except TimeoutError:
        if not _reaches_itself(address):
            return "unknown", f"this machine does not reach its own {address}: a network interface is down"
        return "down", f"no answer within {timeout_s:g} s"
    if verdict == "ok" and ours() == "foreign":
        return "foreign", f"{url_of(endpoint.host, endpoint.port)} is answered by a process that is not ours"
    return verdict, detail


def await_ready(
    probe: Ready | ViteService,
    endpoint: Endpoint,
    owned: Ownership,
    ended: threading.Event,
    report: Callable[[Verdict, str], None],
    attempt_s: float = ATTEMPT_S,
) -> None:
    """Ask until the answer is ours, and report that; a stranger's answer is reported once. ``ended`` ends it."""
    told = False
    while not ended.is_set():
        started = time.monotonic()
        verdict, detail = attempt(probe, endpoint, owned, attempt_s)
        if verdict == "ok":
            report(verdict, detail)
            return
        if verdict == "foreign" and not told:
            told = True
            report(verdict, detail)
        ended.wait(max(0.0, PACE_S - (time.monotonic() - started)))


def _reaches_itself(address: str) -> bool:
    """Whether a listener of our own can be reached there: if not, no silence of a server proves anything.

    While an interface is down the kernel drops the packets to its addresses, loopback's too, or has no route for them.
    """
    family = _family(address)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener, socket.socket(family, socket.SOCK_STREAM) as sock:
            listener.bind((address, 0))
            listener.listen(1)
            sock.settimeout(CONTROL_S)
            sock.connect(listener.getsockname())
    except OSError:
        return False  # EADDRNOTAVAIL, ENETUNREACH or the timeout: the address is gone; EMFILE: we are at fault, too
    return True


def _reachable(endpoint: Endpoint) -> list[str]:
    """The literal addresses on which the endpoint may be reached."""
    host = {WILDCARD_V4: "127.0.0.1", WILDCARD_V6: "::1"}.get(endpoint.host, endpoint.host)
    if host[0].isdigit() or ":" in host:
        return [host]
    return [address for _, address in resolve(host, endpoint.port)]


def _ask(
    probe: Ready | ViteService, address: str, endpoint: Endpoint, ours: Callable[[], Owner], timeout_s: float
) -> tuple[Verdict, str]:
    deadline = time.monotonic() + timeout_s
    match probe:
        case ViteService():
            status = _status(address, endpoint, "/", VITE_ACCEPT, ours, deadline)
            if 0 < status < _SERVER_FAULT and status != VITE_STATUS:
                # an old Vite knows no ping, and a plugin's middleware may answer in its stead: ask for its client
                status = _status(address, endpoint, VITE_CLIENT, "*/*", ours, deadline)
                return ("ok" if status == _FOUND else "down"), f"{VITE_CLIENT} is answered with {status or 'no HTTP'}"
            return ("ok" if status == VITE_STATUS else "down"), f"the answer's status is {status or 'missing'}"
        case HttpReady(path=path, status=wanted):
            status = _status(address, endpoint, path, "*/*", ours, deadline)
            good = 0 < status < _SERVER_FAULT if wanted is None else status == wanted
            return ("ok" if good else "down"), f"the answer's status is {status or 'missing'}"
        case TcpReady() | LogReady() | DelayReady():
            _connect(address, endpoint, deadline).close()
            return "ok", "the port takes connections"
        case _ as never:
            assert_never(never)


def _connect(address: str, endpoint: Endpoint, deadline: float) -> socket.socket:
    """A connection. Raises ``OSError``."""
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        # not create_connection: it would look the literal up as a name, and load the tables of Unicode for it
        sock.settimeout(_left(deadline))
        sock.connect((address, endpoint.port))
    except OSError:
        sock.close()
        raise
    if sock.getsockname() == sock.getpeername():
        # connecting to a port of the ephemeral range that nobody has can meet itself (TCP simultaneous open)
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
    return sock


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _status(
    address: str, endpoint: Endpoint, path: str, accept: str, ours: Callable[[], Owner], deadline: float
) -> int:
    """The status of a GET, or 0 if what comes is no HTTP. Raises ``OSError``."""
    host = url_of(endpoint.host, endpoint.port).removeprefix("http://").rstrip("/")
    target = path.encode("utf-8", "surrogateescape").decode("latin-1")
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    head = b""
    with _connect(address, endpoint, deadline) as sock:
        sock.sendall(request.encode("latin-1"))
        ours()  # now, while the server works on its first answer: looking only then would put off what we report
        while b"\r\n" not in head and len(head) < HEAD_BYTES:
            sock.settimeout(_left(deadline))
            data = sock.recv(HEAD_BYTES)
            if not data:
                break
            head += data
    version, _, rest = head.partition(b" ")
    digits = rest[:3]
    return int(digits) if version.startswith(b"HTTP/1.") and digits.isdigit() else 0
