"""JSON-RPC over lines: each line yields nothing, a request, or an error that names the place of the fault."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sidecar.errors import SupersededError
from sidecar.protocol.framing import MAX_LINE_BYTES
from sidecar.protocol.messages import Holder, PortChanged, ServiceLog, ShutdownResult
from sidecar.protocol.requests import METHODS, Initialize, Logs, Shutdown, Start, Status
from sidecar.protocol.rpc import Connection, Received, failure, notification
from tests.protocol.lines import GOOD, everything, fault_of, line_of, only

# ── good lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            line_of("initialize", id=1, params={"protocolVersion": 1, "services": {"web": {"type": "vite"}}}),
            Received(1, Initialize(1, services={"web": {"type": "vite"}})),
        ),
        (line_of("start", id=2, params={"service": "web"}), Received(2, Start("web"))),
        (line_of("logs", id=3, params={"service": "web"}), Received(3, Logs("web", 100))),
        (line_of("shutdown", id=4, params={"graceMs": 5}), Received(4, Shutdown(5))),
        (line_of("status", id=5), Received(5, Status())),
        (line_of("status", id=5, params={}), Received(5, Status())),
        (line_of("status"), Received(UNSET, Status())),
        (b' \t{ "jsonrpc" : "2.0",\t"method":"status" } \r\n', Received(UNSET, Status())),
        (line_of("status", id=6, extra={"of": ["the", "client"]}), Received(6, Status())),
        (b'{"jsonrpc":"2.0","method":"logs","method":"status","id":1,"id":2}\n', Received(2, Status())),
        (b'{"jsonrpc":"2.0","method":"st\\u0061tus","id":1}\n', Received(1, Status())),
    ],
)
def test_a_good_line_is_a_request(line: bytes, wanted: Received) -> None:
    assert only(line) == wanted


@pytest.mark.parametrize("nothing", [b"\n", b"\r\n", b"  \t \n", b"\n\n\n", b""])
def test_a_blank_line_gives_nothing(nothing: bytes) -> None:
    assert everything(Connection(), nothing) == []


def test_a_last_line_without_its_end_counts() -> None:
    assert everything(Connection(), GOOD.strip()) == [Received("good", Shutdown())]


IDS = [
    "",
    "a",
    "x" * 1_000,
    "1",
    "ä\x00😀",
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    1.5,
    -0.5,
    None,
]


@pytest.mark.parametrize("call", IDS, ids=lambda call: str(call)[:20])
def test_an_id_of_every_allowed_kind_comes_back_as_it_was(call: Any) -> None:
    session = Connection()
    (received,) = session.receive(line_of(id=call))
    assert isinstance(received, Received)
    answer = json.loads(session.succeed(received.id, ShutdownResult(())))  # type: ignore[arg-type]
    assert answer == {"jsonrpc": "2.0", "id": call, "result": {"stopped": []}}
    assert type(answer["id"]) is type(call)


@pytest.mark.parametrize("call", [call for call in IDS if call is not None], ids=lambda call: str(call)[:20])
def test_an_id_that_is_in_flight_is_refused_until_it_is_answered(call: Any) -> None:
    session = Connection()
    first, second = session.receive(line_of(id=call) * 2)
    assert isinstance(first, Received)
    assert isinstance(second, bytes)
    refused = json.loads(second)
    assert (refused["id"], refused["error"]["code"], refused["error"]["data"]["path"]) == (call, -32600, "$.id")
    session.fail(call, failure(SupersededError("gone")))
    (third,) = session.receive(line_of(id=call))
    assert isinstance(third, Received), "it is free again"


def test_id_is_free_again_once_answered_between_two_lines_of_one_read() -> None:
    session = Connection()
    received = []
    for message in session.receive(line_of(id=1) * 2):
        assert isinstance(message, Received)
        received.append(message)
        session.succeed(1, ShutdownResult(()))
    assert len(received) == 2


def test_ids_of_null_and_no_ids_are_never_in_flight() -> None:
    assert all(isinstance(each, Received) for each in everything(Connection(), line_of(id=None) * 2 + line_of() * 2))


def test_a_request_that_was_refused_leaves_its_id_free() -> None:
    session = Connection()
    bad, good = session.receive(line_of("start", id=1) + line_of(id=1))
    assert isinstance(bad, bytes)
    assert isinstance(good, Received)


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("1", "1.0", True),
        ("0", "-0.0", True),
        ("100", "1e2", True),
        ("1", '"1"', False),
        ("1", "1.5", False),
        ("1", "2", False),
    ],
)
def test_ids_that_are_one_number_are_one_id(first: str, second: str, one: bool) -> None:
    session = Connection()
    raw = '{{"jsonrpc":"2.0","method":"status","id":{}}}\n'
    found = everything(session, (raw.format(first) + raw.format(second)).encode())
    assert isinstance(found[1], bytes) is one


@pytest.mark.parametrize("call", ["-0.0", "1e308", "5e-324", "9" * 400, "9" * 4_300, "-" + "9" * 4_299])
def test_a_number_at_the_edge_is_an_id_like_any_other(call: str) -> None:
    session = Connection()
    raw = f'{{"jsonrpc":"2.0","method":"status","id":{call}}}\n'.encode()
    first, second = session.receive(raw * 2)
    assert isinstance(first, Received)
    assert isinstance(second, bytes)
    assert f'"id":{call},'.encode() in second
    assert f'"id":{call},'.encode() in session.succeed(first.id, ShutdownResult(()))  # type: ignore[arg-type]
    assert isinstance(next(session.receive(raw)), Received), "it is free again"


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
    assert fault_of(NOT_JSON[name]) == (None, -32700, None)


@pytest.mark.parametrize(
    "params",
    [
        {"services": {"SURROGATE": {"type": "vite"}}},
        {"services": {"web": {"type": "vite", "root": "SURROGATE"}}},
        {"services": {"web": {"type": "vite", "env": {"A": "SURROGATE"}}}},
        {"services": {"web": {"type": "vite", "env": {"SURROGATE": "a"}}}},
        {"services": {"web": {"type": "command", "command": ["SURROGATE"]}}},
        {"service": "SURROGATE"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udfff", r"\udc80", r"\ud800x", r"\ud800\ud800"])
def test_half_a_character_gets_no_further_than_the_parser(params: dict[str, Any], surrogate: str) -> None:
    text = line_of("initialize", id=1, params={"protocolVersion": 1, **params}).strip().decode()
    assert fault_of(text.replace("SURROGATE", surrogate).encode()) == (None, -32700, None)


@pytest.mark.parametrize("depth", range(850, 1_050, 10))
def test_at_the_edge_of_what_can_be_nested_a_line_is_taken_or_refused(depth: int) -> None:
    for text in (
        b"[" * depth + b"]" * depth,
        b'{"jsonrpc":"2.0","id":1,"method":"status","params":' + b"[" * depth + b"]" * depth + b"}",
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1,"services":{"web":'
        + b'{"type":' * depth + b"1" + b"}" * depth + b"}}}",
    ):  # fmt: skip
        found = only(text + b"\n")
        assert isinstance(found, Received) or found["error"]["code"] in (-32700, -32600, -32602)


@pytest.mark.parametrize("name", [name for name, text in NOT_JSON.items() if len(text) < 200])
def test_byte_by_byte_a_bad_line_gives_the_same(name: str) -> None:
    data = NOT_JSON[name] + b"\n" + GOOD
    session = Connection()
    found = [each for byte in data for each in session.receive(bytes([byte]))]
    assert found == everything(Connection(), data)


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
    assert fault_of(line) == (call, -32600, path)


@pytest.mark.parametrize("method", ["", "Status", "rpc.discover", "service/state", "ä", "x" * 1_000, "__init__"])
def test_an_unknown_method_is_named_beside_those_that_exist(method: str) -> None:
    assert fault_of(line_of(method, id=1).strip()) == (1, -32601, "$.method")
    message = only(line_of(method, id=1))["error"]["message"]
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
    assert fault_of(line_of(method, id=1, params=params).strip()) == (1, -32602, path)


def test_a_fault_in_a_request_without_an_id_is_told_as_a_notification() -> None:
    for line in (line_of("start"), line_of("nope")):
        told = only(line)
        assert told["method"] == "supervisor/error"
        assert told["params"]["error"]["code"] in (-32602, -32601)
        assert "id" not in told


def test_size_of_an_overlong_line_and_place_of_a_broken_byte_are_told() -> None:
    assert only(b"x" * (MAX_LINE_BYTES + 5) + b"\n")["error"]["data"]["size"] == MAX_LINE_BYTES + 5
    error = only(b'{"\xff"}\n')["error"]
    assert error["data"]["offset"] == 2
    assert "byte 0xff at offset 2" in error["message"]


@pytest.mark.parametrize(
    "line",
    [
        b"{" + b"x" * 100_000 + b"\n",
        line_of("x" * 100_000, id=1),
        line_of("\0" * 100_000, id=1),
        line_of("start", id=1, params={"service": "web", "x" * 100_000: 1}),
        line_of(id=1, jsonrpc="x" * 100_000),
    ],
    ids=["no json", "a method", "a method to be escaped", "a field", "a version"],
)
def test_only_the_beginning_of_what_is_wrong_is_quoted(line: bytes) -> None:
    assert len(only(line)["error"]["message"]) < 500


@pytest.mark.parametrize("name", ["x - at `$.service`", "x` - at `$.service", "`key` in `$.service`"])
def test_a_place_is_never_read_out_of_what_the_client_wrote(name: str) -> None:
    assert fault_of(line_of("start", id=1, params={"service": "web", name: 1}).strip()) == (1, -32602, "$.params")
    assert fault_of(line_of(id=1, jsonrpc=name).strip()) == (1, -32600, "$.jsonrpc")


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


def test_what_is_absent_is_left_out_and_numbers_are_always_sent() -> None:
    assert json.loads(notification(ServiceLog("web", "stdout", ("a",)))) == {
        "jsonrpc": "2.0",
        "method": "service/log",
        "params": {"service": "web", "stream": "stdout", "lines": ["a"], "dropped": 0, "seq": 0},
    }


def test_a_failure_carries_its_stable_name_beside_its_data() -> None:
    made = failure(SupersededError("was stopped", service="web"))
    assert msgspec.to_builtins(made) == {
        "code": -32006,
        "message": "was stopped",
        "data": {"kind": "Superseded", "service": "web"},
    }


def test_what_other_programs_call_themselves_cannot_break_a_line() -> None:
    """A command line, user name or path may not be UTF-8. Python represents such bytes as lone surrogates."""
    holder = Holder(1, b"caf\xe9 \xff".decode("utf-8", "surrogateescape"), "ada")
    told = json.loads(notification(PortChanged("web", origin=5173, to=5174, holder=holder)))
    assert told["params"] == {
        "service": "web",
        "from": 5173,
        "to": 5174,
        "holder": {"pid": 1, "command": "caf\ufffd \ufffd", "user": "ada", "ours": False},
    }
    error = SupersededError("in /tmp/\udcff", lines=["\udcff", {"\udcff": [1, None]}])
    answer = json.loads(Connection().fail("\U0001f600", failure(error)))
    assert answer["id"] == "\U0001f600"
    assert answer["error"]["message"] == "in /tmp/\ufffd"
    assert answer["error"]["data"]["lines"] == ["\ufffd", {"\ufffd": [1, None]}]
