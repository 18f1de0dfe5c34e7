"""The plugin's lines in an app's Rust. Only shapes that are surely understood are edited; all else is refused.

There is no parser here: tokens, so that comments and texts are not taken for code, and brackets, so that a statement's
begin is found. What goes in is written as rustfmt would write it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Mode = Literal["early", "setup"]

CRATE = "tauri_plugin_sidecar"

_TOKEN = re.compile(
    r"(?P<trivia>\s+|//[^\n]*)"
    r'|(?P<text>[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?\'(?:\\(?:u\{[^}]*\}|.[^\']*)|[^\\\'])\')'
    r"|(?P<life>'[A-Za-z_]\w*)"
    r"|(?P<word>(?:r\#)?[A-Za-z_]\w*|\d\w*)"
    r"|(?P<mark>::|=>|.)",
    re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_OPEN, _CLOSE = "([{", ")]}"

_WIDTH, _ARRAY_WIDTH, _SHORT = 100, 60, 10
"""rustfmt's: a line, an array on one line, an element that may stand beside others in a longer one."""


class RustShapeError(ValueError):
    """The code is not of a shape that is understood; the text says which part."""


class Token(Struct):
    """A word, a text or a mark."""

    text: str
    start: int
    end: int


def add_plugin(text: str, mode: Mode) -> str:
    """The app's source with the plugin in it; unchanged if it is there. Raises ``RustShapeError``."""
    tokens = tokenize(text)
    if any(token.text == CRATE for token in tokens):
        return text
    words = [token.text for token in tokens]
    first, end = _context_call(words)
    name = "context" if "context" not in words else "tauri_context"
    edits: list[tuple[int, int, str]] = []
    if _is_argument(words, first, end):
        dot = first - 3
        if mode == "early":
            statement = tokens[_statement(words, dot)].start
            macro = text[tokens[first].start : tokens[end - 1].end]
            let = f"let mut {name} = {macro};{_line_end(text)}{_indent(text, statement)}"
            edits += [(statement, statement, let), (tokens[first].start, tokens[end - 1].end, name)]
    else:
        name, dot = _bound(words, first, end)
        if mode == "early" and words[first - 3] != "mut":
            edits.append((tokens[first - 2].start, tokens[first - 2].start, "mut "))
    at = tokens[dot].start
    start = f"launch(&mut {name})" if mode == "early" else "init()"
    edits.append((at, at, f".plugin({CRATE}::{start}){_line_end(text)}{_indent(text, at)}"))
    for begin, finish, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[finish:]
    return text


def mode_of(text: str) -> Mode | None:
    """How the plugin is started here; ``None`` if it is not, or in a way of its own."""
    words = [token.text for token in tokenize(text)]
    modes: dict[str, Mode] = {"launch": "early", "init": "setup"}
    starts = [words[at + 2] for at in range(len(words) - 2) if words[at : at + 2] == [CRATE, "::"]]
    return next((modes[word] for word in starts if word in modes), None)


def commands(text: str) -> list[str]:
    """The names in ``generate_handler!``. Raises ``RustShapeError`` where they are more than names."""
    words = [token.text for token in tokenize(text)]
    found: list[str] = []
    for at, word in enumerate(words):
        if word == "generate_handler" and words[at + 1 : at + 3] == ["!", "["]:
            inside = words[at + 3 : _closing(words, at + 2)]
            if not all(re.fullmatch(r"\w+|::|,", each) for each in inside):
                raise RustShapeError("the commands in generate_handler! are more than names")
            found += [path.rpartition("::")[2] for path in "".join(inside).split(",") if path]
    return list(dict.fromkeys(found))


def declare_commands(text: str, names: Sequence[str]) -> str:
    """A build script that tells Tauri the app's commands; unchanged if it does. Raises ``RustShapeError``."""
    tokens = tokenize(text)
    words = [token.text for token in tokens]
    if "AppManifest" in words:
        missing = [name for name in names if f'"{name}"' not in words]
        if missing:
            raise RustShapeError(f"it declares commands already, but not {', '.join(missing)}")
        return text
    calls = [at for at in range(len(words)) if words[at : at + 5] == ["tauri_build", "::", "build", "(", ")"]]
    if len(calls) != 1 or not _begins_line(text, tokens[calls[0]].start):
        raise RustShapeError("it is more than a call of tauri_build::build()")
    start, end = tokens[calls[0]].start, tokens[calls[0] + 4].end
    end += 1 if text[end : end + 1] == ";" else 0
    indent, eol = _indent(text, start), _line_end(text)
    lines = (
        f"let commands = &{_array(names, indent, eol)};",
        "let manifest = tauri_build::AppManifest::new().commands(commands);",
        "let attributes = tauri_build::Attributes::new().app_manifest(manifest);",
        'tauri_build::try_build(attributes).expect("tauri-build failed");',
    )
    return text[:start] + f"{eol}{indent}".join(lines) + text[end:]


