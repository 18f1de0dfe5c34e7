"""Web origins as a browser writes them: scheme, host and port only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from msgspec import Struct

from sidecar.config.strict import NAME_SHOWN, did_you_mean, fault
from sidecar.errors import InvalidParamsError

SHOWN = 80
"""How many characters of a wrong origin its error quotes."""

LARGEST_PORT = 65_535

_ORIGIN = re.compile(r"(https?)://(?:\[([0-9a-f:.]+)\]|([0-9a-z._-]+))(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NUMBER_AT_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
"""The end of a host that a browser takes for an IPv4 address, whatever comes before."""


class Origin(Struct, frozen=True):
    """The origin of a page. ``host`` is a literal address, ``localhost``, or another name."""

    host: str
    port: int
    is_name: bool = False
    """Whether ``host`` is another name. Only a resolver knows its addresses then."""


def parse_origin(text: str, path: str = "$.params.origin") -> Origin:
    """Read an origin such as ``http://127.0.0.1:5173`` or ``https://[::1]``. ``path`` is its place in the request.

    Raises ``InvalidParamsError``.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise _no_origin(text, path)
    scheme, v6, host, digits = found.groups()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if port > LARGEST_PORT:
        raise _no_origin(text, path)
    if host is not None and not _NUMBER_AT_END.fullmatch(host):
        local = host == "localhost" or host.endswith(".localhost")
        return Origin("localhost", port) if local else Origin(host, port, is_name=True)
    try:
        return Origin(_literal(v6 or host, is_v6=v6 is not None), port)
    except ValueError:
        raise _no_origin(text, path) from None


def kept_addresses(origins: Mapping[str, str], declared: Collection[str], path: str) -> dict[str, dict[str, str]]:
    """Return ``origin`` and ``url`` of each service for which the app keeps an address. Other services get these.

    Raises ``InvalidParamsError`` for a service that is not ``declared``, and for a text that is no origin.
    """
    found = {}
    for name, text in origins.items():
        if name not in declared:
            said, data = did_you_mean(name, declared)
            raise fault(f"{path}.{name[:NAME_SHOWN]}", f"There is no such service ({said})", **data)
        parse_origin(text, f"{path}.{name}")
        found[name] = {"origin": text, "url": f"{text}/"}
    return found


def _literal(text: str, *, is_v6: bool) -> str:
    """Return the address in its shortest spelling. Replace a wildcard, and IPv4 in IPv6 notation, by a usable address.

    Raises ``ValueError``.
    """
    import ipaddress  # noqa: PLC0415  only this needs it, and an import would delay each start

    if not is_v6:
        address = ipaddress.IPv4Address(text)
        return "127.0.0.1" if address.is_unspecified else str(address)
    longer = ipaddress.IPv6Address(text)
    if longer.ipv4_mapped is not None:
        return _literal(str(longer.ipv4_mapped), is_v6=False)
    return "::1" if longer.is_unspecified else str(longer)


def _no_origin(text: str, path: str) -> InvalidParamsError:
    return InvalidParamsError(
        f"{text[:SHOWN]!r} at {path} is no web origin. Send a scheme (http or https), a host, and a port if "
        "it is not the scheme's own, such as http://127.0.0.1:5173. Leave out the path, the query, and user names.",
        path=path,
    )
