"""Convert plain JSON values to our structs, strictly. An error names the place, and the probable field."""

from __future__ import annotations

from collections.abc import Iterable
from types import GenericAlias
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from sidecar.errors import InvalidParamsError

REASON_SHOWN = 200
"""Bound on a reason in an answer. A reason quotes the client, which may have sent a very long text."""

NAME_SHOWN = 64
"""The same bound for the name of a field or a variable."""

_UNKNOWN = "Object contains unknown field `"
_MISSING = "Object missing required field `"


def convert_at(value: object, shape: object, path: str) -> Any:
    """Convert ``value`` to ``shape``.

    Raises ``InvalidParamsError`` with msgspec's reason. ``path`` is the place of ``value``; msgspec knows the rest.
    """
    try:
        # inside a tuple, every reason ends with a place. So place_of never takes the client's text for a place
        return msgspec.convert((value,), GenericAlias(tuple, (shape,)))[0]
    except msgspec.ValidationError as error:
        reason, place = place_of(error)
        place = place.removeprefix("[0]")
        raise _with_field(str(error), reason, path + place, _struct_at(shape, value, place)) from None


def place_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split msgspec's ``reason - at `$.a[0]` `` (or ``reason - at `key` in `$.a` ``) into the reason and ``.a[0]``."""
    reason, at, place = str(error).rpartition(" - at `")
    if not at:
        reason, place = place, ""
    if len(reason) > REASON_SHOWN:
        reason = f"{reason[:REASON_SHOWN]}…"
    return reason, place.partition("$")[2].rstrip("`")


def fault(place: str, reason: str, **data: object) -> InvalidParamsError:
    """Return the error for a wrong value at a place."""
    advice = "Correct that field and send the request again."
    return InvalidParamsError(f"{reason} at {place}.", advice, path=place, **data)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, if there is one."""
    from difflib import get_close_matches  # noqa: PLC0415  only a mistake needs it: start-up time is a feature

    names = {each.lower().replace("_", ""): each for each in known}
    found = get_close_matches(name[:NAME_SHOWN].lower().replace("_", ""), names, n=1)
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> tuple[str, dict[str, object]]:
    """Say which name was probably meant, or else which names there are. Return a clause, and the same as data."""
    known = tuple(known)
    meant = nearest(name, known)
    data: dict[str, object] = {"known": known}
    if meant is None:
        return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}", data
    return f"did you mean {meant}?", {**data, "nearest": meant}


def _with_field(whole: str, reason: str, place: str, shape: type[Struct] | None) -> InvalidParamsError:
    """Return the error, with the field's name if it is unknown or missing. msgspec gives only its parent's place."""
    start = next((start for start in (_UNKNOWN, _MISSING) if whole.startswith(start)), None)
    if start is None:
        return fault(place, reason)
    field = whole.removeprefix(start).rpartition("` - at `")[0][:NAME_SHOWN]
    if shape is None:
        return fault(place, reason, field=field)  # without a type we do not know the other fields
    known = _names_of(shape)
    if start == _MISSING:
        return fault(place, reason, field=field, known=known)
    said, data = did_you_mean(field, known)
    return fault(place, f"{reason} ({said})", field=field, **data)


def _names_of(shape: type[Struct]) -> tuple[str, ...]:
    """Return all fields of an object, as they are on the wire."""
    tag = shape.__struct_config__.tag_field
    return (*((tag,) if tag else ()), *(field.encode_name for field in msgspec.structs.fields(shape)))


def _struct_at(shape: Any, value: Any, place: str) -> type[Struct] | None:
    """Return the struct for a place of ``value``, such as ``.port`` or ``.ready.backoff``."""
    here = _choose(shape, value)
    for name in place.split(".")[1:]:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(here)} if here is not None else {}
        value = value.get(name) if isinstance(value, dict) else None
        here = _choose(fields.get(name), value)
    return here


def _choose(shape: Any, value: Any) -> type[Struct] | None:
    """Return the struct of ``shape``, which may be a union. Of several structs take the one with the value's tag."""
    inner = () if get_origin(shape) is list else get_args(shape)
    members = [each for each in (shape, *inner) if _is_struct(each)]
    if len(members) <= 1:
        return members[0] if members else None
    configs = {each: each.__struct_config__ for each in members}
    chosen = (each for each, it in configs.items() if isinstance(value, dict) and value.get(it.tag_field) == it.tag)
    return next(chosen, None)


def _is_struct(shape: object) -> bool:
    return isinstance(shape, type) and issubclass(shape, Struct)
