"""Edit TOML with tomlkit, through the same functions as ``json5``. This adds the right place of a new key, and CRLF."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Array, InlineTable, Item, Key, Table

from sidecar.commands.init.edit.json5 import Place
from sidecar.tauri.json5 import BOM


class TomlShapeError(ValueError):
    """An edit would change more than it should."""


def set_member(text: str, place: Place, value: Any, *, inline: bool = False) -> str:
    """Set the key at ``place`` to this value. Make missing tables on the way there.

    A value with members becomes a table of its own, or an inline table if ``inline``.
    """

    def change(document: tomlkit.TOMLDocument) -> None:
        table: Any = document
        *way, last = place
        for at, key in enumerate(way):
            if not _is_inside(table, key):
                raise KeyError(key)
            if key not in table and not isinstance(key, int):
                rest: Any = _item(value, inline=inline or isinstance(table, InlineTable))
                for name in reversed(place[at + 1 :]):
                    rest = _wrapped(str(name), rest, inline=inline or isinstance(table, InlineTable))
                _add(table, str(key), rest)
                return
            table = table[key]
        if not isinstance(table, Container | AbstractTable):
            raise KeyError(last)
        if str(last) in table:
            table[str(last)] = value
        else:
            _add(table, str(last), _item(value, inline=inline or isinstance(table, InlineTable)))

    return _edited(text, change)


def append_item(text: str, place: Place, value: Any) -> str:
    """Add an item to the array at ``place``. Make the array if it is missing."""
    try:
        found: Any = tomlkit.parse(_plain(text))
    except TOMLKitError as error:
        raise TomlShapeError(f"tomlkit cannot edit it: {error}") from None
    for key in place:
        if not _is_inside(found, key):
            raise KeyError(key)
        if not isinstance(key, int) and key not in found:
            return set_member(text, place, [value])
        found = found[key]
    if not isinstance(found, Array):
        raise KeyError(place[-1])

    def change(document: tomlkit.TOMLDocument) -> None:
        table: Any = document
        for key in place:
            table = table[key]
        table.append(value)

    return _edited(text, change)


def remove_member(text: str, place: Place) -> str:
    """Remove the key at ``place``."""

    def change(document: tomlkit.TOMLDocument) -> None:
        table: Any = document
        for key in place[:-1]:
            if not _is_inside(table, key) or (not isinstance(key, int) and key not in table):
                return
            table = table[key]
        if _is_inside(table, place[-1]) and place[-1] in table:
            table.remove(place[-1])

    return _edited(text, change)


def _is_inside(value: Any, key: str | int) -> bool:
    """Tell whether a value can have something at ``key``. Without this check, ``in`` would search inside a string."""
    if isinstance(key, int):
        return isinstance(value, list) and key < len(value)
    return isinstance(value, Container | AbstractTable)


def _plain(text: str) -> str:
    return text.removeprefix(BOM).replace("\r\n", "\n")


def _edited(text: str, change: Callable[[tomlkit.TOMLDocument], None]) -> str:
    """Apply ``change``. Restore the BOM, and CRLF if all lines had it."""
    plain = _plain(text)
    if plain and not plain.endswith("\n"):
        plain += "\n"  # else tomlkit would put a new key on the line of a final a.b = 1
    try:
        document = tomlkit.parse(plain)
        kept = tomlkit.dumps(document) == plain
        change(document)
        written = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise TomlShapeError(f"tomlkit cannot edit it: {error}") from None
    if not kept:
        raise TomlShapeError("an edit would not keep the order of its tables")
    if written == plain:
        return text
    try:
        tomllib.loads(written)
    except tomllib.TOMLDecodeError as error:
        raise TomlShapeError(f"tomlkit's edit of it is not valid TOML: {error}") from None
    crlf = text.count("\r\n") > 0 and text.count("\r\n") == text.count("\n")
    return (BOM if text.startswith(BOM) else "") + (written.replace("\n", "\r\n") if crlf else written)


def _item(value: Any, *, inline: bool) -> Item:
    if isinstance(value, dict) and not inline:
        table = tomlkit.table()
        for key, each in value.items():
            table.append(key, _inline(each) if isinstance(each, dict) else each)
        return table
    return _inline(value) if isinstance(value, dict) else tomlkit.item(value)


def _inline(value: dict[str, Any]) -> Item:
    return tomlkit.value("{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }")


def _key(key: str) -> str:
    return tomlkit.item({key: 0}).as_string().partition(" = ")[0]


def _value(value: Any) -> str:
    return (_inline(value) if isinstance(value, dict) else tomlkit.item(value)).as_string()


def _wrapped(key: str, item: Item, *, inline: bool) -> Item:
    if inline:
        return _inline({key: item})
    table = tomlkit.table(is_super_table=isinstance(item, Table))
    table.append(key, item)
    return table


def _add(table: Any, key: str, item: Item) -> None:
    """Add an item below the last key, but above the comments and blank lines that belong to the next table."""
    container = table.value if isinstance(table, AbstractTable) else table
    tail: list[tuple[Key | None, Item]] = []
    if not isinstance(item, Table) and not isinstance(table, InlineTable):
        body = container.body
        while body and body[-1][0] is None:
            tail.insert(0, body.pop())
    if isinstance(item, Table) and not isinstance(table, InlineTable):
        _part(table, container)
    table.append(key, item)
    for _, trivia in tail:
        container.append(None, trivia)


def _part(table: Any, container: Container) -> None:
    """Put an empty line before a new table."""
    text = table.as_string()
    if text.strip() and not text.endswith("\n\n") and container is table:
        container.append(None, tomlkit.nl())
