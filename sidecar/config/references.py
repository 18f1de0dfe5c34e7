"""References in texts of a configuration: ``{port}``, ``{token}``, ``{services.api.origin}``. Pure functions.

The text between the braces is the key. Double braces escape a key: ``{{port}}`` is the text ``{port}``. Any other brace
stays as it is, so JSON and ``${X}`` need no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

ADDRESS_FIELDS = ("port", "host", "url", "origin")
"""The fields of a service that listens."""

TOKEN = "token"  # noqa: S105  the name of a field
FIELDS = (*ADDRESS_FIELDS, TOKEN)

_SERVICES = "services."
_KEY = rf"(?:{'|'.join(FIELDS)}|services\.[^{{}}]*)"
_MARK = re.compile(rf"\{{\{{(?P<literal>{_KEY})\}}\}}|\{{(?P<key>{_KEY})\}}")


def keys_in(text: str) -> Iterator[str]:
    """Return the keys that the text refers to."""
    return (found["key"] for found in _MARK.finditer(text) if found["key"] is not None)


def fill(text: str, known: Mapping[str, str]) -> str:
    """Replace each reference by its value. Leave a reference without a known value as it is."""
    return _MARK.sub(_filler(known), text)


def _filler(known: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    def filled(found: re.Match[str]) -> str:
        if found["literal"] is not None:
            return f"{{{found['literal']}}}"
        return known.get(found["key"], found[0])

    return filled


def is_foreign(key: str) -> bool:
    """Tell whether the key names a service."""
    return key.startswith(_SERVICES)


def split_key(key: str) -> tuple[str, str]:
    """Split ``services.api.url`` into the service's name, which may have dots, and the field, if there is one."""
    name, _, field = key.removeprefix(_SERVICES).rpartition(".")
    return (name, field) if name else (field, "")


def address_values(host: str, port: int, url: str) -> dict[str, str]:
    """Return the values of ``ADDRESS_FIELDS``."""
    origin = "/".join(url.split("/", 3)[:3])
    return {"port": str(port), "host": host, "url": url, "origin": origin}
