"""Read the address that a program prints, by the groups of ``ready.pattern``. Pure functions over text.

A printed line proves nothing: the runtime checks the owner of the socket before the service is ready.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sidecar.config.groups import HOST, PORT, URL
from sidecar.core.events import Address, Endpoint

PORT_MOST = 65_535

_URL = r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.*-]*)(?::(?P<port>\d{1,5}))?(?P<base>/[^\s?#]*)?"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HERE = r"localhost|[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*"
"""``localhost``, or a literal address. We resolve no other name: the text of a line may come from anywhere."""


def says_where(groups: Mapping[str, str]) -> bool:
    """Tell whether the line says where the program listens."""
    return URL in groups or PORT in groups


def captured(groups: Mapping[str, str], host: str) -> tuple[Endpoint, Address] | None:
    """Return the address that the program prints: its endpoint, and its scheme and base.

    The result is ``None`` if the text is no address. ``host`` is used if the line names neither a
    literal address nor ``localhost``.
    """
    found = re.match(_URL, groups.get(URL, ""))
    told = {name: text for name, text in found.groupdict().items() if text} if found else {}
    told |= {name: groups[name] for name in (HOST, PORT) if groups.get(name)}
    scheme = told.get("scheme", "http")
    digits = told.get(PORT) or (str(_DEFAULT_PORTS[scheme]) if "scheme" in told else "")
    port = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(PORT_MOST)) else 0
    if not 1 <= port <= PORT_MOST:
        return None
    named = told.get(HOST, "").strip("[]").lower()
    endpoint = Endpoint(named if re.fullmatch(_HERE, named) else host, port)
    return endpoint, Address("https" if scheme == "https" else "http", base=told.get("base", "/"))
