"""Find out whether our server answers: a single attempt, and a loop that repeats it until the first success.

A *dev server* is ready once our tree owns the socket on its port and the server answers anything. We send a line that
is no valid HTTP. The HTTP parser of node (or of any other server) refuses it with a status, so no page, proxy or
middleware of the app runs. If the server answers nothing, we offer a TLS handshake. Only if the server has not printed
its address do we ask for the page itself, at most twice, to find Vite's base path.

We use plain sockets: the import of ``http.client`` takes longer than a whole launch may, and we only need a status
line.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import assert_never

from msgspec import Struct

from sidecar.config.services import DelayReady, HttpReady, LogReady, Probe, ServerReady, TcpReady
from sidecar.core.events import Address, Endpoint, Owner, Verdict
from sidecar.errors import PortUnavailableError
from sidecar.host.shared import takes_connections
from sidecar.services.exchange import (
    connect,
    exchange,
    family_of,
    get_status,
    is_tls,
    location_of,
    place_of,
    speaks_tls,
    status_of,
)
from sidecar.services.ports import WILDCARD_V4, WILDCARD_V6, resolve

PACE_S = 0.006
"""The time between two attempts. It lets us report readiness within 10 ms of the first possible answer. But a refused
connect takes up to 200 µs of processor time, which the server needs for its own start."""

OUTPUT_PACE_S = 0.002
"""The same after the server has printed something: most servers print their address as soon as they listen."""

ELSEWHERE_S = 0.03
"""The time between two attempts on the other loopback. Few servers listen there, and these attempts cost as much."""

AGAIN_S = 0.05
AGAIN_MOST_S = 1.0
"""After a wrong answer we ask again after ``AGAIN_S``, then after twice that, and so on up to ``AGAIN_MOST_S``: each
question may run the app's own code."""

ATTEMPT_S = 5.0
"""The bound for an answer. A server that took our connection may be busy with its start. After the bound we ask
again."""

BASE_S = 1.0
"""The bound for finding the base. The server is ready by then, and its page may be slow."""

CONTROL_S = 1.0
"""The bound for a connection to our own listener. The kernel answers it by itself, in microseconds."""

NO_REQUEST = b"? / HTTP/1.1\r\n\r\n"
"""There is no such method, so the server's HTTP parser answers by itself."""

VITE_ACCEPT = "text/x-vite-ping"
VITE_STATUS = 204
"""Vite's answer to that Accept header, on any path below its base."""

LOOPBACKS = {"127.0.0.1": "::1", "::1": "127.0.0.1"}
"""We tell a server one of them. If it turns that into "localhost", it may listen on the other one."""

_REDIRECTS = range(300, 400)
_SERVER_FAULT = 500

_OUR_FAULT = {
    errno.EAGAIN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
}
"""Errors that are not the server's fault: the interface is down, or we lack descriptors, processes or memory."""

Ownership = Callable[[str, int], Owner]
"""(literal address, port) → the owner of the socket that listens there."""


class Answer(Struct, frozen=True):
    """The result of an attempt. ``detail`` says for people what was seen."""

    verdict: Verdict
    detail: str
    scheme: str = ""
    """``http`` or ``https`` if something answered; else empty."""
    address: str | None = None
    """The literal address that answered."""
    sure: bool = True
    """Whether the system names the socket's owner."""


def attempt(probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float, *, elsewhere: bool = True) -> Answer:
    """Ask once; with ``elsewhere`` also on the other loopback."""
    try:
        addresses = _reachable(endpoint)
    except PortUnavailableError as error:
        return Answer("unknown", error.message)  # it had an address when we chose the port, so the resolver is at fault
    answers = []
    for address in addresses:
        answer = _attempt_at(address, probe, endpoint, owner, timeout_s)
        if answer.verdict == "ok":
            others = (it for it in addresses if it != address)
            return next(filter(None, (_stranger_at(it, endpoint, owner) for it in others)), answer)
        answers.append(answer)  # our server may listen only on another address of the name
    answer = max(answers, key=lambda it: (it.address is not None, it.verdict != "unknown"))
    other = LOOPBACKS.get(endpoint.host) if elsewhere else None
    if other is not None and answer.verdict != "unknown":
        there = _attempt_at(other, probe, endpoint, owner, timeout_s)
        if there.verdict == "ok":
            # the server may listen on both, and have begun between our two attempts: prefer the configured address
            here = _attempt_at(endpoint.host, probe, endpoint, owner, timeout_s)
            return here if here.verdict == "ok" else there
    return answer  # a failure on the other loopback is not reported: the server was not told to listen there


