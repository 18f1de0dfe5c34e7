"""Split JavaScript into tokens, and evaluate simple expressions. As in ``edit.rust``, there is no parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

HOLE = "\ufffc"
"""Stands for a value that is known only when the script runs."""

VALUES_DEEP = 4
"""How many definitions are followed from one name to the next."""

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/|\A\#![^\n]*)"
    r'|(?P<text>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
    r"|(?P<word>[A-Za-z_$][\w$]*)"
    r"|(?P<number>\d[\w.]*)"
    r"|(?P<mark>=>|\?\.|\.\.\.|&&|\|\||\?\?|===?|!==?|.)",
    re.DOTALL,
)
_REGEX = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n]){0,100}+\]|[^/\\\n\[]){1,2000}+/[a-z]*")
"""The counts are bounded. Otherwise the search from each of many slashes would go on to the end of the line."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
BEFORE_VALUE = {"return", "typeof", "case", "of", "in", "await", "new", "else"}
OPEN, CLOSE = "([{", ")]}"


class Token(Struct, frozen=True):
    """A word, a string, a number or a mark."""

    kind: str
    text: str


Tokens = Sequence[Token]


def tokenize(text: str) -> list[Token]:
    """Return the code's tokens without white space and comments. The code in a template's holes comes last."""
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
        if found[0] == "/" and text.startswith("/*", at):
            break  # a comment that is never closed
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
    """Tell whether a slash would begin a regular expression here. Otherwise it is a division."""
    last = tokens[-1] if tokens else Token("mark", ";")
    return (last.kind == "mark" and last.text not in {")", "]", "}"}) or last.text in BEFORE_VALUE


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def _template(text: str, at: int, inner: list[str]) -> tuple[str, int]:
    """Return the value of a template and the place after it. Add the code in its holes to ``inner``."""
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
    """Return the place of the brace that closes a hole."""
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
    """Return the text of each token; an empty text for a string, so that it is not taken for code."""
    return [token.text if token.kind != "text" else "" for token in tokens]


def closing(words: Sequence[str], at: int) -> int:
    """Return the index of the bracket that closes the one at ``at``; the number of words if none does."""
    depth = 0
    for index in range(at, len(words)):
        word = words[index]
        if word:
            depth += (word in OPEN) - (word in CLOSE)
        if depth == 0:
            return index
    return len(words)


def split(tokens: Tokens, mark: str) -> list[Tokens]:
    """Split at marks that are outside of brackets."""
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
    """Return the two values of ``condition ? a : b``; nothing for another expression."""
    parts = split(tokens, "?")
    return split(parts[1], ":") if len(parts) == 2 else []  # noqa: PLR2004  the condition, and the values


def bare(tokens: Tokens) -> Tokens:
    """Remove parentheses around the whole expression."""
    while tokens and tokens[0].text == "(" and closing(texts(tokens), 0) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def is_arrow(tokens: Tokens) -> bool:
    """Tell whether the expression has an arrow function."""
    return "=>" in texts(tokens)


def is_path(texts: Sequence[str]) -> bool:
    """Tell whether the expression is a call that builds a path."""
    name = [word for word in texts[: texts.index("(")] if word != "."] if "(" in texts else []
    return name in (["path", "join"], ["path", "resolve"], ["join"], ["resolve"], ["require", "resolve"])


def plain_name(program: str) -> str:
    """Return a program's name without the suffix that it has on Windows."""
    return re.sub(r"\.(?:cmd|exe|bat)$", "", program)


