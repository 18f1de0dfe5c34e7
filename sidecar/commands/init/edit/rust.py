"""Add the plugin's lines to an app's Rust code. Edit only shapes that we surely understand; refuse everything else.

There is no parser here. Tokens separate comments and strings from code, and brackets tell where a statement begins. New
code is formatted as rustfmt does.
"""

from __future__ import annotations

import re

from msgspec import Struct

CRATE = "tauri_plugin_sidecar"
HELPER = "tauri_sidecar_build"
PLACE_BINARY = f"{HELPER}::place_binary();"

_TOKEN = re.compile(
    r"(?P<trivia>\s+|//[^\n]*)"
    r'|(?P<raw>[bc]?r(?P<hashes>\#*)")'
    r'|(?P<text>(?P<quote>[bc]?")(?:(?:\\.|[^"\\])*"(?P<closed>))?|b?\'(?:\\(?:u\{[^}]{0,8}\}|.[^\']{0,8})|[^\\\'])\')'
    r"|(?P<life>'[A-Za-z_]\w*)"
    r"|(?P<word>(?:r\#)?[A-Za-z_]\w*|\d\w*)"
    r"|(?P<mark>::|=>|.)",
    re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_OPEN, _CLOSE = "([{", ")]}"


class RustShapeError(ValueError):
    """The code has a shape that we do not understand; the text says which part."""


class Token(Struct):
    """A word, a string or a mark."""

    text: str
    start: int
    end: int


def add_plugin(text: str) -> str:
    """Add the plugin to the app's source, unless it is there. Raises ``RustShapeError``."""
    tokens = tokenize(text)
    if any(token.text == CRATE for token in tokens):
        return text
    words = [token.text for token in tokens]
    first, end = _context_call(words)
    name = "context" if "context" not in words else "tauri_context"
    edits: list[tuple[int, int, str]] = []
    if _is_argument(words, first, end):
        dot = first - 3
        statement = tokens[_statement(words, dot)].start
        macro = text[tokens[first].start : tokens[end - 1].end]
        let = f"let mut {name} = {macro};{_line_end(text)}{_indent(text, statement)}"
        edits += [(statement, statement, let), (tokens[first].start, tokens[end - 1].end, name)]
    else:
        name, dot = _bound(words, first, end)
        if words[first - 3] != "mut":
            edits.append((tokens[first - 2].start, tokens[first - 2].start, "mut "))
    at = tokens[dot].start
    edits.append((at, at, f".plugin({CRATE}::init(&mut {name})){_line_end(text)}{_indent(text, at)}"))
    for begin, finish, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[finish:]
    return text


def names_runtime(text: str) -> bool:
    """Tell whether the app names its runtime with ``.runtime(tauri_runtime_…)``, as apps of Tauri 3 do."""
    try:
        words = [token.text for token in tokenize(text)]
    except RustShapeError:
        return False  # add_plugin will refuse the file for the same reason
    calls = (at for at in range(len(words) - 3) if words[at : at + 3] == [".", "runtime", "("])
    return any(words[at + 3].startswith("tauri_runtime_") for at in calls)


def place_binary(text: str) -> str:
    """Make a build script put the binary in place first, unless it already does. Raises ``RustShapeError``."""
    tokens = tokenize(text)
    words = [token.text for token in tokens]
    if HELPER in words:
        return text
    mains = [at for at in range(len(words)) if words[at : at + 4] == ["fn", "main", "(", ")"]]
    if len(mains) != 1 or "{" not in words[mains[0] :]:
        raise RustShapeError("it has no fn main()")
    first = words.index("{", mains[0]) + 1
    if first == len(words) or not _begins_line(text, tokens[first].start):
        raise RustShapeError("its fn main() is written on one line")
    at = tokens[first].start
    return f"{text[:at]}{PLACE_BINARY}{_line_end(text)}{_indent(text, at)}{text[at:]}"


def tokenize(text: str) -> list[Token]:
    """Return the code's tokens without white space and comments.

    Raises ``RustShapeError`` for a comment or a string that is never closed.
    """
    tokens, at = list[Token](), 0
    while at < len(text):
        if text.startswith("/*", at):
            at = _comment_end(text, at)
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            raise AssertionError(at)  # the last alternative takes any character
        end = found.end()
        if found["raw"] is not None:
            close = '"' + found["hashes"]
            end = text.find(close, end) + len(close)
        if end < found.end() or (found["quote"] is not None and found["closed"] is None):
            raise RustShapeError("a string is never closed")
        if found.lastgroup != "trivia" and found["trivia"] is None:
            tokens.append(Token(text[at:end], at, end))
        at = end
    return tokens


def _comment_end(text: str, at: int) -> int:
    """Return the end of a block comment. They can be nested."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    raise RustShapeError("a comment is never closed")


def _context_call(words: list[str]) -> tuple[int, int]:
    """Find the only ``[tauri::]generate_context!()``; return the indices of its first word and after its last one."""
    calls = [at for at in range(len(words)) if words[at : at + 4] == ["generate_context", "!", "(", ")"]]
    if len(calls) != 1:
        raise RustShapeError(f"generate_context!() is called {len(calls)} times instead of once")
    at = calls[0]
    return (at - 2 if words[at - 2 : at] == ["tauri", "::"] else at), at + 4


def _is_argument(words: list[str], first: int, end: int) -> bool:
    """Tell whether the call is in ``.run(HERE)`` or ``.build(HERE)``."""
    return _is_run(words, first - 3) and words[end : end + 1] == [")"]


def _is_run(words: list[str], at: int) -> bool:
    return words[at : at + 3] in ([".", "run", "("], [".", "build", "("])


def _bound(words: list[str], first: int, end: int) -> tuple[str, int]:
    """Return the name in ``let [mut] NAME = HERE;``, and the index of the dot in the only ``.run(NAME)``."""
    name = words[first - 2]
    let = words[first - 4 : first - 2] if words[first - 3] == "mut" else words[first - 3 : first - 2]
    if let not in (["let"], ["let", "mut"]) or words[first - 1] != "=" or words[end : end + 1] != [";"]:
        raise RustShapeError("generate_context!() is neither inside .run(…) nor in a plain let")
    runs = [at for at in range(end, len(words)) if _is_run(words, at) and words[at + 3 : at + 5] == [name, ")"]]
    if len(runs) != 1:
        raise RustShapeError(f".run({name}) is called {len(runs)} times instead of once")
    return name, runs[0]


def _statement(words: list[str], at: int) -> int:
    """Return the index of the first word of the statement around ``words[at]``."""
    depth = 0
    for index in range(at - 1, -1, -1):
        word = words[index]
        if word in _CLOSE:
            depth += 1
        elif depth and word in _OPEN:
            depth -= 1
        elif depth == 0 and word in {";", "{"}:
            return index + 1
        elif depth == 0 and word in {"(", "[", ",", "=>", "|"}:
            break
    raise RustShapeError("the app is built inside another expression")


def _indent(text: str, at: int) -> str:
    """Return the indentation before this place. Raises ``RustShapeError`` if there is code before it on the line."""
    if not _begins_line(text, at):
        raise RustShapeError("the app is built on one line, not with one call on each line")
    return text[text.rfind("\n", 0, at) + 1 : at]


def _begins_line(text: str, at: int) -> bool:
    return text[text.rfind("\n", 0, at) + 1 : at].strip(" \t") == ""


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