def _stranger_at(address: str, endpoint: Endpoint, owner: Ownership) -> Answer | None:
    """Find another program at this address of the endpoint's name. A client that resolves the name may reach it."""
    try:
        if not takes_connections(address, endpoint.port) or owner(address, endpoint.port) != "foreign":
            return None
    except OSError as error:
        # EMFILE, ENFILE, ENOMEM: no look is possible now
        return Answer("unknown", f"{place_of(address, endpoint)}: {(error.strerror or str(error)).lower()}")
    said = f"another program listens on {place_of(address, endpoint)}, which is an address of {endpoint.host}, too"
    return Answer("foreign", said, address=address)


def _attempt_at(address: str, probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float) -> Answer:
    answer = _try_at(address, probe, endpoint, owner, timeout_s)
    if answer is not None:
        return answer
    if not _reaches_itself(address):
        return Answer("unknown", f"this machine does not reach its own {address}: a network interface is down")
    # the interface may have been down until now, and our question was lost: then a second one is answered at once
    answer = _try_at(address, probe, endpoint, owner, min(timeout_s, CONTROL_S))
    said = f"it takes connections, but has not answered for {timeout_s:g} s"
    return answer or Answer("down", said, address=address)


def _try_at(address: str, probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float) -> Answer | None:
    """Ask at this address; ``None`` if no answer comes in time."""
    owned = cache(partial(owner, address, endpoint.port))
    try:
        answer = _ask(probe, address, endpoint, owned, timeout_s)
        return answer if answer.verdict != "ok" else _owned_answer(answer, address, endpoint, owned())
    except TimeoutError:
        return None
    except OSError as error:
        verdict: Verdict = "unknown" if error.errno in _OUR_FAULT else "down"
        return Answer(verdict, f"{place_of(address, endpoint)}: {(error.strerror or str(error)).lower()}")


def _owned_answer(answer: Answer, address: str, endpoint: Endpoint, owner: Owner) -> Answer:
    """Judge a right answer by the owner of the socket."""
    match owner:
        case "ours":
            return answer
        case "unknown":
            return Answer("ok", answer.detail, answer.scheme, address, sure=False)
        case "foreign":
            said = f"{place_of(address, endpoint)} is answered by a process that this service did not start"
            return Answer("foreign", said, answer.scheme, address)
        case _ as never:
            assert_never(never)


def await_ready(
    probe: Probe,
    endpoint: Endpoint,
    owner: Ownership,
    ended: threading.Event,
    stirred: threading.Event,
    report: Callable[[Answer, Address], None],
    attempt_s: float = ATTEMPT_S,
) -> None:
    """Ask until our own server answers, and report that. Report each other result if it differs from the last one.

    ``ended`` stops this. ``stirred`` is set by the server's output and by its end, and starts the next attempt at once.
    The reported address of a dev server has no base yet: see ``find_base``.
    """
    looked = 0.0
    last = None
    again = AGAIN_S
    while not ended.is_set():
        started = time.monotonic()
        elsewhere = started - looked >= ELSEWHERE_S
        answer = attempt(probe, endpoint, owner, attempt_s, elsewhere=elsewhere)
        looked = started if elsewhere else looked
        if answer.verdict == "ok":
            report(answer, _address(probe, endpoint, answer))
            return
        if (answer.verdict, answer.detail) != last:
            last = answer.verdict, answer.detail
            report(answer, Address())
        if answer.scheme:
            # do not wait for its output here: our own question may have caused it
            ended.wait(max(0.0, again - (time.monotonic() - started)))
            again = min(2 * again, AGAIN_MOST_S)
        else:
            again = AGAIN_S
            if stirred.wait(max(0.0, PACE_S - (time.monotonic() - started))):
                stirred.clear()
                ended.wait(max(0.0, OUTPUT_PACE_S - (time.monotonic() - started)))


