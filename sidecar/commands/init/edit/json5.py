"""Edit JSON and JSON5 texts: write new parts in the file's own style, and touch nothing else.

Each function takes a text and returns one. A place is a sequence of member names (and numbers, for items of arrays).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.tauri.json5 import Array, Node, Object, Scalar, after_trivia, parse, value_of

Place = Sequence[str | int]

LINE_OF_ARRAY = 80
"""Up to this length, an array of plain values is written on one line, as formatters do."""

_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


class _Style(Struct, frozen=True):
    """The style of the file."""

    unit: str
    """One step of indentation."""
    end: str
    """The line ending."""
    quote: str
    bare: bool
    """Whether keys have no quotes."""


def set_member(text: str, place: Place, value: Any) -> str:
    """Set the member at ``place`` to this value. Make missing objects on the way there.

    Raises ``KeyError`` if something on the way is not an object.
    """
    node, at = parse(text), 0
    for at, key in enumerate(place):  # noqa: B007  the last one is used below
        found = _below(node, key)
        if found is None:
            break
        node = found
    else:
        return text if _are_same(value_of(node), value) else _replace(text, node, value)
    if not isinstance(node, Object):
        raise KeyError(place[at])
    for name in reversed(place[at + 1 :]):
        value = {name: value}
    return _insert(text, node, [member.node for member in node.members], value, str(place[at]))


def append_item(text: str, place: Place, value: Any) -> str:
    """Add an item to the array at ``place``. Make the array if it is missing."""
    node: Node | None = parse(text)
    for key in place:
        node = _below(node, key)
    if node is None:
        return set_member(text, place, [value])
    if not isinstance(node, Array):
        raise KeyError(place[-1])
    return _insert(text, node, node.items, value, None)


def remove_member(text: str, place: Place) -> str:
    """Remove the member at ``place``, with its comma and its line. Comments stay."""
    parent: Node | None = parse(text)
    for key in place[:-1]:
        parent = _below(parent, key)
    if not isinstance(parent, Object) or (member := parent.find(str(place[-1]))) is None:
        return text
    start, end = member.start, member.node.end
    comma = after_trivia(text, end)
    if text[comma : comma + 1] == ",":
        text = text[:comma] + text[comma + 1 :]
    elif (at := parent.members.index(member)) > 0:
        # it was the last one, so the comma before it goes, too
        before = after_trivia(text, parent.members[at - 1].node.end)
        text = text[:before] + text[before + 1 :]
        start, end = start - 1, end - 1
    return _cut(text, start, end)


def _cut(text: str, start: int, end: int) -> str:
    """Remove a span, and its lines if nothing else is on them."""
    head = _line_start(text, start)
    after = end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    line_end = next((each for each in ("\r\n", "\n", "\r") if text.startswith(each, after)), "")
    if text[head:start].strip(" \t") == "" and line_end:
        return text[:head] + text[after + len(line_end) :]
    if line_end or text[after : after + 1] in {"}", "]"}:
        return text[:start].rstrip(" \t") + text[end:]
    return text[:start] + text[after:]


def _are_same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in JSON. For Python, ``True`` equals 1, even inside lists and dicts."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_same(each, other[key]) for key, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _below(node: Node | None, key: str | int) -> Node | None:
    if isinstance(node, Object):
        member = node.find(str(key))
        return member.node if member else None
    if isinstance(node, Array) and isinstance(key, int) and key < len(node.items):
        return node.items[key]
    return None


def _replace(text: str, node: Node, value: Any) -> str:
    return text[: node.start] + _write(value, _style(text), _indent_at(text, node.start)) + text[node.end :]


def _insert(text: str, parent: Node, children: list[Node], value: Any, key: str | None) -> str:
    """Insert a new last child into an object or array."""
    style = _style(text)
    close = parent.end - 1
    if not children:
        outer = _indent_at(text, parent.start)
        inner = _last_content(text, parent.start + 1, close)
        own = _entry(key, value, style, outer + style.unit)
        if key is None and "\n" not in own and inner == parent.start + 1:
            return text[: parent.start + 1] + own + text[close:]
        return f"{text[:inner]}{style.end}{outer}{style.unit}{own}{style.end}{outer}{text[close:]}"
    last = children[-1].end
    comma = after_trivia(text, last)
    trailing = text[comma : comma + 1] == ","
    content = _last_content(text, comma + 1 if trailing else last, close)
    first_on_line = _starts_line(text, _start_of(parent, children[-1]))
    own_lines = first_on_line or any(each in text[content:close] for each in "\n\r")
    indent = _indent_at(text, children[-1].start)
    own = _entry(key, value, style, indent)
    gap = f"{style.end}{indent}" if own_lines else " "
    before = text[:content] if trailing else f"{text[:last]},{text[last:content]}"
    rest = text[content:close]
    if not own_lines and content > last and _ends_in_line_comment(text, last, content):
        gap = f"{style.end}{indent}"
    return f"{before}{gap}{own}{',' if trailing else ''}{rest}{text[close:]}"


def _start_of(parent: Node, child: Node) -> int:
    if isinstance(parent, Object):
        return next(member.start for member in parent.members if member.node is child)
    return child.start


def _entry(key: str | None, value: Any, style: _Style, indent: str) -> str:
    written = _write(value, style, indent)
    return written if key is None else f"{_key(key, style)}: {written}"


def _write(value: Any, style: _Style, indent: str) -> str:
    deeper = indent + style.unit
    if isinstance(value, dict) and value:
        members = [f"{style.end}{deeper}{_entry(key, each, style, deeper)}" for key, each in value.items()]
        return f"{{{','.join(members)}{style.end}{indent}}}"
    if isinstance(value, list) and value:
        items = [_write(each, style, deeper) for each in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= LINE_OF_ARRAY and not any(isinstance(each, dict | list) for each in value):
            return line
        joined = ",".join(f"{style.end}{deeper}{item}" for item in items)
        return f"[{joined}{style.end}{indent}]"
    if isinstance(value, str):
        return _quoted(value, style)
    return msgspec.json.encode(value).decode()


def _key(key: str, style: _Style) -> str:
    return key if style.bare and _NAME.fullmatch(key) else _quoted(key, style)


def _quoted(text: str, style: _Style) -> str:
    written = msgspec.json.encode(text).decode()
    if style.quote == '"':
        return written
    return "'" + written[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


# ── the style of the file ─────────────────────────────────────────────────────────────────────────────────────────────


def _style(text: str) -> _Style:
    tree = parse(text)
    nodes = list(_walk(tree))
    keys = [text[member.start] for node in nodes if isinstance(node, Object) for member in node.members]
    strings = [text[node.start] for node in nodes if isinstance(node, Scalar) and isinstance(node.value, str)]
    quotes = [each for each in (*keys, *strings) if each in "\"'"]
    ends = re.search(r"\r\n|\n|\r", text)
    return _Style(
        unit=_unit(text, tree),
        end=ends[0] if ends else "\n",
        quote="'" if quotes.count("'") > quotes.count('"') else '"',
        bare=bool(keys) and sum(each not in "\"'" for each in keys) > len(keys) / 2,
    )


def _unit(text: str, tree: Node) -> str:
    """Return the indentation of the file's first member."""
    if isinstance(tree, Object):
        for member in tree.members:
            if _starts_line(text, member.start) and (indent := _indent_at(text, member.start)):
                return indent
    return "  "


def _walk(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Object):
        for member in node.members:
            yield from _walk(member.node)
    if isinstance(node, Array):
        for item in node.items:
            yield from _walk(item)


def _indent_at(text: str, at: int) -> str:
    """Return the white space at the beginning of the line."""
    line = text[_line_start(text, at) : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _starts_line(text: str, at: int) -> bool:
    head = _line_start(text, at)
    return head > 0 and text[head:at].strip(" \t") == ""


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _last_content(text: str, start: int, close: int) -> int:
    """Return the end of the last comment before ``close``, or ``start``. White space before the bracket stays there."""
    return start + len(text[start:close].rstrip())


def _ends_in_line_comment(text: str, start: int, end: int) -> bool:
    """Tell whether a text inserted at ``end`` would be part of a line comment."""
    line = text[max(text.rfind("\n", start, end), text.rfind("\r", start, end), start - 1) + 1 : end]
    return "//" in line and not line.rstrip().endswith("*/")
