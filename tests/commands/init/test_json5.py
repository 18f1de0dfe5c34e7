from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tauri.json5 import DEPTH_MOST, Array, Json5Error, Node, Object, parse, value_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def read(text: str) -> Any:
    return value_of(parse(text))


@given(JSON, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_every_json_text_is_read_as_json_reads_it(value: Any, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("// first\n{/* a */ a /* b */ : /* c */ 1 // d\n} // last", {"a": 1}),
        ("{'it\\'s': \"\\x41\\u00e9\\\nb\", $_x9: [1, 2,],}", {"it's": "Aéb", "$_x9": [1, 2]}),
        ('["\\ud83d\\ude00", "\\v\\0\\q"]', ["😀", "\v\0q"]),
        ("[+1, -2, .5, 5., 0xFf, 1e3, -0x10]", [1, -2, 0.5, 5.0, 255, 1000.0, -16]),
        ("[Infinity, -Infinity]", [math.inf, -math.inf]),
        ("\ufeff{größe: null}", {"größe": None}),
        ("{a: 1, a: 2}", {"a": 2}),
        ("'a\\\r\nb'", "ab"),
    ],
)
def test_what_json5_adds_is_understood(text: str, value: object) -> None:
    assert read(text) == value


def test_not_a_number_is_one_of_its_numbers() -> None:
    assert math.isnan(read("NaN"))


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "a value is missing"),
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma or } is missing"),
        ('{\r\n  "a": ,\r\n}', 2, 8, "a value is missing"),
        ("[1, 2", 1, 6, "a comma or ] is missing"),
        ("[1,", 1, 1, "the array is never closed"),
        ('{\n  "a": 1,\n', 1, 1, "the object is never closed"),
        ("{\n  'a\n': 1}", 2, 3, "the text is never closed"),
        ("{a 1}", 1, 4, "a colon is missing after the key"),
        ("{,}", 1, 2, "a key is missing"),
        ("{1a: 1}", 1, 2, "a key is missing"),
        ("{} {}", 1, 4, "nothing may follow the value"),
        ("[yes]", 1, 2, "yes is not a value; text needs quotes"),
        ("[01]", 1, 3, "that is not a number"),
        ("[1x]", 1, 3, "that is not a number"),
        ("[.]", 1, 2, "a value is missing"),
        ("[.e1]", 1, 2, "a value is missing"),
        ("\ufeff/* never", 1, 1, "the comment is never closed"),
        ('"\\xg0"', 1, 4, "\\x needs 2 hexadecimal digits"),
        ('"\\u12"', 1, 4, "\\u needs 4 hexadecimal digits"),
        ('"\\01"', 1, 4, "there are no octal numbers"),
        ("[" * (DEPTH_MOST + 2), 1, DEPTH_MOST + 2, "nested too deeply"),
    ],
)
def test_a_fault_has_its_line_its_column_and_its_reason(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(Json5Error) as caught:
        parse(text)
    assert (caught.value.reason, caught.value.line, caught.value.column) == (reason, line, column)


@given(st.text(alphabet="{}[]\"':,/*\\\n\r \t\ufeff019.+-xeaNInull$", max_size=30))
def test_any_text_is_a_value_or_a_fault_with_a_place(text: str) -> None:
    try:
        parse(text)
        place = (1, 1)
    except Json5Error as error:
        place = (error.line, error.column)
    assert min(place) >= 1


@given(JSON, st.sampled_from([None, 2]))
def test_each_span_is_the_text_of_its_value(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)

    def check(node: Node) -> None:
        assert json.loads(text[node.start : node.end]) == value_of(node)
        match node:
            case Object(members=members):
                for member in members:
                    assert json.loads(text[member.start : member.key_end]) == member.key
                    check(member.node)
            case Array(items=items):
                for item in items:
                    check(item)
            case _:
                pass

    check(parse(text))


def test_a_number_with_very_many_digits_is_refused() -> None:
    for text in ("9" * 5_000, "-" + "9" * 5_000, "0x" + "f" * 5_000):
        with pytest.raises(Json5Error, match="that number has too many digits"):
            read(text)
    assert read("9" * 300) == int("9" * 300)
