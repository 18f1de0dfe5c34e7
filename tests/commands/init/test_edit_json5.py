from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.commands.init.edit.json5 import append_item, remove_member, set_member
from sidecar.tauri.json5 import parse, value_of

KEY = st.text(alphabet="abcd-é\"'", max_size=3)
SCALAR = st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet="ab{}[],:/*'\"\\\n", max_size=4)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3), max_leaves=8
)


GAPS = ("", " ", "\t", "\n", "\n    ", "/* c, } */", " // ] d\n", "\n/* e */\n")


class Writer:
    """Writes a value in varying forms: ``draw`` chooses white space, comments, quotes and commas."""

    def __init__(self, draw: st.DrawFn, end: str) -> None:
        self._coin: Callable[[], bool] = lambda: draw(st.booleans())
        self._choose: Callable[[], str] = lambda: draw(st.sampled_from(GAPS))
        self._end = end

    def gap(self) -> str:
        return self._choose().replace("\n", self._end)

    def text(self, value: str) -> str:
        written = json.dumps(value, ensure_ascii=self._coin())
        if self._coin():
            return written
        return "'" + written[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"

    def key(self, key: str) -> str:
        return key if key.isalpha() and self._coin() else self.text(key)

    def write(self, value: Any) -> str:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | dict):
            pairs = value.items() if isinstance(value, dict) else ((None, each) for each in value)
            parts = [self._entry(key, each) for key, each in pairs]
            tail = "," if parts and self._coin() else ""
            inner = ",".join(parts) + tail + self.gap()
            return f"{{{inner}}}" if isinstance(value, dict) else f"[{inner}]"
        return json.dumps(value)

    def _entry(self, key: str | None, value: Any) -> str:
        name = "" if key is None else f"{self.key(key)}{self.gap()}:{self.gap()}"
        return f"{self.gap()}{name}{self.write(value)}{self.gap()}"


