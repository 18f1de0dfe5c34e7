"""The addresses that services refer to, and their tokens.

No service waits for another one's start to learn its address. We choose a service's port when the first other service
asks for it, and keep it until the service itself is started. So two services may refer to each other. If the address
changes (the port was taken meanwhile, or the server speaks TLS), we restart the services that got the old one.

An app may keep an address of its own for a service, in front of whatever port the service has. Other services then get
it as the service's origin and URL. It is known from the start, and never changes. Port and host still say where the
service listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from sidecar.config.references import TOKEN, address_values, is_foreign, split_key
from sidecar.config.services import Service, url_of
from sidecar.config.wiring import references
from sidecar.core.events import Address, Endpoint
from sidecar.errors import SidecarError


class _Known(Struct):
    """Where a service should listen, and where it has answered."""

    host: str
    port: int
    address: Address | None = None


class AddressBook:
    """What we know about each service. ``values`` gives it to a program."""

    def __init__(
        self,
        services: Mapping[str, Service],
        make_token: Callable[[], str],
        kept: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Make a token for each service to whose token some configuration refers.

        ``kept`` has ``origin`` and ``url`` for each service with an address that the app keeps.
        """
        self._kept = kept or {}
        keys = {name: references(config) for name, config in services.items()}
        self._keys = {name: frozenset(filter(is_foreign, each)) for name, each in keys.items()}
        owners = {name for name, each in keys.items() if TOKEN in each}
        owners |= {target for each in self._keys.values() for target, field in map(split_key, each) if field == TOKEN}
        self.tokens = {name: make_token() for name in services if name in owners}
        """Each service's token. All runs of a service have the same one."""
        self._known: dict[str, _Known] = {}
        self._targets = {
            name: frozenset(
                target
                for target, field in map(split_key, each)
                if field != TOKEN and field not in self._kept.get(target, {})
            )
            for name, each in self._keys.items()
        }
        self.choosing: set[str] = set()
        """Services that are not started yet, and for which a port is being chosen."""
        self.problems: dict[str, SidecarError] = {}
        """Why there is no port for a service. Kept until a service asks for it again."""

    def targets(self, name: str) -> frozenset[str]:
        """Return the services to whose addresses this one refers. Addresses that the app keeps do not count."""
        return self._targets[name]

    def referrers(self, name: str) -> list[str]:
        """Return the services that refer to the address of this one."""
        return [each for each, targets in self._targets.items() if name in targets]

    def missing(self, name: str) -> list[str]:
        """Return the services whose addresses this one needs but does not know yet."""
        return sorted(self.targets(name) - self._known.keys())

    def values(self, name: str) -> dict[str, str]:
        """Return the values that the service refers to, by key. Call this once none is ``missing``."""
        found: dict[str, str] = {}
        if name in self.tokens:
            found[TOKEN] = self.tokens[name]
        for key in self._keys[name]:
            target, field = split_key(key)
            if field == TOKEN:
                found[key] = self.tokens[target]
            elif field in self._kept.get(target, {}):
                found[key] = self._kept[target][field]
            else:
                found[key] = _values(self._known[target])[field]
        return found

    def port_of(self, name: str) -> int | None:
        """Return the port that was chosen for the service; ``None`` if there is none yet."""
        return self._known[name].port if name in self._known else None

    def chosen(self, name: str, endpoint: Endpoint) -> None:
        """Keep the endpoint that was chosen. If it is the old one, what we know about the server still holds."""
        known = self._known.get(name)
        if known is None or (known.host, known.port) != (endpoint.host, endpoint.port):
            self._known[name] = _Known(endpoint.host, endpoint.port)

    def answered(self, name: str, address: Address) -> None:
        """Keep the address at which the service has answered."""
        self._known[name].address = address

    def forget(self, name: str) -> None:
        """Forget the service's port, which is given back."""
        self._known.pop(name, None)


def _values(known: _Known) -> dict[str, str]:
    address = known.address or Address()
    host = address.host or known.host
    return address_values(host, known.port, url_of(host, known.port, address.scheme, address.base or "/"))
