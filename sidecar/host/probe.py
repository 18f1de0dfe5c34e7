"""Does our server answer? One attempt, and the paced loop that waits for the first yes.

A *dev server* is ready once the socket on its port is our tree's and it answers anything. It is asked by a line that is
no HTTP: the HTTP parser of node (or of any other server) refuses it with a status of its own, and no page, proxy or
middleware of the app runs. A server that answers nothing to that is offered a TLS handshake. Only where the server has
not printed its address the page itself is asked for, at most twice, to find out below which base Vite has it.

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

from msgspec import Struct

from sidecar.config import DelayReady, HttpReady, LogReady, Probe, ServerReady, TcpReady, url_of
from sidecar.errors import PortUnavailableError
from sidecar.events import Address, Endpoint, Owner, Verdict
from sidecar.host.ports import WILDCARD_V4, WILDCARD_V6, resolve

PACE_S = 0.002
"""Between two attempts: readiness is reported within 10 ms of the first answer, and a refused connect costs 50 µs."""

LONG_START_S = 2.0
LONG_PACE_S = 0.006
"""After ``LONG_START_S`` seconds without an answer this pace is quick enough, and costs a third."""

ELSEWHERE_S = 0.03
"""The other loopback is looked at no more often: hardly a server is there, and each look costs as much."""

AGAIN_S = 0.05
AGAIN_MOST_S = 1.0
"""A server that has given a wrong answer is asked again after ``AGAIN_S``, then twice that, and so on up to the bound:
each question may run the app's own code."""

ATTEMPT_S = 5.0
"""A server that took our connection may be busy with its start: wait for it, then ask anew."""

BASE_S = 1.0
"""The server is ready already: its page, which may be slow, is not waited for any longer to find the base."""

CONTROL_S = 1.0
"""The same on a listener of our own: the kernel answers it by itself, in microseconds."""

HEAD_BYTES = 4096
"""The status line and the Location are in the first of these."""

HEAD_ENDS = (b"\r\n\r\n", b"\n\n")
"""Some servers, of few lines, leave out the carriage returns."""

NO_REQUEST = b"? / HTTP/1.1\r\n\r\n"
"""No method has such a name, so the server's HTTP parser answers by itself."""

VITE_ACCEPT = "text/x-vite-ping"
VITE_STATUS = 204
"""What Vite answers to that Accept header, on any path below its base."""

LOOPBACKS = {"127.0.0.1": "::1", "::1": "127.0.0.1"}
"""A server that was told one of them and takes "localhost" for it may listen on the other."""

_REDIRECTS = range(300, 400)
_SERVER_FAULT = 500
_HTTP = b"HTTP/1."
_TLS_ALERT, _TLS_HANDSHAKE = 0x15, 0x16
_TLS_MAJOR = 3

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
"""The interface is down, or we lack descriptors, processes or memory: nothing that the server could help."""

Ownership = Callable[[str, int], Owner]
"""(literal address, port) → whose socket listens there."""


class Answer(Struct, frozen=True):
    """What an attempt found. ``detail`` is for people: what was seen."""

    verdict: Verdict
    detail: str
    scheme: str = ""
    """``http`` or ``https``, where something answered; else empty."""
    address: str | None = None
    """The literal address that answered."""
    sure: bool = True
    """Whether the system says whose socket it is."""


def attempt(probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float, *, elsewhere: bool = True) -> Answer:
    """Ask once; ``elsewhere`` says whether also on the other loopback."""
    try:
        addresses = _reachable(endpoint)
    except PortUnavailableError as error:
        return Answer("unknown", error.message)  # it had an address when the port was chosen: the resolver is at fault
    answers = []
    for address in addresses:
        answer = _attempt_at(address, probe, endpoint, owner, timeout_s)
        if answer.verdict == "ok":
            return answer
        answers.append(answer)  # ours may listen on another address of the name only
    answer = max(answers, key=lambda it: (it.address is not None, it.verdict != "unknown"))
    other = LOOPBACKS.get(endpoint.host) if elsewhere else None
    if other is not None and answer.verdict != "unknown":
        there = _attempt_at(other, probe, endpoint, owner, timeout_s)
        if there.verdict == "ok":
            # one that listens on both may have begun between the two: the address that it was told goes first
            here = _attempt_at(endpoint.host, probe, endpoint, owner, timeout_s)
            return here if here.verdict == "ok" else there
    return answer  # of the other loopback nothing else is told: the server was not asked to be there


