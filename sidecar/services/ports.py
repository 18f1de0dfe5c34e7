"""Choose a port that is free everywhere, hold it, and name the process that has the wanted one.

No reservation rules out that another program takes the port. We check both address families and the wildcards. We hold
a bound socket that does not listen, so the kernel does not give the port away as an ephemeral one. And we start the
program so that it fails, instead of moving to another port, if its port is taken. Then we choose again.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, to_builtins

from sidecar.core.events import Endpoint
from sidecar.errors import PortUnavailableError
from sidecar.host import frozen
from sidecar.protocol.messages import Holder, taken_by

ASSIGN_TRIES = 20
"""How often we ask the system for a port. One that is free on one address is nearly always free on the others, too."""

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
"""Errors for an address or family that this machine does not have. No process can have the port there."""

WILDCARD_V4 = "0.0.0.0"  # noqa: S104  we check it, but serve nothing on it
WILDCARD_V6 = "::"
EVERYWHERE = tuple(
    (socket.AF_INET6 if ":" in at else socket.AF_INET, at) for at in ("127.0.0.1", WILDCARD_V4, "::1", WILDCARD_V6)
)
"""A port counts as free if it is free on both loopbacks and both wildcards."""


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the literal addresses of ``host``, such as both loopbacks for ``localhost``.

    Raises ``PortUnavailableError`` if the name has no address here.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            # no resolver for a literal address: the one of macOS asks another process, which is not safe after a fork
            return [(family, socket.inet_ntop(family, socket.inet_pton(family, host)))]
        except (OSError, ValueError):
            pass  # no literal address of this family: a name, or one with a zone (fe80::1%eth0)
    if sys.platform == "linux" and not frozen.is_intact():
        from sidecar.host.linux.names import addresses_of

        addresses = addresses_of(host)
        if not addresses:
            raise _no_address(host, OSError("the system knows no such name"))
        return [(socket.AF_INET6 if ":" in it else socket.AF_INET, it) for it in addresses]
    try:
        # as bytes: Python would encode a str for IDNA, and load the tables of Unicode even for ASCII
        found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _no_address(host, error) from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def own_addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the literal addresses of ``host`` that this machine has now.

    Raises ``PortUnavailableError`` if there are none: the program itself would only fail without a reason.
    """
    own = []
    denied: OSError | None = None
    for family, address in resolve(host, 0):
        try:
            bind(family, address, 0).close()
        except OSError as error:
            denied = error  # EADDRNOTAVAIL: another machine's address; EAFNOSUPPORT: the family is switched off here
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
    """On Windows a program cannot listen on a port that we hold. SO_REUSEADDR would open the port to every program, so
    no server sets that option."""
    THE_SYSTEM = (
        "the system: Windows keeps it in an excluded range, mostly for Hyper-V; "
        "see 'netsh interface ipv4 show excludedportrange protocol=tcp'"
    )
    _CLAIM = socket.SO_EXCLUSIVEADDRUSE
else:
    CAN_HOLD = True
    THE_SYSTEM = "the system: this user may not open ports below 1024"
    _CLAIM = socket.SO_REUSEADDR


def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """Make a bound socket that does not listen.

    Raises ``OSError`` about the port, or ``PortUnavailableError`` if the system gives no socket at all.

    With SO_REUSEADDR, connections in TIME_WAIT do not matter, and a program that sets it, too (node, by libuv), can
    listen on the port while we hold it. Linux still refuses the port if another socket listens there. Windows refuses
    only with SO_EXCLUSIVEADDRUSE.
    """
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in _ABSENT:
            raise
        raise PortUnavailableError(
            f"No port can be tried: {error.strerror}. Raise this user's limits (ulimit -n), or free some memory."
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
    """Return why the port is not free on one of the addresses; ``None`` if it is free on all."""
    for family, address in addresses:
        try:
            bind(family, address, port).close()
        except OSError as error:
            if error.errno not in _ABSENT:
                return error
    return None


class PortRequest(Struct, frozen=True):
    """The ports that a service would like."""

    host: str
    preferred: int | None
    """The port that the user asked for. If it is not free, the endpoint names its holder."""
    current: int | None
    """The port of the previous run. A restart keeps it."""
    last: Callable[[], int | None]
    """Returns the last good port of an earlier sidecar. It reads a file, so we call it only if needed."""
    keep: bool
    """Whether to hold the port with a bound socket until ``release``."""
    strict: bool = False
    """Whether to fail if the preferred port is not free."""

    def in_order(self) -> Iterator[int]:
        """Yield the ports to try, before we ask the system for any port."""
        if self.strict and self.preferred is not None:
            yield self.preferred
            return
        for port in (self.current, self.preferred):
            if port is not None:
                yield port
        if (port := self.last()) is not None:
            yield port


class PortAllocator:
    """The ports of this supervisor's services, and the sockets that hold them."""

    def __init__(self, holder: Callable[[int], Holder | None]) -> None:
        """``holder`` names the process that listens on a port."""
        self._holder = holder
        self._taken: dict[str, int] = {}
        self._kept: dict[str, socket.socket] = {}
        self._choosing = threading.Lock()
        """Held while we choose, so that two services do not choose the same port. ``release`` never waits for it."""

    def choose(self, service: str, wish: PortRequest) -> Endpoint:
        """Choose the first wished port that is free everywhere, else one that the system assigns.

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
                    pass  # another program has just taken it: ours will fail to bind, and we choose again
            if wish.preferred is None or port == wish.preferred:
                return Endpoint(wish.host, port, usual=port == wish.preferred)
            return Endpoint(wish.host, port, wanted=wish.preferred, holder=self._who(wish.preferred, denied))

    def release(self, service: str) -> None:
        """Free the port of a service that has ended."""
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
        refused = holder is not None and holder.command == THE_SYSTEM
        advice = "Name" if refused else "End that program, or name"
        return PortUnavailableError(
            f"{service}: port {port} is {taken_by(holder)}, and port.strict allows no other port.",
            f"{advice} another port in port.preferred.",
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
            return Holder(command=THE_SYSTEM)
        return holder