def tokenize(text: str) -> list[Token]:
    """The code without white space and comments. Raises ``RustShapeError`` for a comment that is never closed."""
    tokens, at = list[Token](), 0
    while at < len(text):
        if text.startswith("/*", at):
            at = _comment_end(text, at)
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            raise AssertionError(at)  # the last alternative takes any character
        if found.lastgroup != "trivia" and found["trivia"] is None:
            tokens.append(Token(found[0], at, found.end()))
        at = found.end()
    return tokens


def _comment_end(text: str, at: int) -> int:
    """Block comments nest."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    raise RustShapeError("a comment is never closed")


def _context_call(words: list[str]) -> tuple[int, int]:
    """The one ``[tauri::]generate_context!()``: the index of its first word, and the one after its last."""
    calls = [at for at in range(len(words)) if words[at : at + 4] == ["generate_context", "!", "(", ")"]]
    if len(calls) != 1:
        raise RustShapeError(f"generate_context!() is called {len(calls)} times, and not once")
    at = calls[0]
    return (at - 2 if words[at - 2 : at] == ["tauri", "::"] else at), at + 4


def _is_argument(words: list[str], first: int, end: int) -> bool:
    """Whether it is ``.run(HERE)`` or ``.build(HERE)``."""
    return _is_run(words, first - 3) and words[end : end + 1] == [")"]


def _is_run(words: list[str], at: int) -> bool:
    return words[at : at + 3] in ([".", "run", "("], [".", "build", "("])


def _bound(words: list[str], first: int, end: int) -> tuple[str, int]:
    """The name of ``let [mut] NAME = HERE;`` and the dot of the one ``.run(NAME)``."""
    name = words[first - 2]
    let = words[first - 4 : first - 2] if words[first - 3] == "mut" else words[first - 3 : first - 2]
    if let not in (["let"], ["let", "mut"]) or words[first - 1] != "=" or words[end : end + 1] != [";"]:
        raise RustShapeError("what becomes of generate_context!() is neither .run(…) nor a plain let")
    runs = [at for at in range(end, len(words)) if _is_run(words, at) and words[at + 3 : at + 5] == [name, ")"]]
    if len(runs) != 1:
        raise RustShapeError(f".run({name}) is there {len(runs)} times, and not once")
    return name, runs[0]


def _statement(words: list[str], at: int) -> int:
    """The index of the first word of the statement that ``words[at]`` is in."""
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


def _closing(words: list[str], at: int) -> int:
    """The index of the bracket that closes the one at ``at``."""
    depth = 0
    for index in range(at, len(words)):
        depth += (words[index] in _OPEN) - (words[index] in _CLOSE)
        if depth == 0:
            return index
    raise RustShapeError("a bracket is never closed")


def _indent(text: str, at: int) -> str:
    """What stands before this place on its line. Raises ``RustShapeError`` if that is more than white space."""
    if not _begins_line(text, at):
        raise RustShapeError("the app is built on one line, and not line by line")
    return text[text.rfind("\n", 0, at) + 1 : at]


def _begins_line(text: str, at: int) -> bool:
    return text[text.rfind("\n", 0, at) + 1 : at].strip(" \t") == ""


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _array(names: Sequence[str], indent: str, eol: str) -> str:
    """A list of texts as rustfmt breaks it."""
    items = [f'"{name}"' for name in names]
    if len(line := ", ".join(items)) + 2 <= _ARRAY_WIDTH:
        return f"[{line}]"
    lines = [f"{indent}    "]
    packed = all(len(item) <= _SHORT for item in items)
    for item in items:
        if lines[-1].strip() and (not packed or len(f"{lines[-1]} {item},") > _WIDTH):
            lines.append(f"{indent}    ")
        lines[-1] += f"{' ' if lines[-1].strip() else ''}{item},"
    return f"[{eol}{eol.join(lines)}{eol}{indent}]"
