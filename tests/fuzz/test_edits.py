"""Edits of JSON5, TOML and Rust: the requested change is made, the rest stays, and broken texts are refused."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from sidecar.commands.init.edit import json5, rust, toml
from sidecar.commands.init.edit.rust import RustShapeError
from sidecar.commands.init.edit.toml import TomlShapeError
from sidecar.tauri.json5 import Json5Error, parse, value_of

# ── JSON5 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

BITS = [
    *("{", "}", "[", "]", ":", ",", '"', "'", "\\", "/*", "*/", "//", "\n", "\r\n", "\r", "\u2028", " ", "\t", "\xa0"),
    *("a", "b", "$", "_", '"a"', "'b'", "a:", "1", "-", "+", ".", "0x", "1e9", "9" * 5_000, "NaN", "Infinity", "true"),
    *("null", "\\u", "\\ud83d", "\\x4", "\ufeff", "٣", "é", "\v", "\f", "{a:1}", "[1,2]", "// c\u2028"),
]
TEXT = st.lists(st.sampled_from(BITS), max_size=25).map("".join)
GAP = st.sampled_from(["", " ", "\n", "\t", "// c\n", "/* , } */", "\xa0", "// d\u2028", "\ufeff", "\r\n  ", "\v"])
KEY = st.sampled_from(["a", "b", "'c'", '"d e"', "$f", '"\\u0061"'])
SCALAR = st.sampled_from(
    ["1", "-0x1F", ".5", "NaN", "'it\\'s'", '"// no"', "null", "true", "'\\\n'", '"\\ud83d\\ude00"']
)


def joined(parts: list[tuple[str, str]], comma: str) -> str:
    return ",".join(f"{gap}{part}{gap}" for gap, part in parts) + (comma if parts else "")


VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.tuples(st.lists(st.tuples(GAP, inner), max_size=3), st.sampled_from(["", ",", ", "])).map(
            lambda it: f"[{joined(*it)}]"
        )
        | st.tuples(
            st.lists(st.tuples(GAP, st.tuples(KEY, GAP, inner).map(lambda it: f"{it[0]}{it[1]}:{it[2]}")), max_size=3),
            st.sampled_from(["", ",", ",\n"]),
        ).map(lambda it: f"{{{joined(*it)}}}")
    ),
    max_leaves=8,
)
DOCUMENT = st.tuples(GAP, st.lists(st.tuples(GAP, st.tuples(KEY, VALUE).map(":".join)), max_size=4), GAP).map(
    lambda it: f"{it[0]}{{{joined(it[1], '')}{it[2]}}}{it[0]}"
)
PLACE = st.lists(st.sampled_from(["a", "b", "c", "new", "d e"]), min_size=1, max_size=3)
NEW = st.sampled_from([1, "it's", [], {}, [1, "x"], {"k": {"l": None}}, None, "\u2028"])


def same(one: Any, other: Any) -> bool:
    """Return whether the values are equal; a NaN equals a NaN."""
    return repr(one) == repr(other)


def set_in(value: Any, place: list[str], new: Any) -> Any:
    """Return the expected value. Raises ``KeyError`` if the path leads through a value that is not an object."""
    wanted = copy.deepcopy(value)
    table = wanted
    for key in place[:-1]:
        table = table.setdefault(key, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise KeyError(place)
    table[place[-1]] = new
    return wanted


def is_woven_into(old: str, new: str) -> bool:
    """Return whether ``new`` is ``old`` with insertions, apart from white space."""
    rest = iter("".join(new.split()))
    return all(each in rest for each in "".join(old.split()))


@given(TEXT | DOCUMENT)
def test_a_text_is_json5_or_a_fault_with_a_place(text: str) -> None:
    line, column = 1, 1
    try:
        value_of(parse(text))
    except Json5Error as error:
        line, column = error.line, error.column
    assert 1 <= line <= text.count("\n") + text.count("\r") + 1
    assert 1 <= column <= len(text) + 1


@given(DOCUMENT, PLACE, NEW)
@example("{a: 1 // c\u2028}", ["b"], 2)
def test_a_set_member_is_there_and_nothing_else_has_changed(text: str, place: list[str], new: Any) -> None:
    before = value_of(parse(text))
    try:
        wanted = set_in(before, place, new)
    except KeyError:
        wanted = None
    try:
        after = json5.set_member(text, place, new)
    except KeyError:
        assert wanted is None
        return
    assert same(value_of(parse(after)), wanted)
    there = before
    for key in place:
        there = there.get(key, ...) if isinstance(there, dict) else ...
    assert there is not ... or is_woven_into(text, after)


@given(DOCUMENT, PLACE)
def test_a_removed_member_is_gone_and_every_other_is_there(text: str, place: list[str]) -> None:
    wanted = value_of(parse(text))
    table = wanted
    for key in place[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict) or place[-1] not in table:
        assert json5.remove_member(text, place) == text
        return
    keys = [member.key for member in _object_at(text, place[:-1]).members]
    assume(keys.count(place[-1]) == 1)  # of two equal keys the last one is removed, and the first one counts again
    del table[place[-1]]
    assert same(value_of(parse(json5.remove_member(text, place))), wanted)


def _object_at(text: str, place: list[str]) -> Any:
    node: Any = parse(text)
    for key in place:
        node = node.find(key).node
    return node


# ── TOML ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

TOML_LINE = st.sampled_from(
    [
        *(
            "",
            "# c",
            "a = 1",
            "b = 'x' # d",
            'c."d e" = 2',
            "[a]",
            "[b]",
            "[b.c]",
            "[[d]]",
            "[d.e]",
            "[new]",
            "x = [1,",
            "2]",
        ),
        *('y = { a = 1, b = "}" }', "z = '''", "it's'''", 'w = """\\', '"""', "t = 1979-05-27T07:32:00Z", "n = nan"),
        *("q.r.s = 1", "[ a . 'b' ]", "h = 0x_1", "k = 1_000", "[b.c.d] # e", "\ta = 1", "new = 1", "new.a = 1"),
    ]
)
TOML = st.tuples(
    st.sampled_from(["", "\ufeff"]), st.lists(TOML_LINE, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans()
).map(lambda it: it[0] + it[2].join(it[1]) + (it[2] if it[3] else ""))
TOML_NEW = st.sampled_from([1, "it's", ["x"], {"k": "v"}, {"path": "../p", "features": ["a"]}, True])


def table_of(text: str) -> dict[str, Any]:
    return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))


@given(TOML, PLACE, TOML_NEW, st.booleans())
def test_a_toml_edit_is_what_tomllib_reads_afterwards(text: str, place: list[str], new: Any, inline: bool) -> None:
    try:
        before = table_of(text)
    except tomllib.TOMLDecodeError:
        assume(False)
        raise
    try:
        after = toml.set_member(text, place, new, inline=inline)
    except (TomlShapeError, KeyError):
        return
    assert same(sort(table_of(after)), sort(set_in(before, place, new)))
    assert after.startswith("\ufeff") == text.startswith("\ufeff")
    lines = text.removeprefix("\ufeff").splitlines()
    if place[0] not in before:
        rest = iter(after.removeprefix("\ufeff").splitlines())
        assert all(any(line == each for each in rest) for line in lines), "a line has changed"


@given(TOML, PLACE)
def test_a_removed_toml_key_is_gone_and_every_other_is_there(text: str, place: list[str]) -> None:
    try:
        wanted = table_of(text)
    except tomllib.TOMLDecodeError:
        assume(False)
        raise
    table: Any = wanted
    for key in place[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    try:
        after = toml.remove_member(text, place)
    except TomlShapeError:
        return
    if isinstance(table, dict):
        table.pop(place[-1], None)
    assert same(sort(pruned(table_of(after))), sort(pruned(wanted)))


def pruned(value: Any) -> Any:
    """Remove empty tables: an implicit one (of ``a.b = 1`` or ``[a.b]``) vanishes with its last key."""
    if isinstance(value, dict):
        found = {key: pruned(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each != {}}
    return value


def sort(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sort(value[key]) for key in sorted(value)}
    return [sort(each) for each in value] if isinstance(value, list) else value


@given(
    st.lists(st.sampled_from(['"', "'", "[", "]", "{", "}", "=", ".", "a", "\n", "#", "1", '"""', ","]), max_size=14)
)
def test_a_toml_text_that_is_none_is_refused(bits: list[str]) -> None:
    for edit in (toml.set_member, toml.append_item):
        try:
            edit("".join(bits), ("a", "b"), 1)
        except (TomlShapeError, KeyError):
            pass  # what they say


