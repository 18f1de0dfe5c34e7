"""A client's input: however its bytes are cut and whatever it contains, each line has its own outcome."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sidecar.protocol.framing import LineReader
from sidecar.protocol.requests import METHODS
from sidecar.protocol.rpc import Connection, Received
from tests.fuzz.pieces import PIECES, cut

LIMIT = 400
"""Bound on a line's bytes: small, so that many lines exceed it."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(["service", "services", "web", "graceMs", "lines", "type", "vite", "protocolVersion"])
PARAMS = st.dictionaries(WORDS, JSON | WORDS, max_size=4) | JSON

REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0"]) | JSON,
        "method": st.sampled_from([*METHODS, "", "rpc.x"]) | JSON,
        "params": PARAMS,
        "id": JSON | st.integers() | st.sampled_from([10**30, -(2**63) - 1, 1e308, True]),
        "extra": JSON,
    },
)
LINE = st.one_of(
    REQUEST.map(lambda it: json.dumps(it, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    JSON.map(lambda it: json.dumps(it).encode()),
    st.binary(max_size=40).map(lambda it: it.replace(b"\n", b"")),
    st.sampled_from([b"", b" \t\r", b"[" * 300, b'{"a":' * 80, b"x" * (LIMIT + 1), b"9" * 399, b"\xef\xbb\xbf{}"]),
)


def session() -> Connection:
    made = Connection()
    made._reader = LineReader(LIMIT)
    return made


def outcomes(it: Connection, pieces: list[bytes]) -> list[Received | bytes]:
    """Return each line's outcome. Each request is answered before the next one, so that its id is free again."""
    found: list[Received | bytes] = []
    for source in (*(it.receive(piece) for piece in pieces), it.finish()):
        for each in source:
            found.append(each)
            if isinstance(each, Received):
                it._open.clear()
    return found


@given(st.lists(LINE, max_size=8), PIECES)
def test_each_line_has_the_outcome_that_it_has_alone(lines: list[bytes], cuts: list[int]) -> None:
    together = outcomes(session(), cut(b"\n".join(lines), cuts))
    assert together == [each for line in lines for each in outcomes(session(), [line])]


@given(LINE)
def test_a_line_is_nothing_a_request_or_one_line_of_json_with_its_id(line: bytes) -> None:
    found = outcomes(session(), [line, b"\n"])
    assert len(found) == bool(line.strip())
    for each in found:
        if isinstance(each, Received):
            assert each.id is UNSET or json.loads(line)["id"] == each.id
            continue
        assert each.endswith(b"\n")
        assert each.count(b"\n") == 1
        told: dict[str, Any] = json.loads(each)
        assert told["jsonrpc"] == "2.0"
        error = told["error"] if "error" in told else told["params"]["error"]
        assert error["message"]
        assert isinstance(error["data"]["kind"], str)


@given(st.lists(LINE, max_size=6), PIECES)
def test_what_is_held_of_a_client_is_never_more_than_a_line(lines: list[bytes], cuts: list[int]) -> None:
    reader = LineReader(LIMIT)
    for piece in cut(b"\n".join(lines), cuts):
        reader.receive(piece)
        assert len(reader._buffer) <= LIMIT
