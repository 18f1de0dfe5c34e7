"""JavaScript as tokens, and how an expression is taken apart. There is no parser here, as in ``rust``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

HOLE = "\ufffc"
"""Stands for a value that is known only when the script runs."""

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/|\A\#![^\n]*)"
    r'|(?P<text>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
    r"|(?P<word>[A-Za-z_$][\w$]*)"
    r"|(?P<number>\d[\w.]*)"
    r"|(?P<mark>=>|\?\.|\.\.\.|&&|\|\||\?\?|===?|!==?|.)",
    re.DOTALL,
)
_REGEX = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
BEFORE_VALUE = {"return", "typeof", "case", "of", "in", "await", "new", "else"}
OPEN, CLOSE = "([{", ")]}"


class Token(Struct, frozen=True):
    """A word, a text, a number or a mark."""

    kind: str
    text: str


Tokens = Sequence[Token]


def tokenize(text: str) -> list[Token]:
    """The code without white space and comments. What stands in the holes of a template follows at the end."""
    tokens: list[Token] = []
    inner: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "`":
            value, at = _template(text, at, inner)
            tokens.append(Token("text", value))
            continue
        if text[at] == "/" and _value_may_begin(tokens) and (regex := _REGEX.match(text, at)):
            tokens.append(Token("regex", regex[0]))
            at = regex.end()
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            raise AssertionError(at)  # the last alternative takes any character
        kind = found.lastgroup or ""
        if kind == "text":
            tokens.append(Token(kind, _unescape(found[0][1:-1])))
        elif kind != "space":
            tokens.append(Token(kind, found[0]))
        at = found.end()
    for code in inner:
        tokens += [Token("mark", ";"), *tokenize(code)]
    return tokens


def _value_may_begin(tokens: list[Token]) -> bool:
    """Whether a slash is the begin of a regular expression, and not a division."""
    last = tokens[-1] if tokens else Token("mark", ";")
    return (last.kind == "mark" and last.text not in {")", "]", "}"}) or last.text in BEFORE_VALUE


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def _template(text: str, at: int, inner: list[str]) -> tuple[str, int]:
    """The value of a template, and the place behind it; the code in its holes goes to ``inner``."""
    parts: list[str] = []
    at += 1
    while at < len(text) and text[at] != "`":
        if text[at] == "\\":
            parts.append(_unescape(text[at : at + 2]))
            at += 2
        elif text.startswith("${", at):
            end = _hole_end(text, at + 2)
            inner.append(text[at + 2 : end])
            parts.append(HOLE)
            at = end + 1
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at + 1


def _hole_end(text: str, at: int) -> int:
    """Where the brace is that closes a hole."""
    depth = 0
    while at < len(text):
        if text[at] == "`":
            at = _template(text, at, [])[1]
            continue
        quoted = _TOKEN.match(text, at)
        if text[at] in "'\"" and quoted is not None:
            at = quoted.end()
            continue
        if text[at] == "}" and depth == 0:
            return at
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
    return at


def texts(tokens: Tokens) -> list[str]:
    """What stands there; quoted texts are empty, so that none is taken for code."""
    return [token.text if token.kind != "text" else "" for token in tokens]


def closing(words: Sequence[str], at: int) -> int:
    """The index of the bracket that closes the one at ``at``; the end where none does."""
    depth = 0
    for index in range(at, len(words)):
        word = words[index]
        if word:
            depth += (word in OPEN) - (word in CLOSE)
        if depth == 0:
            return index
    return len(words)


def split(tokens: Tokens, mark: str) -> list[Tokens]:
    """The parts between marks that stand in no bracket."""
    parts: list[Tokens] = []
    depth, begin = 0, 0
    for index, word in enumerate(texts(tokens)):
        if depth == 0 and word == mark:
            parts.append(tokens[begin:index])
            begin = index + 1
        elif word:
            depth += (word in OPEN) - (word in CLOSE)
    return [*parts, tokens[begin:]]


def branches(tokens: Tokens) -> list[Tokens]:
    """The two values of ``condition ? a : b``."""
    parts = split(tokens, "?")
    return split(parts[1], ":") if len(parts) == 2 else []  # noqa: PLR2004  the condition, and the values


def bare(tokens: Tokens) -> Tokens:
    """Without parentheses around all of it."""
    while tokens and tokens[0].text == "(" and closing(texts(tokens), 0) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def is_arrow(tokens: Tokens) -> bool:
    """Whether it is a function, as far as it is written with an arrow."""
    return "=>" in texts(tokens)


def is_path(texts: Sequence[str]) -> bool:
    """Whether it is a call that puts a path together."""
    name = [word for word in texts[: texts.index("(")] if word != "."]
    return name in (["path", "join"], ["path", "resolve"], ["join"], ["resolve"], ["require", "resolve"])


def plain_name(program: str) -> str:
    """A program's name as it is everywhere."""
    return re.sub(r"\.(?:cmd|exe|bat)$", "", program)
