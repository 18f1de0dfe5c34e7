"""The two variants of a configuration: the services of development, and those of a release of the app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from sidecar.config.services import SERVICE_TYPES, DevServer
from sidecar.config.strict import fault

Variant = Literal["dev", "release"]

_FIELDS = ("dev", "release")

_CHECKOUT_FOLDERS = frozenset({".venv", "venv", "node_modules"})
_RELOADERS = frozenset({"--reload", "--watch"})


def refuse_variants(value: object, path: str) -> None:
    """Refuse a service with a field for a variant, because ``initialize`` has not named the variant."""
    for field in _FIELDS:
        if isinstance(value, dict) and field in value:
            reason = f"{field} is understood only beside variant (dev or release), which initialize does not have,"
            raise fault(f"{path}.{field}", reason)


def in_variant(value: dict[str, Any], variant: Variant, path: str) -> dict[str, Any] | None:
    """Return the service in this variant; ``None`` if the variant has none. ``value`` has the right types."""
    base = {name: each for name, each in value.items() if name not in _FIELDS}
    if variant == "dev":
        return base if value.get("dev", True) else None
    patch = value.get("release")
    if patch is None:
        return None if _is_dev_server(base) else base
    if patch is False:
        return None
    made = base if patch is True else patch if "type" in patch else merged(base, patch)
    if _is_dev_server(made):
        reason = "A dev server is no part of a release: release needs a type of its own, or false,"
        raise fault(f"{path}.release", reason)
    return made


def only_in_a_checkout(service: Mapping[str, Any]) -> str | None:
    """Find a word in a release's service that only makes sense in a checkout; ``None`` if there is none.

    Such a word is a program in ``.venv`` or ``node_modules``, a folder above the app's resources, or a reloader.
    """
    command, cwd = service.get("command"), service.get("cwd")
    for word in [*(command if isinstance(command, list) else ()), cwd]:
        if isinstance(word, str):
            parts = re.split(r"[/\\]", word)
            if parts[0] == ".." or not _CHECKOUT_FOLDERS.isdisjoint(parts) or word in _RELOADERS:
                return word
    return None


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge by RFC 7396, as Tauri merges its own files: merge objects member by member; ``null`` removes a member."""
    made = dict(base)
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict):
            below = made.get(name)
            made[name] = merged(below if isinstance(below, dict) else {}, value)
        else:
            made[name] = value
    return made


def _is_dev_server(service: Mapping[str, Any]) -> bool:
    shape = SERVICE_TYPES.get(str(service.get("type")))
    return shape is not None and issubclass(shape, DevServer)