@st.composite
def written(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    value = draw(st.dictionaries(KEY, VALUE, max_size=4))
    writer = Writer(draw, draw(st.sampled_from(["\n", "\r\n"])))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return bom + writer.gap() + writer.write(value) + writer.gap(), value


def places(value: Any, kind: type, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, kind):
        yield way
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from places(each, kind, (*way, key))


def at(value: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def is_woven_into(old: str, new: str) -> bool:
    """Return whether ``new`` is ``old`` with insertions, less only white space between brackets."""
    rest = iter("".join(new.split()))
    return all(each in rest for each in "".join(old.split()))


@given(written(), st.data())
def test_a_new_member_only_adds_text_and_changes_nothing_else(text_of: tuple[str, Any], data: st.DataObject) -> None:
    text, value = text_of
    assert value_of(parse(text)) == value
    place = data.draw(st.sampled_from(list(places(value, dict))))
    key, new = data.draw(KEY), data.draw(VALUE)
    assume(key not in at(value, place))
    after = set_member(text, (*place, key), new)
    wanted = copy.deepcopy(value)
    at(wanted, place)[key] = new
    found = value_of(parse(after))
    assert (found, list(at(found, place))) == (wanted, list(at(wanted, place)))
    assert is_woven_into(text, after)


@given(written(), st.data())
def test_a_new_item_only_adds_text_and_changes_nothing_else(text_of: tuple[str, Any], data: st.DataObject) -> None:
    text, value = text_of
    lists = list(places(value, list))
    assume(lists)
    place = data.draw(st.sampled_from(lists))
    new = data.draw(VALUE)
    after = append_item(text, place, new)
    wanted = copy.deepcopy(value)
    at(wanted, place).append(new)
    assert value_of(parse(after)) == wanted
    assert is_woven_into(text, after)


@given(written(), st.data())
def test_a_removed_member_takes_its_own_text_away_and_no_comment_with_it(
    text_of: tuple[str, Any], data: st.DataObject
) -> None:
    text, value = text_of
    owners = [place for place in places(value, dict) if at(value, place)]
    assume(owners)
    place = data.draw(st.sampled_from(owners))
    key = data.draw(st.sampled_from(list(at(value, place))))
    after = remove_member(text, (*place, key))
    wanted = copy.deepcopy(value)
    del at(wanted, place)[key]
    assert value_of(parse(after)) == wanted
    assert is_woven_into(after, text)
    assert after.startswith("\ufeff") == text.startswith("\ufeff")


@given(written(), st.data())
def test_a_value_that_is_there_already_is_not_written_again(text_of: tuple[str, Any], data: st.DataObject) -> None:
    text, value = text_of
    place = data.draw(st.sampled_from(list(places(value, object))))
    assert set_member(text, place, at(value, place)) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n  "p": {\n    "q": [1, 2]\n  }\n}'),
        ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"p": {\n\t\t"q": [1, 2]\n\t}\n}\n'),
        ('{\r\n    "a": 1\r\n}\r\n', '{\r\n    "a": 1,\r\n    "p": {\r\n        "q": [1, 2]\r\n    }\r\n}\r\n'),
        ("{\n  a: 'b', // c\n}", "{\n  a: 'b', // c\n  p: {\n    q: [1, 2]\n  },\n}"),
        ("{\n  'a': 'b' // c\n  // d\n}", "{\n  'a': 'b', // c\n  // d\n  'p': {\n    'q': [1, 2]\n  }\n}"),
        ('{"p": {"r": 1}}', '{"p": {"r": 1, "q": [1, 2]}}'),
        ('{"p": {"q": 3}}', '{"p": {"q": [1, 2]}}'),
        ('{"p": {"q": [1,2]}}', '{"p": {"q": [1,2]}}'),
    ],
)
def test_what_is_new_is_written_as_the_file_is(before: str, after: str) -> None:
    assert set_member(before, ("p", "q"), [1, 2]) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "a": 1,\n  "b": 2\n}', '{\n  "b": 2\n}'),
        ('{\n  "b": 2,\n  "a": 1\n}', '{\n  "b": 2\n}'),
        ('{\n  "b": 2,\n  // why\n  "a": 1 // how\n}', '{\n  "b": 2\n  // why\n  // how\n}'),
        ('{"a": 1, "b": 2}', '{"b": 2}'),
        ('{"b": 2, "a": 1}', '{"b": 2}'),
        ('{"b": 2, "a": 1,}', '{"b": 2,}'),
        ('{"a": 1}', "{}"),
        ('{"b": 2}', '{"b": 2}'),
        ("[]", "[]"),
    ],
)
def test_a_member_goes_with_its_comma_and_its_line(before: str, after: str) -> None:
    assert remove_member(before, ("a",)) == after


def test_an_array_that_is_missing_is_made() -> None:
    assert append_item('{"a": {}}', ("a", "b"), "c") == '{"a": {\n  "b": ["c"]\n}}'


def test_a_long_array_has_an_item_on_each_line() -> None:
    long = "x" * 80
    assert set_member("{}", ("a",), [long, "b"]) == f'{{\n  "a": [\n    "{long}",\n    "b"\n  ]\n}}'


@pytest.mark.parametrize("text", ["[1]", '{"p": 1}', '{"p": {"q": 1}}'])
def test_a_place_below_something_else_than_an_object_is_refused(text: str) -> None:
    with pytest.raises(KeyError):
        set_member(text, ("p", "q", "r"), 1)
    with pytest.raises(KeyError):
        append_item(text, ("p", "q"), 1)


@pytest.mark.parametrize(("there", "new"), [("true", 1), ("0", False), ("[1, {a: true}]", [1, {"a": 1}])])
def test_true_is_replaced_by_one_though_python_takes_them_for_equal(there: str, new: object) -> None:
    after = set_member(f"{{x: {there}}}", ("x",), new)
    assert repr(value_of(parse(after))) == repr({"x": new})