def _address(probe: Probe, endpoint: Endpoint, answer: Answer) -> Address:
    """Make the address of a ready server for the report."""
    scheme = answer.scheme or "http"
    other = answer.address if answer.address == LOOPBACKS.get(endpoint.host) else None
    base = None if isinstance(probe, ServerReady) else "/"
    return Address("https" if scheme == "https" else "http", other, base)


def find_base(address: str, endpoint: Endpoint) -> str:
    """Find Vite's base path: Vite redirects ``/`` to it, and answers a ping below it. Return ``/`` if in doubt."""
    deadline = time.monotonic() + BASE_S
    try:
        head = get_status(address, endpoint, "/", VITE_ACCEPT, deadline)
        base = location_of(head) if status_of(head) in _REDIRECTS else "/"
        if base != "/" and status_of(get_status(address, endpoint, base, VITE_ACCEPT, deadline)) != VITE_STATUS:
            return "/"  # a login page, or another redirect of the app
    except OSError:
        return "/"  # the page is slow or breaks off, but its server is ready
    return base


def _reaches_itself(address: str) -> bool:
    """Tell whether we can reach our own listener there. If not, the silence of a server proves nothing.

    While an interface is down (also the loopback), the kernel drops packets to its addresses, or has no route to them.
    """
    family = family_of(address)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener, socket.socket(family, socket.SOCK_STREAM) as sock:
            listener.bind((address, 0))
            listener.listen(1)
            sock.settimeout(CONTROL_S)
            sock.connect(listener.getsockname())
    except OSError:
        return False  # EADDRNOTAVAIL, ENETUNREACH or the timeout: the address is gone; EMFILE: we are at fault
    return True


def _reachable(endpoint: Endpoint) -> list[str]:
    """Return the literal addresses by which a client can reach the endpoint."""
    host = {WILDCARD_V4: "127.0.0.1", WILDCARD_V6: "::1"}.get(endpoint.host, endpoint.host)
    if host[0].isdigit() or ":" in host:
        return [host]
    return [address for _, address in resolve(host, endpoint.port)]


def _ask(probe: Probe, address: str, endpoint: Endpoint, owned: Callable[[], Owner], timeout_s: float) -> Answer:
    deadline = time.monotonic() + timeout_s
    match probe:
        case ServerReady():
            return _ask_server(address, endpoint, owned, deadline)
        case HttpReady():
            return _ask_page(probe, address, endpoint, owned, deadline)
        case TcpReady() | LogReady() | DelayReady():
            connect(address, endpoint, deadline).close()
            return Answer("ok", "the port takes connections", "http", address)
        case _ as never:
            assert_never(never)


def _ask_server(address: str, endpoint: Endpoint, owned: Callable[[], Owner], deadline: float) -> Answer:
    """Find out whether anything answers, and by which scheme."""
    head = exchange(address, endpoint, NO_REQUEST, deadline, owned)
    if head and not is_tls(head):
        return Answer("ok", "it answers", "http", address)
    if head or speaks_tls(address, endpoint, deadline):
        return Answer("ok", "it answers by TLS", "https", address)
    return Answer("down", "it takes connections and closes them without an answer", address=address)


def _ask_page(
    probe: HttpReady, address: str, endpoint: Endpoint, owned: Callable[[], Owner], deadline: float
) -> Answer:
    head = get_status(address, endpoint, probe.path, "*/*", deadline, owned)
    status = status_of(head)
    if status:
        good = probe.status in (status, "any") or (probe.status is None and status < _SERVER_FAULT)
        return Answer("ok" if good else "down", f"{probe.path} is answered with {status}", "http", address)
    if is_tls(head) or (not head and speaks_tls(address, endpoint, deadline)):
        if isinstance(probe.status, int):
            wish = f"it answers by TLS, so the status of {probe.path} cannot be asked for: use the probe tcp"
            return Answer("down", f'{wish}, or the status "any"', "https", address)
        return Answer("ok", "it answers by TLS", "https", address)
    if head:
        return Answer(
            "down", f"{probe.path} is answered with something that is not HTTP/1: use the probe tcp", "http", address
        )
    return Answer("down", "it takes connections and closes them without an answer", address=address)
