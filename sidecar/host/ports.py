"""Choosing a port that is free everywhere, keeping it, and naming who has it otherwise.

No reservation closes the race with another program for good. What we do: look at both address families and the
wildcards, hold a bound but not listening socket (so that the kernel gives the port to nobody as an ephemeral one), and
start the program so that it fails rather than moves when the port is gone; then we choose again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator

from sidecar.errors import PortUnavailableError
from sidecar.events import Endpoint
from sidecar.wire.messages import Holder

ASSIGN_TRIES = 20
"""Ports that the system assigns on one address are nearly always free on the others too."""

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
"""This address or family does not exist here, so nobody can have the port on it."""

WILDCARD_V4 = "0.0.0.0"  # noqa: S104  looked at, not served on
WILDCARD_V6 = "::"
_EVERYWHERE = ("127.0.0.1", WILDCARD_V4, "::1", WILDCARD_V6)


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """The literal addresses of ``host``, such as both loopbacks for ``localhost``.

    Raises ``PortUnavailableError`` if the name means nothing here.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PortUnavailableError(
            f"The host {host!r} is no address of this machine ({error}). Use 127.0.0.1, or another one of its own.",
            host=host,
        ) from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """A bound socket that does not listen. Raises ``OSError``.

    SO_REUSEADDR lets us pass over connections in TIME_WAIT, and lets a program that sets it too (node, by libuv) listen
    on the port while we hold it. Linux still refuses where somebody listens.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def refusal(port: int, addresses: Iterable[tuple[socket.AddressFamily, str]]) -> OSError | None:
    """Why the port cannot be had on one of the addresses; ``None`` if it can be had on all."""
    for family, address in addresses:
        try:
            bind(family, address, port).close()
        except OSError as error:
            if error.errno not in _ABSENT:
                return error
    return None


def _with_last(wishes: list[int], last: Callable[[], int | None]) -> Iterator[int]:
    yield from wishes
    port = last()
    if port is not None:
        yield port


class PortBook:
    """The ports that this supervisor's services have, and the sockets that keep them."""

    def __init__(self, holder: Callable[[int], Holder | None]) -> None:
        """``holder`` names who listens on a port."""
        self._holder = holder
        self._taken: dict[str, int] = {}
        self._kept: dict[str, socket.socket] = {}

    def choose(
        self,
        service: str,
        host: str,
        wishes: list[int],
        last: Callable[[], int | None],
        preferred: int | None,
        *,
        keep: bool,
    ) -> Endpoint:
        """The first of ``wishes`` that is free everywhere, else the ``last`` good one, else one that the system gives.

        ``last`` is asked only when needed: it reads a file. ``keep`` holds the port with a bound socket until
        ``release``.
        Raises ``PortUnavailableError``.
        """
        self.release(service)
        addresses = resolve(host, 0)
        wanted = dict.fromkeys(
            [*addresses, *((socket.AF_INET6 if ":" in at else socket.AF_INET, at) for at in _EVERYWHERE)]
        )
        denied: OSError | None = None
        for port in _with_last(wishes, last):
            error = self._refusal(port, wanted)
            if error is None:
                return self._take(service, host, port, addresses[0], preferred, keep=keep, denied=denied)
            denied = denied or error
        for _ in range(ASSIGN_TRIES):
            try:
                with bind(*addresses[0], 0) as sock:
                    port = int(sock.getsockname()[1])
            except OSError as error:
                raise PortUnavailableError(
                    f"The system gives no port on {host} ({error.strerror}). Check port.host, or free some ports.",
                    host=host,
                ) from None
            if self._refusal(port, wanted) is None:
                return self._take(service, host, port, addresses[0], preferred, keep=keep, denied=denied)
        raise PortUnavailableError(
            f"No port is free on all of {', '.join(at for _, at in wanted)} after {ASSIGN_TRIES} tries. "
            "End some of the programs that listen on this machine.",
            host=host,
        )

    def release(self, service: str) -> None:
        """The service has ended; others may have its port."""
        self._taken.pop(service, None)
        kept = self._kept.pop(service, None)
        if kept is not None:
            kept.close()

    def _refusal(self, port: int, addresses: Iterable[tuple[socket.AddressFamily, str]]) -> OSError | None:
        if port in self._taken.values():
            return OSError(errno.EADDRINUSE, "one of our own services has it")
        return refusal(port, addresses)

    def _take(
        self,
        service: str,
        host: str,
        port: int,
        address: tuple[socket.AddressFamily, str],
        preferred: int | None,
        *,
        keep: bool,
        denied: OSError | None = None,
    ) -> Endpoint:
        self._taken[service] = port
        if keep:
            try:
                self._kept[service] = bind(*address, port)
            except OSError:
                pass  # taken in this instant: the program's own bind will fail and we choose again
        if preferred is None or port == preferred:
            return Endpoint(host, port)
        return Endpoint(host, port, wanted=preferred, holder=self._who(preferred, denied))

    def _who(self, port: int, denied: OSError | None) -> Holder | None:
        for service, taken in self._taken.items():
            if taken == port:
                return Holder(command=f"the service {service} of this sidecar", ours=True)
        holder = self._holder(port)
        if holder is None and denied is not None and denied.errno == errno.EACCES:
            return Holder(command="nobody: this user may not open ports below 1024")
        return holder