def _attempt_at(address: str, probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float) -> Answer:
    answer = _try_at(address, probe, endpoint, owner, timeout_s)
    if answer is not None:
        return answer
    if not _reaches_itself(address):
        return Answer("unknown", f"this machine does not reach its own {address}: a network interface is down")
    # the interface may have been down until now, with our question lost: a second one is answered at once then
    answer = _try_at(address, probe, endpoint, owner, min(timeout_s, CONTROL_S))
    said = f"it takes connections, but has not answered for {timeout_s:g} s"
    return answer or Answer("down", said, address=address)


def _try_at(address: str, probe: Probe, endpoint: Endpoint, owner: Ownership, timeout_s: float) -> Answer | None:
    """Ask there; ``None`` if no answer comes in time."""
    owned = cache(partial(owner, address, endpoint.port))
    try:
        answer = _ask(probe, address, endpoint, owned, timeout_s)
        return answer if answer.verdict != "ok" else _owned_answer(answer, address, endpoint, owned())
    except TimeoutError:
        return None
    except OSError as error:
        verdict: Verdict = "unknown" if error.errno in _OUR_FAULT else "down"
        return Answer(verdict, f"{_place(address, endpoint)}: {(error.strerror or str(error)).lower()}")


def _owned_answer(answer: Answer, address: str, endpoint: Endpoint, owner: Owner) -> Answer:
    """A right answer, in the light of whose it is."""
    match owner:
        case "ours":
            return answer
        case "unknown":
            return Answer("ok", answer.detail, answer.scheme, address, sure=False)
        case "foreign":
            said = f"{_place(address, endpoint)} is answered by a process that this service did not start"
            return Answer("foreign", said, answer.scheme, address)
        case _ as never:
            assert_never(never)


def _place(address: str, endpoint: Endpoint) -> str:
    return url_of(address, endpoint.port).removeprefix("http://").rstrip("/")


def await_ready(
    probe: Probe,
    endpoint: Endpoint,
    owner: Ownership,
    ended: threading.Event,
    report: Callable[[Answer, Address], None],
    attempt_s: float = ATTEMPT_S,
) -> None:
    """Ask until the answer is ours, and report that; report each other finding once it is new. ``ended`` ends it.

    The base of a dev server is left open: see ``find_base``.
    """
    began = time.monotonic()
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
            pause = again
            again = min(2 * again, AGAIN_MOST_S)
        else:
            pause = PACE_S if started - began < LONG_START_S else LONG_PACE_S
            again = AGAIN_S
        ended.wait(max(0.0, pause - (time.monotonic() - started)))


def _address(probe: Probe, endpoint: Endpoint, answer: Answer) -> Address:
    """What is to be told of a server that is ready."""
    scheme = answer.scheme or "http"
    other = answer.address if answer.address == LOOPBACKS.get(endpoint.host) else None
    base = None if isinstance(probe, ServerReady) else "/"
    return Address("https" if scheme == "https" else "http", other, base)


def find_base(address: str, endpoint: Endpoint) -> str:
    """Below which path Vite has its pages: it redirects ``/`` there, and answers a ping below it. ``/`` if in doubt."""
    deadline = time.monotonic() + BASE_S
    try:
        head = _get(address, endpoint, "/", VITE_ACCEPT, deadline)
        base = _location(head) if _status_of(head) in _REDIRECTS else "/"
        if base != "/" and _status_of(_get(address, endpoint, base, VITE_ACCEPT, deadline)) != VITE_STATUS:
            return "/"  # a login's page, or another redirect of the app
    except OSError:
        return "/"  # a page that is slow, or breaks off: its server is up all the same
    return base


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


def _ask(probe: Probe, address: str, endpoint: Endpoint, owned: Callable[[], Owner], timeout_s: float) -> Answer:
    deadline = time.monotonic() + timeout_s
    match probe:
        case ServerReady():
            return _ask_server(address, endpoint, owned, deadline)
        case HttpReady():
            return _ask_page(probe, address, endpoint, owned, deadline)
        case TcpReady() | LogReady() | DelayReady():
            _connect(address, endpoint, deadline).close()
            return Answer("ok", "the port takes connections", "http", address)
        case _ as never:
            assert_never(never)


def _ask_server(address: str, endpoint: Endpoint, owned: Callable[[], Owner], deadline: float) -> Answer:
    """Whether anything answers, and by which scheme."""
    head = _exchange(address, endpoint, NO_REQUEST, deadline, owned)
    if head and not _is_tls(head):
        return Answer("ok", "it answers", "http", address)
    if head or _speaks_tls(address, endpoint, deadline):
        return Answer("ok", "it answers by TLS", "https", address)
    return Answer("down", "it takes connections and closes them without an answer", address=address)