class Source:
    """The tokens of one file, and the values of its expressions."""

    def __init__(self, tokens: list[Token], unclear: Callable[[str], None]) -> None:
        """Call ``unclear`` with a reason if something that matters is known only when the file runs."""
        self.tokens = tokens
        self.words = texts(tokens)
        self.unclear = unclear
        self._known: dict[str, Tokens | None] = {}

    def value(self, tokens: Tokens, deep: int = VALUES_DEEP) -> str | None:
        """Return the text of an expression, with ``HOLE`` for computed parts; ``None`` if it is empty."""
        tokens = bare(tokens)
        if not tokens:
            return None
        if len(both := branches(tokens)) == 2:  # noqa: PLR2004  the values before and after the colon
            first, second = (self.value(each, deep) for each in both)
            return first if first is not None and plain_name(first) == plain_name(second or "") else HOLE
        if len(parts := split(tokens, "+")) > 1:
            return "".join(self.value(part, deep) or HOLE for part in parts)
        if len(tokens) == 1:
            return self._single(tokens[0], deep)
        said = texts(tokens)
        if said in (["process", ".", "execPath"], ["process", ".", "argv0"]):
            return "node"
        if said[-2:-1] != ["("] and said[-1:] == [")"] and is_path(said):
            inside = split(tokens[said.index("(") + 1 : -1], ",")
            return "/".join(filter(None, (self.value(part, deep) for part in inside)))
        return HOLE

    def _single(self, token: Token, deep: int) -> str:
        if token.kind in {"text", "number"}:
            return token.text
        if token.text in {"__dirname", "__filename"}:
            return ""
        known = self.definition(token.text) if deep else None
        return (self.value(known, deep - 1) or HOLE) if known else HOLE

    def items(self, tokens: Tokens) -> list[str] | None:
        """Return the texts of an array's items; ``None`` if it is not an array."""
        tokens = bare(tokens)
        added: list[str] = []
        if len(tokens) == 1 and (known := self.definition(tokens[0].text)):
            name = tokens[0].text
            for at, word in enumerate(self.words):
                if word == name and self.words[at + 1 : at + 2] == ["."]:
                    if self.words[at + 2] not in {"push", "join"}:
                        return None
                    pushed = self.arguments(at + 2) if self.words[at + 2] == "push" else None
                    added += [self.value(each) or HOLE for each in pushed or ()]
            tokens = known
        if texts(tokens)[:1] != ["["] or closing(texts(tokens), 0) != len(tokens) - 1:
            return None
        words: list[str] = []
        for part in split(tokens[1:-1], ","):
            if part and part[0].text == "...":
                quoted = [token.text for token in part if token.kind == "text"]
                if "argv" in texts(part):
                    continue  # arguments that a person would type: Tauri passes none
                if quoted[:1] != ["--host"]:
                    return None
                words += ["--host", HOLE]
            elif part:
                words.append(self.value(part) or HOLE)
        return words + added

    def members(self, tokens: Tokens) -> Iterator[tuple[str, Tokens]]:
        """Yield the members of an object. A spread has the name ``...``."""
        if not tokens:
            return
        if tokens[0].text != "{" or tokens[0].kind == "text":
            self.unclear("it computes options")
            return
        for part in split(tokens[1:-1], ","):
            if not part:
                continue
            if part[0].text == "...":
                yield "...", part[1:]
            elif len(part) == 1:
                yield part[0].text, part
            elif part[1].text == ":":
                yield part[0].text, part[2:]
            else:
                yield part[0].text, ()  # a method

    def definition(self, name: str) -> Tokens | None:
        """Return the value of ``const name = …``; ``None`` if the name has no value, or more than one."""
        if name not in self._known:
            self._known[name] = self._define(name)
        return self._known[name]

    def _define(self, name: str) -> Tokens | None:
        found: list[int] = []
        for at, word in enumerate(self.words):
            if word != name or not at or self.words[at - 1] in {".", "?."}:
                continue
            following = self.words[at + 1 : at + 3]
            if following == ["+", "="] or following[:1] == ["["]:
                return None  # it is changed later
            if following[:1] == ["="]:
                found.append(at)
        if len(found) != 1 or self.words[found[0] - 1] not in {"const", "let", "var"}:
            return None
        return self.until(found[0] + 2, {";", ",", "const", "let", "var", "function", "import", "export"})

    def until(self, at: int, ends: set[str]) -> Tokens:
        """Return the expression that begins at ``at``. Without a semicolon, the next statement's first word ends it."""
        depth, index = 0, at
        while index < len(self.words):
            word, kind = self.words[index], self.tokens[index].kind
            if kind != "text":
                if depth == 0 and (word in ends or word in CLOSE or (index > at and self._begins(index))):
                    break
                depth += (word in OPEN) - (word in CLOSE)
            index += 1
        return self.tokens[at:index]

    def _begins(self, at: int) -> bool:
        """Tell whether a word follows a value directly, as only the first word of the next statement can."""
        before = self.tokens[at - 1]
        is_value = before.kind in {"text", "word", "number"} or before.text in {")", "]", "}"}
        return self.tokens[at].kind == "word" and is_value and before.text not in BEFORE_VALUE

    def arguments(self, at: int) -> list[Tokens] | None:
        """Return the arguments of the call of the name at ``at``; ``None`` if it is not called."""
        if self.words[at + 1 : at + 2] != ["("]:
            return None
        end = self.close(at + 1)
        inside = self.tokens[at + 2 : end]
        return [part for part in split(inside, ",") if part]

    def close(self, at: int) -> int:
        """Return the index of the bracket that closes the one at ``at``."""
        return closing(self.words, at)

    def text(self, at: int) -> str | None:
        """Return the quoted text at ``at``; ``None`` if there is none."""
        token = self.tokens[at] if at < len(self.tokens) else None
        return token.text if token is not None and token.kind == "text" else None