# ── Rust ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

RUST_BITS = [
    *("fn run() {", "}", "(", ")", "[", "]", "{", ";", ",", "=>", "::", ".", "\n", "    ", "// c\n", "/* /* */", "*/"),
    *(
        '"',
        '"text"',
        'r"',
        'r#"',
        '"#',
        'r##"a"#"##',
        "'",
        "'a",
        "'a'",
        "'\\''",
        "'\\u{1F600}'",
        "b'x'",
        'br"x"',
        'c"x"',
    ),
    *(
        "tauri::Builder::default()",
        ".run(",
        ".build(",
        "tauri::generate_context!()",
        ")",
        '.expect("e");',
        "let mut x =",
    ),
    *(
        "tauri::generate_handler![greet, a::b]",
        "tauri_build::build()",
        "context",
        "r#type",
        "é",
        "1.0",
        "tauri_plugin_sidecar",
    ),
]
RUST = st.lists(st.sampled_from(RUST_BITS), max_size=25).map("".join)
APP = st.tuples(RUST, st.sampled_from(["\n", "\r\n"]), RUST).map(
    lambda it: (
        f"{it[0]}{it[1]}fn main() {{{it[1]}    tauri::Builder::default(){it[1]}        .run(tauri::generate_context!())"
        f'{it[1]}        .expect("e");{it[1]}}}{it[1]}{it[2]}'
    )
)


@given(RUST | APP)
def test_rust_tokens_are_the_text_without_white_space_and_comments(text: str) -> None:
    try:
        tokens = rust.tokenize(text)
    except RustShapeError:
        return
    at = 0
    for token in tokens:
        assert text[token.start : token.end] == token.text
        between = text[at : token.start]
        assert not between.strip() or between.lstrip().startswith(("//", "/*"))
        at = token.end


@given(RUST | APP)
def test_a_plugin_is_added_once_and_only_by_adding(text: str) -> None:
    try:
        after = rust.add_plugin(text)
    except RustShapeError:
        return
    assert rust.add_plugin(after) == after
    if after != text:
        words, new = [it.text for it in rust.tokenize(text)], iter([it.text for it in rust.tokenize(after)])
        moved = {"tauri", "::", "generate_context", "!", "(", ")"}
        assert all(word in moved or any(word == each for each in new) for word in words)