def _ask_page(
    probe: HttpReady, address: str, endpoint: Endpoint, owned: Callable[[], Owner], deadline: float
) -> Answer:
    head = _get(address, endpoint, probe.path, "*/*", deadline, owned)
    status = _status_of(head)
    if status:
        good = probe.status in (status, "any") or (probe.status is None and status < _SERVER_FAULT)
        return Answer("ok" if good else "down", f"{probe.path} is answered with {status}", "http", address)
    if _is_tls(head) or (not head and _speaks_tls(address, endpoint, deadline)):
        if isinstance(probe.status, int):
            wish = f"it answers by TLS, so the status of {probe.path} cannot be asked for: use the probe tcp"
            return Answer("down", f'{wish}, or the status "any"', "https", address)
        return Answer("ok", "it answers by TLS", "https", address)
    if head:
        return Answer(
            "down", f"{probe.path} is answered with something that is not HTTP/1: use the probe tcp", "http", address
        )
    return Answer("down", "it takes connections and closes them without an answer", address=address)


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


def _exchange(
    address: str, endpoint: Endpoint, data: bytes, deadline: float, owned: Callable[[], Owner] | None = None
) -> bytes:
    """Send ``data``; the begin of what comes back, up to the end of the headers; empty if it only closes.

    Raises ``OSError`` where the connection is refused, or nothing comes in time.
    """
    head = b""
    with _connect(address, endpoint, deadline) as sock:
        try:
            sock.sendall(data)
            if owned is not None:
                owned()  # now, while the server works on its answer: looking only then would put off what we report
            while not any(end in head for end in HEAD_ENDS) and len(head) < HEAD_BYTES and not _is_tls(head):
                sock.settimeout(_left(deadline))
                more = sock.recv(HEAD_BYTES)
                if not more:
                    break
                head += more
        except TimeoutError:
            if not head:
                raise
        except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError):
            pass  # it was closed with our bytes unread: what has come until then is the answer
    return head


def _get(
    address: str,
    endpoint: Endpoint,
    path: str,
    accept: str,
    deadline: float,
    owned: Callable[[], Owner] | None = None,
) -> bytes:
    """The head of the answer to a GET. Raises ``OSError``."""
    host = _place(endpoint.host, endpoint)
    target = path.encode("utf-8", "surrogateescape").decode("latin-1")
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    return _exchange(address, endpoint, request.encode("latin-1"), deadline, owned)


def _status_of(head: bytes) -> int:
    """The status, or 0 if it is no HTTP."""
    version, _, rest = head.partition(b" ")
    digits = rest[:3]
    return int(digits) if version.startswith(_HTTP) and digits.isdigit() else 0


def _location(head: bytes) -> str:
    """The path of a redirect into a folder of this server; else ``/``."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"location":
            path = value.strip().decode("latin-1").partition("?")[0]
            inside = path.startswith("/") and not path.startswith("//") and path.endswith("/")
            return path if inside and path.isprintable() and " " not in path else "/"
    return "/"


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_tls(head: bytes) -> bool:
    """Whether it begins as a TLS record does: a hello, or an alert at something that was none."""
    return len(head) > 1 and head[0] in (_TLS_ALERT, _TLS_HANDSHAKE) and head[1] == _TLS_MAJOR


def _speaks_tls(address: str, endpoint: Endpoint, deadline: float) -> bool:
    """Whether the server answers a hello. Raises ``OSError``."""
    return _is_tls(_exchange(address, endpoint, client_hello(), deadline))


def client_hello() -> bytes:
    """A TLS 1.2 ClientHello (RFC 5246, 7.4.1.2) that any server answers, by a hello of its own or by an alert.

    That it answers is all we want to know, so nothing of it is secret, and no TLS library is needed.
    """
    suites = (0xC02F, 0xC030, 0xC02B, 0xC02C, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035)
    extensions = (
        (0x000A, _vector(2, _numbers(2, (0x001D, 0x0017, 0x0018)))),  # supported groups
        (0x000B, _vector(1, _numbers(1, (0,)))),  # point formats: uncompressed
        (0x000D, _vector(2, _numbers(2, (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0601)))),  # signatures
    )
    body = b"\x03\x03" + bytes(32) + _vector(1, b"") + _vector(2, _numbers(2, suites)) + _vector(1, b"\x00")
    body += _vector(2, b"".join(kind.to_bytes(2, "big") + _vector(2, data) for kind, data in extensions))
    return b"\x16\x03\x01" + _vector(2, b"\x01" + _vector(3, body))


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _numbers(size: int, numbers: tuple[int, ...]) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number in numbers)
