"""Ask a server one question and read its answer: the connection, the bytes of HTTP, and the test for TLS."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable

from sidecar.config.services import url_of
from sidecar.core.events import Endpoint, Owner

if sys.platform == "win32":
    from sidecar.host.windows.winapi import fail_at_once
else:

    def fail_at_once(sock: socket.socket) -> None:
        """Do nothing: on POSIX ``connect`` fails with the first refusal anyway."""


HEAD_BYTES = 4096
"""How much of an answer we read. The status line and the Location are in it."""

HEAD_ENDS = (b"\r\n\r\n", b"\n\n")
"""The end of the headers. Some very small servers leave out the carriage returns."""
_HTTP = b"HTTP/1."
_TLS_ALERT, _TLS_HANDSHAKE = 0x15, 0x16
_TLS_MAJOR = 3


def place_of(address: str, endpoint: Endpoint) -> str:
    """Return ``host:port`` as in a URL."""
    return url_of(address, endpoint.port).removeprefix("http://").rstrip("/")


def connect(address: str, endpoint: Endpoint, deadline: float) -> socket.socket:
    """Open a connection. Raises ``OSError``."""
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        # not create_connection: it would resolve the literal address as a name, and load the tables of Unicode for that
        fail_at_once(sock)
        sock.settimeout(_left(deadline))
        sock.connect((address, endpoint.port))
    except OSError:
        sock.close()
        raise
    if sock.getsockname() == sock.getpeername():
        # we are connected to ourselves: this happens with a free port of the ephemeral range (TCP simultaneous open)
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
    return sock


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of a literal address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def exchange(
    address: str, endpoint: Endpoint, data: bytes, deadline: float, owned: Callable[[], Owner] | None = None
) -> bytes:
    """Send ``data``. Return the answer up to the end of the headers; empty if the server only closes the connection.

    Raises ``OSError`` if the connection is refused, or nothing comes in time.
    """
    head = b""
    with connect(address, endpoint, deadline) as sock:
        try:
            sock.sendall(data)
            if owned is not None:
                owned()  # look for the owner now, while the server works on its answer, so that no time is lost
            while not any(end in head for end in HEAD_ENDS) and len(head) < HEAD_BYTES and not is_tls(head):
                sock.settimeout(_left(deadline))
                more = sock.recv(HEAD_BYTES)
                if not more:
                    break
                head += more
        except TimeoutError:
            if not head:
                raise
        except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError):
            pass  # the server closed the connection with our bytes unread; what has come before is the answer
    return head


def get_status(
    address: str,
    endpoint: Endpoint,
    path: str,
    accept: str,
    deadline: float,
    owned: Callable[[], Owner] | None = None,
) -> bytes:
    """Return the head of the answer to a GET, at most ``HEAD_BYTES``. Raises ``OSError``."""
    host = place_of(endpoint.host, endpoint)
    target = path.encode("utf-8", "surrogateescape").decode("latin-1")
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    return exchange(address, endpoint, request.encode("latin-1"), deadline, owned)


def status_of(head: bytes) -> int:
    """Return the status; 0 if the answer is not HTTP/1."""
    version, _, rest = head.partition(b" ")
    digits = rest[:3]
    return int(digits) if version.startswith(_HTTP) and digits.isdigit() else 0


def location_of(head: bytes) -> str:
    """Return the path of a redirect to a folder on this server; else ``/``."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"location":
            path = value.strip().decode("latin-1").partition("?")[0]
            inside = path.startswith("/") and not path.startswith("//") and path.endswith("/")
            return path if inside and path.isprintable() and " " not in path else "/"
    return "/"


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_tls(head: bytes) -> bool:
    """Tell whether the answer begins like a TLS record: a hello, or an alert about data that was no TLS."""
    return len(head) > 1 and head[0] in (_TLS_ALERT, _TLS_HANDSHAKE) and head[1] == _TLS_MAJOR


def speaks_tls(address: str, endpoint: Endpoint, deadline: float) -> bool:
    """Tell whether the server answers a TLS hello. Raises ``OSError``."""
    return is_tls(exchange(address, endpoint, client_hello(), deadline))


def client_hello() -> bytes:
    """Make a TLS 1.2 ClientHello (RFC 5246, 7.4.1.2). Any server answers it by its own hello or by an alert.

    We only want to know whether the server answers. So the hello needs no secrets and no TLS library.
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
