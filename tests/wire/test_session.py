"""JSON-RPC over lines: every line gives nothing, a request, or an error with the place of the fault."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from sidecar.errors import ERROR_CODES, SupersededError
from sidecar.wire.framing import MAX_LINE_BYTES
from sidecar.wire.messages import METHODS, Initialize, Logs, ServiceLog, Shutdown, ShutdownResult, Start, Status
from sidecar.wire.session import Received, Session, failure, notification

GOOD = b'{"jsonrpc":"2.0","id":"good","method":"shutdown"}\n'


def _line(method: object = "status", **members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, **members}).encode() + b"\n"


def _all(session: Session, data: bytes) -> list[Received | bytes]:
    return [*session.receive(data), *session.finish()]


def _one(data: bytes) -> Any:
    """The only thing that a line gives: a ``Received``, or the error decoded."""
    (found,) = _all(Session(), data)
    return json.loads(found) if isinstance(found, bytes) else found


def _error(data: bytes) -> tuple[Any, int, Any]:
    """The id, the code, and the place that a bad line gives; and that the next line works."""
    session = Session()
    bad, good = session.receive(data + b"\n" + GOOD)
    assert good == Received("good", Shutdown())
    assert isinstance(bad, bytes)
    assert bad.endswith(b"\n")
    assert bad.count(b"\n") == 1
    answer = json.loads(bad)
    assert set(answer) == {"jsonrpc", "id", "error"}
    error = answer["error"]
    assert error["data"]["kind"] == ERROR_CODES[error["code"]]
    assert error["message"].endswith(".")
    return answer["id"], error["code"], error["data"].get("path")


# ── good lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            _line("initialize", id=1, params={"protocolVersion": 1, "services": {"web": {"type": "vite"}}}),
            Received(1, Initialize(1, services={"web": {"type": "vite"}})),
        ),
        (_line("start", id=2, params={"service": "web"}), Received(2, Start("web"))),
        (_line("logs", id=3, params={"service": "web"}), Received(3, Logs("web", 100))),
        (_line("shutdown", id=4, params={"graceMs": 5}), Received(4, Shutdown(5))),
        (_line("status", id=5), Received(5, Status())),
        (_line("status", id=5, params={}), Received(5, Status())),
        (_line("status"), Received(UNSET, Status())),
        (b' \t{ "jsonrpc" : "2.0",\t"method":"status" } \r\n', Received(UNSET, Status())),
        (_line("status", id=6, extra={"of": ["the", "client"]}), Received(6, Status())),
        (b'{"jsonrpc":"2.0","method":"logs","method":"status","id":1,"id":2}\n', Received(2, Status())),
        (b'{"jsonrpc":"2.0","method":"st\\u0061tus","id":1}\n', Received(1, Status())),
    ],
)
def test_a_good_line_is_a_request(line: bytes, wanted: Received) -> None:
    assert _one(line) == wanted


@pytest.mark.parametrize("nothing", [b"\n", b"\r\n", b"  \t \n", b"\n\n\n", b""])
def test_a_blank_line_gives_nothing(nothing: bytes) -> None:
    assert _all(Session(), nothing) == []


def test_a_last_line_without_its_end_counts() -> None:
    assert _all(Session(), GOOD.strip()) == [Received("good", Shutdown())]


IDS = ["", "a", "x" * 1_000, "1", "ä\x00😀", 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, -0.5, None]


@pytest.mark.parametrize("call", IDS, ids=lambda call: str(call)[:20])
def test_an_id_of_every_allowed_kind_comes_back_as_it_was(call: Any) -> None:
    session = Session()
    (received,) = session.receive(_line(id=call))
    assert isinstance(received, Received)
    answer = json.loads(session.succeed(received.id, ShutdownResult(())))  # type: ignore[arg-type]
    assert answer == {"jsonrpc": "2.0", "id": call, "result": {"stopped": []}}
    assert type(answer["id"]) is type(call)


@pytest.mark.parametrize("call", [call for call in IDS if call is not None], ids=lambda call: str(call)[:20])
def test_an_id_that_is_in_flight_is_refused_until_it_is_answered(call: Any) -> None:
    session = Session()
    first, second = session.receive(_line(id=call) * 2)
    assert isinstance(first, Received)
    assert isinstance(second, bytes)
    refused = json.loads(second)
    assert (refused["id"], refused["error"]["code"], refused["error"]["data"]["path"]) == (call, -32600, "$.id")
    session.fail(call, failure(SupersededError("gone")))
    (third,) = session.receive(_line(id=call))
    assert isinstance(third, Received), "it is free again"


def test_whether_an_id_is_free_depends_on_the_answers_given_between_two_lines_of_one_read() -> None:
    session = Session()
    received = []
    for message in session.receive(_line(id=1) * 2):
        assert isinstance(message, Received)
        received.append(message)
        session.succeed(1, ShutdownResult(()))
    assert len(received) == 2


def test_ids_of_null_and_no_ids_are_never_in_flight() -> None:
    assert all(isinstance(each, Received) for each in _all(Session(), _line(id=None) * 2 + _line() * 2))


def test_a_request_that_was_refused_leaves_its_id_free() -> None:
    session = Session()
    bad, good = session.receive(_line("start", id=1) + _line(id=1))
    assert isinstance(bad, bytes)
    assert isinstance(good, Received)


# ── bad lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _deep(opening: bytes, closing: bytes, middle: bytes = b"1") -> bytes:
    return opening * 5_000 + middle + closing * 5_000


NOT_JSON = {
    "garbage": b"\x16\x03\x01 GET / HTTP/1.1",
    "words": b"hello",
    "a null byte": b"\x00",
    "a null byte inside": b'{"jsonrpc":"2.0","id":1,"method":"st\x00atus"}',
    "a null byte behind": GOOD.strip() + b"\x00",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.strip(),
    "utf-16": '{"jsonrpc":"2.0"}'.encode("utf-16"),
    "broken utf-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    "a cut character": b'{"method":"\xe2\x82"}',
    "an encoded surrogate": b'{"method":"\xed\xa0\x80"}',
    "broken utf-8 in a member nobody reads": b'{"jsonrpc":"2.0","method":"status","x":"\xff"}',
    "an overlong encoding": b'{"method":"\xc0\xaf"}',
    "a lone high surrogate": b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
    "a lone low surrogate": b'{"jsonrpc":"2.0","id":"\\udc00","method":"status"}',
    "half of a request": b'{"jsonrpc":"2.0","id":1,',
    "two requests on a line": GOOD.strip() + GOOD.strip(),
    "an array never closed": b"[" * 100_000,
    "objects never closed": b'{"a":' * 100_000,
    "deep arrays": _deep(b"[", b"]"),
    "deep objects": _deep(b'{"a":', b"}"),
    "deep params": b'{"jsonrpc":"2.0","id":1,"method":"status","params":' + _deep(b"[", b"]") + b"}",
    "a number out of range": b'{"jsonrpc":"2.0","id":1e999,"method":"status"}',
    "an endless integer": b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"status"}',
    "NaN": b'{"jsonrpc":"2.0","id":NaN,"method":"status"}',
    "a line over the bound": b"x" * (MAX_LINE_BYTES + 1),
    "a good line over the bound": b" " * MAX_LINE_BYTES + GOOD.strip(),
    "ten megabytes": b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (10 << 20) + b'"}',
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_json_is_a_parse_error_without_an_id(name: str) -> None:
    assert _error(NOT_JSON[name]) == (None, -32700, None)


NO_REQUESTS: dict[bytes, tuple[Any, str]] = {
    b"[]": (None, "$"),
    b'[{"jsonrpc":"2.0","id":1,"method":"status"}]': (None, "$"),
    b"1": (None, "$"),
    b"null": (None, "$"),
    b"true": (None, "$"),
    b'"status"': (None, "$"),
    b"{}": (None, "$"),
    b'{"id":7}': (7, "$"),
    b'{"jsonrpc":"2.0","id":7}': (7, "$"),
    b'{"id":7,"method":"status"}': (7, "$"),
    b'{"jsonrpc":"1.0","id":7,"method":"status"}': (7, "$.jsonrpc"),
    b'{"jsonrpc":2.0,"id":7,"method":"status"}': (7, "$.jsonrpc"),
    b'{"jsonrpc":null,"id":7,"method":"status"}': (7, "$.jsonrpc"),
    b'{"jsonrpc":"2.0","id":"x","method":5}': ("x", "$.method"),
    b'{"jsonrpc":"2.0","id":1.5,"method":null}': (1.5, "$.method"),
    b'{"jsonrpc":"2.0","id":7,"method":["status"]}': (7, "$.method"),
    b'{"jsonrpc":"2.0","id":true,"method":"status"}': (None, "$.id"),
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"status"}': (None, "$.id"),
    b'{"jsonrpc":"2.0","id":[1],"method":"status"}': (None, "$.id"),
    b'{"jsonrpc":"2.0","id":1,"result":{}}': (1, "$"),
}


@pytest.mark.parametrize("line", NO_REQUESTS)
def test_json_that_is_no_request_is_an_invalid_request_with_its_place(line: bytes) -> None:
    call, path = NO_REQUESTS[line]
    assert _error(line) == (call, -32600, path)


@pytest.mark.parametrize("method", ["", "Status", "rpc.discover", "service/state", "ä", "x" * 1_000, "__init__"])
def test_an_unknown_method_is_named_beside_those_that_exist(method: str) -> None:
    assert _error(_line(method, id=1).strip()) == (1, -32601, "$.method")
    message = _one(_line(method, id=1))["error"]["message"]
    assert all(known in message for known in METHODS)


WRONG_PARAMS: list[tuple[str, Any, str]] = [
    ("start", None, "$.params"),
    ("start", [], "$.params"),
    ("start", "web", "$.params"),
    ("start", 1, "$.params"),
    ("start", {}, "$.params"),
    ("start", {"service": None}, "$.params.service"),
    ("start", {"service": 1}, "$.params.service"),
    ("start", {"service": ["web"]}, "$.params.service"),
    ("start", {"service": "web", "port": 1}, "$.params"),
    ("stop", {"Service": "web"}, "$.params"),
    ("restart", {"service": {}}, "$.params.service"),
    ("status", {"service": False}, "$.params.service"),
    ("logs", {"service": "web", "tail": -1}, "$.params.tail"),
    ("logs", {"service": "web", "tail": 10_001}, "$.params.tail"),
    ("logs", {"service": "web", "tail": 10**30}, "$.params.tail"),
    ("logs", {"service": "web", "tail": 1.5}, "$.params.tail"),
    ("logs", {"service": "web", "tail": "5"}, "$.params.tail"),
    ("logs", {"service": "web", "tail": None}, "$.params.tail"),
    ("logs", {"service": "web", "tail": True}, "$.params.tail"),
    ("shutdown", {"graceMs": -1}, "$.params.graceMs"),
    ("shutdown", {"graceMs": 86_400_001}, "$.params.graceMs"),
    ("shutdown", {"grace_ms": 1}, "$.params"),
    ("initialize", {}, "$.params"),
    ("initialize", {"protocolVersion": "1"}, "$.params.protocolVersion"),
    ("initialize", {"protocolVersion": 1, "client": "app"}, "$.params.client"),
    ("initialize", {"protocolVersion": 1, "client": {}}, "$.params.client"),
    ("initialize", {"protocolVersion": 1, "client": {"name": 5}}, "$.params.client.name"),
    ("initialize", {"protocolVersion": 1, "services": []}, "$.params.services"),
    ("initialize", {"protocolVersion": 1, "services": None}, "$.params.services"),
]


@pytest.mark.parametrize(("method", "params", "path"), WRONG_PARAMS)
def test_wrong_params_are_refused_with_their_place(method: str, params: Any, path: str) -> None:
    assert _error(_line(method, id=1, params=params).strip()) == (1, -32602, path)


def test_a_fault_in_a_request_without_an_id_is_told_as_a_notification() -> None:
    for line in (_line("start"), _line("nope")):
        told = _one(line)
        assert told["method"] == "supervisor/error"
        assert told["params"]["error"]["code"] in (-32602, -32601)
        assert "id" not in told


def test_the_size_of_an_overlong_line_and_the_place_of_a_broken_byte_are_told() -> None:
    assert _one(b"x" * (MAX_LINE_BYTES + 5) + b"\n")["error"]["data"]["size"] == MAX_LINE_BYTES + 5
    error = _one(b'{"\xff"}\n')["error"]
    assert error["data"]["offset"] == 2
    assert "byte 0xff at offset 2" in error["message"]


def test_only_the_beginning_of_a_bad_line_is_quoted() -> None:
    assert len(_one(b"{" + b"x" * 100_000 + b"\n")["error"]["message"]) < 400


# ── a suite of JSON itself, after the manner of JSONTestSuite ─────────────────────────────────────────────────────────

YES = [
    b"[]", b"{}", b"[[]   ]", b'[""]', b"[false]", b"[null]", b"[1\t]", b"[ 4]", b"[-0]", b"[0e+1]", b"[0e1]", b"[20e1]",
    b"[1E22]", b"[1E-2]", b"[1E+2]", b"[123e45]", b"[123.456e-78]", b"[-123]", b"[-1]", b"[1.0]", b"[-0.0]",
    b"[0.000000000000000000000000000000000000000000000000000001]", b'{"a":"b"}', b'{"a":"b","a":"c"}', b'{"":0}',
    b'{"a\\u0000b":1}', b'{"a":[]}', b'["\\u0060\\u012a\\u12AB"]', b'["\\uD801\\udc37"]', b'["\\ud83d\\ude39"]',
    b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', b'["\\\\u0000"]', b'["\\u0000"]', b'["\\uFFFF"]', b'["\\uDBFF\\uDFFF"]',
    b'["a/*b*/c"]', b'["\xf4\x8f\xbf\xbf"]', b'["\xe2\x80\xa8"]', b'["\x7f"]', b'"x"', b"42", b"-0.1", b"null", b"true",
    b" [] ", b"\t[\r]", b"[1,null,null,2]", b'[{"a":[{"b":[]}]}]', b"[" * 100 + b"]" * 100,
]  # fmt: skip
NO = [
    b"[", b"]", b"{", b"}", b"[1,]", b"[,1]", b"[1,,2]", b"[1 true]", b'["a"', b'["a" "b"]', b"[a]", b"[1:2]", b'["": 1]',
    b'{"a"}', b'{"a":}', b'{:"b"}', b'{"a":"b",}', b'{"a":"b",,"c":1}', b"{a:1}", b"{'a':1}", b'{1:1}', b'{"a" "b"}',
    b'{"a":1 "b":2}', b'{"a":/*c*/1}', b'{"a":1}//', b'{"a":1}#', b"[1]x", b"[1][2]", b"[][]", b'{"a":1}{"b":2}',
    b"[01]", b"[-01]", b"[+1]", b"[1.]", b"[.5]", b"[-]", b"[-.1]", b"[1e]", b"[1e+]", b"[1.e1]", b"[0x1]", b"[1_0]",
    b"[1 000]", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[Inf]", b"[\xef\xbc\x91]", b"[--1]", b"[1e1.5]", b"[1a]",
    b"[True]", b"[nul]", b"[tru]", b"[fals]", b"[NULL]", b"nulll", b"*", b"<>", b"\\u000A", b"abc",
    b'["', b'["a]', b"['a']", b'["\\x00"]', b'["\\a"]', b'["\\u00A"]', b'["\\u00G0"]', b'["\\uD800\\"]', b'["\\uD800"]',
    b'["\\uD800\\u1"]', b'["\\uD800\\u0041"]', b'["\\uDC00"]', b'["\\"]', b'["\\\\\\"]', b'["\\\xf0\x9f\x8c\x80"]',
    b'["a\x00a"]', b'["\t"]', b'["\x1f"]', b"[\x0c]", b"[\xe2\x81\xa0]", b"\xe2\x81\xa0", b"\xef\xbb\xbf[]", b"\xef\xbb",
    b"[\xff]", b'["\xff"]', b'["\xe9"]', b'["\xc0\x80"]', b'["\xed\xa0\x80"]', b'["\xf4\x90\x80\x80"]', b'["\xe0\xff"]',
    b"\xff\xfe[\x00]\x00", b"[\x00]", b"1 2", b"- 1", b"[1]\x00", b'{"a":1}}', b"[[]", b"[]]", b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", YES, ids=lambda text: repr(text)[:40])
def test_what_json_allows_is_never_a_parse_error(text: bytes) -> None:
    assert _error(text)[1] == -32600


@pytest.mark.parametrize("text", NO, ids=lambda text: repr(text)[:40])
def test_what_json_forbids_is_a_parse_error(text: bytes) -> None:
    assert _error(text)[1] == -32700


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


@settings(max_examples=400, deadline=None)
@given(_conversation)
def test_no_bytes_at_all_make_a_session_raise_and_every_line_that_is_not_blank_gives_one_thing(data: bytes) -> None:
    session = Session()
    found = _all(session, data)
    assert len(found) == sum(1 for line in data.split(b"\n") if line.strip())
    for each in found:
        if isinstance(each, bytes):
            assert each.endswith(b"\n")
            assert each.count(b"\n") == 1
            assert json.loads(each)["jsonrpc"] == "2.0"
        elif each.id is not UNSET:
            assert json.loads(session.succeed(each.id, ShutdownResult(())))
    assert _all(session, GOOD) == [Received("good", Shutdown())]


@settings(max_examples=200, deadline=None)
@given(_conversation, st.lists(st.integers(0, 400)))
def test_however_the_bytes_are_cut_the_session_gives_the_same(data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts})
    session = Session()
    found: list[Received | bytes] = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        found += session.receive(data[start:end])
    assert found + list(session.finish()) == _all(Session(), data)


# ── what we send ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text())
def test_a_notification_is_one_line_whatever_was_printed(text: str) -> None:
    try:
        line = notification(ServiceLog("web", "stdout", (text,)))
    except UnicodeEncodeError:
        pytest.fail("text that came from bytes has no lone surrogates, and hypothesis makes none")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["params"]["lines"] == [text]


def test_what_is_absent_is_left_out_of_a_notification() -> None:
    assert json.loads(notification(ServiceLog("web", "stdout", ("a",)))) == {
        "jsonrpc": "2.0",
        "method": "service/log",
        "params": {"service": "web", "stream": "stdout", "lines": ["a"]},
    }


def test_a_failure_carries_its_stable_name_beside_its_data() -> None:
    made = failure(SupersededError("was stopped", service="web"))
    assert msgspec.to_builtins(made) == {
        "code": -32006,
        "message": "was stopped",
        "data": {"kind": "Superseded", "service": "web"},
    }
