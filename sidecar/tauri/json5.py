"""Parse JSON5 (and so JSON, and JSON with comments), and keep the place of everything in the text.

``parse`` returns a tree of nodes, each with its span; ``value_of`` returns the plain value. An edit changes only spans,
so a person's comments and layout stay. No maintained library for this format can do that.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from msgspec import Struct

DEPTH_MOST = 200
"""Deeper than any configuration, and far below Python's own limit, which would raise RecursionError."""

DIGITS_MOST = 400
"""More digits than any number in a configuration has, and below Python's own limit, which would raise ValueError."""

BOM = "\ufeff"

_TRIVIA = re.compile(r"(?:[\s\ufeff]+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:Infinity|NaN|0[xX][0-9a-fA-F]+|(?:0|[1-9]\d*)?(?:\.\d*)?(?:[eE][+-]?\d+)?)", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_HEX_DIGITS = {"x": 2, "u": 4}
_WORDS = {"true": True, "false": False, "null": None}
_LINE_ENDS = "\n\r\u2028\u2029"


class Node(Struct):
    """A value and its span in the text: ``text[start:end]``."""

    start: int
    end: int


class Scalar(Node):
    """A string, number, boolean or null."""

    value: Any


class Member(Struct):
    """A member of an object. The span of its key begins at ``start``."""

    key: str
    start: int
    key_end: int
    node: Node


class Object(Node):
    """An object. Its members are in the order of the text; a key may be there twice."""

    members: list[Member]

    def find(self, key: str) -> Member | None:
        """Return the member of that name. If there are several, return the last one, as every parser does."""
        return next((member for member in reversed(self.members) if member.key == key), None)


class Array(Node):
    """An array."""

    items: list[Node]


class Json5Error(ValueError):
    """The text is not JSON5. ``line`` and ``column`` begin at 1."""

    def __init__(self, reason: str, text: str, at: int) -> None:
        """``at`` is the offset of the fault in ``text``."""
        before = text[:at].replace("\r\n", "\n").replace("\r", "\n").lstrip(BOM)
        self.reason = reason
        self.line = before.count("\n") + 1
        self.column = len(before) - before.rfind("\n")
        super().__init__(f"{reason} at line {self.line}, column {self.column}")


def parse(text: str) -> Node:
    """Return the tree of a text. Raises ``Json5Error``."""
    return _Parser(text).document()


def value_of(node: Node) -> Any:
    """Return the plain value: dicts, lists and scalars."""
    match node:
        case Object(members=members):
            return {member.key: value_of(member.node) for member in members}
        case Array(items=items):
            return [value_of(item) for item in items]
        case Scalar(value=value):
            return value
        case _:
            raise AssertionError(node)


def is_too_deep(value: Any) -> bool:
    """Tell whether plain tables and lists are nested more deeply than ``parse`` allows."""
    level = [value]
    for _ in range(DEPTH_MOST):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def after_trivia(text: str, at: int) -> int:
    """Return the end of the white space and comments that begin at ``at``."""
    found = _TRIVIA.match(text, at)
    return found.end() if found else at


class _Parser:
    """One pass over the text, with one character of look-ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Node:
        self._skip()
        node = self._value(0)
        self._skip()
        if self._at < len(self._text):
            self._fail("nothing may follow the value")
        return node

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise Json5Error(reason, self._text, self._at if at is None else at)

    def _skip(self) -> None:
        self._at = after_trivia(self._text, self._at)
        if self._text.startswith("/*", self._at):
            self._fail("the comment is never closed")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Node:
        if depth > DEPTH_MOST:
            self._fail("nested too deeply")
        start, first = self._at, self._peek()
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        value: Any
        if first and first in "\"'":
            value = self._string()
        elif first and (first in "+-.IN" or first.isdecimal()):
            value = self._number()
        else:
            word = self._identifier() if first.isalpha() else ""
            if word not in _WORDS:
                self._fail("a value is missing" if not word else f"{word} is not a value; text needs quotes", start)
            value = _WORDS[word]
        return Scalar(start, self._at, value)

    def _object(self, depth: int) -> Object:
        start, members = self._at, list[Member]()
        self._at += 1
        while True:
            self._skip()
            if self._peek() == "}":
                self._at += 1
                return Object(start, self._at, members)
            key_start = self._at
            first = self._peek()
            if not first:
                self._fail("the object is never closed", start)
            key = self._string() if first in "\"'" else self._identifier()
            if not key and first not in "\"'":
                self._fail("a key is missing", key_start)
            key_end = self._at
            self._skip()
            if self._peek() != ":":
                self._fail("a colon is missing after the key")
            self._at += 1
            self._skip()
            members.append(Member(key, key_start, key_end, self._value(depth + 1)))
            self._separator("}")

    def _array(self, depth: int) -> Array:
        start, items = self._at, list[Node]()
        self._at += 1
        while True:
            self._skip()
            if self._peek() == "]":
                self._at += 1
                return Array(start, self._at, items)
            if not self._peek():
                self._fail("the array is never closed", start)
            items.append(self._value(depth + 1))
            self._separator("]")

    def _separator(self, close: str) -> None:
        self._skip()
        if self._peek() == ",":
            self._at += 1
        elif self._peek() != close:
            self._fail(f"a comma or {close} is missing")

    def _identifier(self) -> str:
        start = self._at
        while (each := self._peek()) and (each in "$_\u200c\u200d" or each.isalnum()):
            self._at += 1
        return self._text[start : self._at] if not self._text[start : start + 1].isdecimal() else ""

    def _number(self) -> int | float:
        found = _NUMBER.match(self._text, self._at)
        text = found[0] if found else ""
        digits = text.lstrip("+-")
        if digits in {"", "."} or digits.startswith((".e", ".E", "e", "E")):
            self._fail("a value is missing")
        self._at += len(text)
        if self._peek().isalnum() or self._peek() in {"_", "$", "."}:
            self._fail("that is not a number")
        sign = -1 if text.startswith("-") else 1
        if len(digits) > DIGITS_MOST:
            self._fail("that number has too many digits", self._at - len(text))
        if digits in {"Infinity", "NaN"}:
            return sign * (math.inf if digits == "Infinity" else math.nan)
        if digits[:2] in {"0x", "0X"}:
            return sign * int(digits, 16)
        return sign * (int(digits) if digits.isdecimal() else float(digits))

    def _string(self) -> str:
        start, quote, parts = self._at, self._peek(), list[str]()
        self._at += 1
        while (each := self._peek()) != quote:
            if not each or each in "\n\r":
                self._fail("the text is never closed", start)
            self._at += 1
            parts.append(self._escape() if each == "\\" else each)
        self._at += 1
        return _joined("".join(parts))

    def _escape(self) -> str:
        each = self._peek()
        self._at += 1
        if each in _HEX_DIGITS:
            digits = self._text[self._at : self._at + _HEX_DIGITS[each]]
            if len(digits) < _HEX_DIGITS[each] or not _HEX.fullmatch(digits):
                self._fail(rf"\{each} needs {_HEX_DIGITS[each]} hexadecimal digits")
            self._at += len(digits)
            return chr(int(digits, 16))
        if each and each in _LINE_ENDS:
            self._at += 1 if each == "\r" and self._peek() == "\n" else 0
            return ""  # the line goes on
        if each == "0" and self._peek().isdecimal():
            self._fail("there are no octal numbers")
        return _ESCAPES.get(each, each)


def _joined(text: str) -> str:
    r"""Join pairs of escapes such as ``\ud83d\ude00`` into one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= each <= "\udfff" for each in text)
