"""Choosing a port that is free everywhere, keeping it, and naming who has it otherwise.

No reservation closes the race with another program for good. What we do: look at both address families and the
wildcards, hold a bound but not listening socket (so that the kernel gives the port to nobody as an ephemeral one), and
start the program so that it fails rather than moves when the port is gone; then we choose again.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, to_builtins

from sidecar.errors import PortUnavailableError
from sidecar.events import Endpoint
from sidecar.wire.messages import Holder, taken_by

ASSIGN_TRIES = 20
"""Ports that the system assigns on one address are nearly always free on the others too."""

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
"""This address or family does not exist here, so nobody can have the port on it."""

WILDCARD_V4 = "0.0.0.0"  # noqa: S104  looked at, not served on
WILDCARD_V6 = "::"
EVERYWHERE = tuple(
    (socket.AF_INET6 if ":" in at else socket.AF_INET, at) for at in ("127.0.0.1", WILDCARD_V4, "::1", WILDCARD_V6)
)
"""A port that is free on both loopbacks and both wildcards is free."""


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """The literal addresses of ``host``, such as both loopbacks for ``localhost``.

    Raises ``PortUnavailableError`` if the name means nothing here.
    """
    try:
        # as bytes: a str would be encoded for IDNA, which loads the tables of Unicode for what is ASCII
        found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _no_address(host, error) from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def own_addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Those literal addresses of ``host`` that this machine has now.

    Raises ``PortUnavailableError`` if there is none: the program itself would only fail, and not say why.
    """
    own = []
    denied: OSError | None = None
    for family, address in resolve(host, 0):
        try:
            bind(family, address, 0).close()
        except OSError as error:
            denied = error  # EADDRNOTAVAIL: another machine's; EAFNOSUPPORT: a family that is switched off here
        else:
            own.append((family, address))
    if not own:
        raise _no_address(host, denied)
    return own


def _no_address(host: str, error: Exception | None) -> PortUnavailableError:
    return PortUnavailableError(
        f"The host {host!r} is no address of this machine ({error}). Use 127.0.0.1, or another one of its own.",
        host=host,
    )


if sys.platform == "win32":
    CAN_HOLD = False
    """A program cannot listen on a port that we hold: SO_REUSEADDR would let anybody in, so nobody sets it here."""
    NOBODY = (
        "nobody: Windows keeps it in an excluded range, mostly for Hyper-V; "
        "see 'netsh interface ipv4 show excludedportrange protocol=tcp'"
    )
    _CLAIM = socket.SO_EXCLUSIVEADDRUSE
else:
    CAN_HOLD = True
    NOBODY = "nobody: this user may not open ports below 1024"
    _CLAIM = socket.SO_REUSEADDR


def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """A bound socket that does not listen.

    Raises ``OSError``, which is about the port, or ``PortUnavailableError`` where no socket is to be had at all.

    SO_REUSEADDR lets us pass over connections in TIME_WAIT, and lets a program that sets it too (node, by libuv) listen
    on the port while we hold it. Linux still refuses where somebody listens. On Windows only SO_EXCLUSIVEADDRUSE does.
    """
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in _ABSENT:
            raise
        raise PortUnavailableError(
            f"No port can be looked at: {error.strerror}. Raise this user's limits (ulimit -n), or free some memory."
        ) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, _CLAIM, 1)
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


class Wish(Struct, frozen=True):
    """Which port a service would like."""

    host: str
    preferred: int | None
    """What the user asked for; the endpoint names its holder if it cannot be had."""
    current: int | None
    """The port of the run before, which a restart keeps."""
    last: Callable[[], int | None]
    """The last good port of an earlier sidecar; asked only when needed, as it reads a file."""
    keep: bool
    """Whether to hold the port with a bound socket until ``release``."""
    strict: bool = False
    """Whether to fail if the preferred port is not free."""

    def in_order(self) -> Iterator[int]:
        """What to try before the system is asked for any port."""
        if self.strict and self.preferred is not None:
            yield self.preferred
            return
        for port in (self.current, self.preferred):
            if port is not None:
                yield port
        if (port := self.last()) is not None:
            yield port


class PortBook:
    """The ports that this supervisor's services have, and the sockets that keep them."""

    def __init__(self, holder: Callable[[int], Holder | None]) -> None:
        """``holder`` names who listens on a port."""
        self._holder = holder
        self._taken: dict[str, int] = {}
        self._kept: dict[str, socket.socket] = {}
        self._choosing = threading.Lock()
        """Two services that choose at once must not choose the same; ``release`` never waits for it."""

    def choose(self, service: str, wish: Wish) -> Endpoint:
        """The first wished port that is free everywhere, else one that the system assigns.

        Raises ``PortUnavailableError``.
        """
        with self._choosing:
            self.release(service)
            addresses = own_addresses(wish.host)
            everywhere = dict.fromkeys([*addresses, *EVERYWHERE])
            denied: OSError | None = None
            for port in wish.in_order():
                error = self._refusal(port, everywhere)
                if error is None:
                    break
                denied = denied or error
            else:
                if wish.strict and wish.preferred is not None:
                    raise self._not_free(service, wish.preferred, denied)
                port = self._assigned(wish.host, addresses[0], everywhere)
            self._taken[service] = port
            if wish.keep and CAN_HOLD:
                try:
                    self._kept[service] = bind(*addresses[0], port)
                except OSError:
                    pass  # taken in this instant: the program's own bind will fail and we choose again
            if wish.preferred is None or port == wish.preferred:
                return Endpoint(wish.host, port)
            return Endpoint(wish.host, port, wanted=wish.preferred, holder=self._who(wish.preferred, denied))

    def release(self, service: str) -> None:
        """The service has ended; others may have its port."""
        self._taken.pop(service, None)
        kept = self._kept.pop(service, None)
        if kept is not None:
            kept.close()

    def _assigned(
        self,
        host: str,
        address: tuple[socket.AddressFamily, str],
        everywhere: Iterable[tuple[socket.AddressFamily, str]],
    ) -> int:
        for _ in range(ASSIGN_TRIES):
            try:
                with bind(*address, 0) as sock:
                    port = int(sock.getsockname()[1])
            except OSError as error:
                raise PortUnavailableError(
                    f"The system gives no port on {host} ({error.strerror}). Check port.host, or free some ports.",
                    host=host,
                ) from None
            if self._refusal(port, everywhere) is None:
                return port
        raise PortUnavailableError(
            f"No port is free on {host}, the loopbacks and the wildcards after {ASSIGN_TRIES} tries. "
            "End some of the programs that listen on this machine.",
            host=host,
        )

    def _refusal(self, port: int, addresses: Iterable[tuple[socket.AddressFamily, str]]) -> OSError | None:
        if port in list(self._taken.values()):
            return OSError(errno.EADDRINUSE, "one of our own services has it")
        return refusal(port, addresses)

    def _not_free(self, service: str, port: int, denied: OSError | None) -> PortUnavailableError:
        holder = self._who(port, denied)
        data = {} if holder is None else {"holder": to_builtins(holder)}
        return PortUnavailableError(
            f"{service}: port {port} is {taken_by(holder)}, and port.strict allows no other port. "
            "End that program, or name another port in port.preferred.",
            service=service,
            port=port,
            **data,
        )

    def _who(self, port: int, denied: OSError | None) -> Holder | None:
        for service, taken in list(self._taken.items()):
            if taken == port:
                return Holder(command=f"the service {service} of this sidecar", ours=True)
        holder = self._holder(port)
        if holder is None and denied is not None and denied.errno == errno.EACCES:
            return Holder(command=NOBODY)
        return holder
