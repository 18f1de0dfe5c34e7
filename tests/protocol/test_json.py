"""Which lines are JSON, with cases like those of JSONTestSuite. No bytes at all may break a session."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from sidecar.protocol.messages import ShutdownResult
from sidecar.protocol.requests import METHODS, Shutdown
from sidecar.protocol.rpc import Connection, Received
from tests.protocol.lines import GOOD, everything, fault_of

# ── JSON itself, with cases like those of JSONTestSuite ───────────────────────────────────────────────────────────────

YES = [
    b"[]", b"{}",
    b"[[]   ]", b'[""]', b"[false]", b"[null]", b"[1\t]", b"[ 4]", b"[-0]", b"[0e+1]", b"[0e1]", b"[20e1]",
    b"[1E22]", b"[1E-2]", b"[1E+2]", b"[123e45]", b"[123.456e-78]", b"[-123]", b"[-1]", b"[1.0]", b"[-0.0]",
    b"[0.000000000000000000000000000000000000000000000000000001]", b'{"a":"b"}', b'{"a":"b","a":"c"}', b'{"":0}',
    b'{"a\\u0000b":1}', b'{"a":[]}', b'["\\u0060\\u012a\\u12AB"]', b'["\\uD801\\udc37"]', b'["\\ud83d\\ude39"]',
    b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', b'["\\\\u0000"]', b'["\\u0000"]', b'["\\uFFFF"]', b'["\\uDBFF\\uDFFF"]',
    b'["a/*b*/c"]', b'["\xf4\x8f\xbf\xbf"]', b'["\xe2\x80\xa8"]', b'["\x7f"]', b'"x"', b"42", b"-0.1", b"null", b"true",
    b" [] ", b"\t[\r]", b"[1,null,null,2]", b'[{"a":[{"b":[]}]}]', b"[" * 100 + b"]" * 100,
]  # fmt: skip
NO = [
    b"[", b"]", b"{", b"}",
    b"[1,]", b"[,1]", b"[1,,2]", b"[1 true]", b'["a"', b'["a" "b"]', b"[a]", b"[1:2]", b'["": 1]',
    b'{"a"}', b'{"a":}', b'{:"b"}', b'{"a":"b",}', b'{"a":"b",,"c":1}', b"{a:1}", b"{'a':1}", b"{1:1}", b'{"a" "b"}',
    b'{"a":1 "b":2}', b'{"a":/*c*/1}', b'{"a":1}//', b'{"a":1}#', b"[1]x", b"[1][2]", b"[][]", b'{"a":1}{"b":2}',
    b"[01]", b"[-01]", b"[+1]", b"[1.]", b"[.5]", b"[-]", b"[-.1]", b"[1e]", b"[1e+]", b"[1.e1]", b"[0x1]", b"[1_0]",
    b"[1 000]", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[Inf]", b"[\xef\xbc\x91]", b"[--1]", b"[1e1.5]", b"[1a]",
    b"[True]", b"[nul]", b"[tru]", b"[fals]", b"[NULL]", b"nulll", b"*", b"<>", b"\\u000A", b"abc",
    b'["', b'["a]', b"['a']", b'["\\x00"]', b'["\\a"]', b'["\\u00A"]', b'["\\u00G0"]', b'["\\uD800\\"]', b'["\\uD800"]',
    b'["\\uD800\\u1"]', b'["\\uD800\\u0041"]', b'["\\uDC00"]', b'["\\"]', b'["\\\\\\"]', b'["\\\xf0\x9f\x8c\x80"]',
    b'["a\x00a"]',
    b'["\t"]', b'["\x1f"]', b"[\x0c]", b"[\xe2\x81\xa0]", b"\xe2\x81\xa0", b"\xef\xbb\xbf[]", b"\xef\xbb",
    b"[\xff]", b'["\xff"]', b'["\xe9"]', b'["\xc0\x80"]', b'["\xed\xa0\x80"]', b'["\xf4\x90\x80\x80"]', b'["\xe0\xff"]',
    b"\xff\xfe[\x00]\x00", b"[\x00]", b"1 2", b"- 1", b"[1]\x00", b'{"a":1}}', b"[[]", b"[]]", b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", YES, ids=lambda text: repr(text)[:40])
def test_what_json_allows_is_never_a_parse_error(text: bytes) -> None:
    assert fault_of(text)[1] == -32600


@pytest.mark.parametrize("text", NO, ids=lambda text: repr(text)[:40])
def test_what_json_forbids_is_a_parse_error(text: bytes) -> None:
    assert fault_of(text)[1] == -32700


# ── any bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_members = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | _json,
        "id": _json,
        "method": st.sampled_from([*METHODS]) | _json,
        "params": _json
        | st.fixed_dictionaries({}, optional={"service": _json, "tail": _json, "graceMs": _json, "services": _json}),
    },
)
_text = st.builds(
    lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"),
    _members | _json,
    st.booleans(),
)
_conversation = st.lists(
    _text | st.binary(max_size=30) | st.sampled_from([b"", b"\r", GOOD.strip(), b"x" * 70_000]), max_size=6
).map(b"\n".join)


@settings(max_examples=400)
@given(_conversation)
def test_no_bytes_raise_and_every_line_that_is_not_blank_gives_one_thing(data: bytes) -> None:
    session = Connection()
    found = everything(session, data)
    assert len(found) == sum(1 for line in data.split(b"\n") if line.strip())
    for each in found:
        if isinstance(each, bytes):
            assert each.endswith(b"\n")
            assert each.count(b"\n") == 1
            assert json.loads(each)["jsonrpc"] == "2.0"
        elif each.id is not UNSET:
            assert json.loads(session.succeed(each.id, ShutdownResult(())))
    assert everything(session, GOOD) == [Received("good", Shutdown())]


@settings(max_examples=200)
@given(_conversation, st.lists(st.integers(0, 400)))
def test_however_the_bytes_are_cut_the_session_gives_the_same(data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts})
    session = Connection()
    found: list[Received | bytes] = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        found += session.receive(data[start:end])
    assert found + list(session.finish()) == everything(Connection(), data)
