"""Feed lines to a session, for the protocol's tests."""

from __future__ import annotations

import json
from typing import Any

from sidecar.errors import ERROR_CODES
from sidecar.protocol.requests import Shutdown
from sidecar.protocol.rpc import Connection, Received

GOOD = b'{"jsonrpc":"2.0","id":"good","method":"shutdown"}\n'


def line_of(method: object = "status", **members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, **members}).encode() + b"\n"


def everything(session: Connection, data: bytes) -> list[Received | bytes]:
    return [*session.receive(data), *session.finish()]


def only(data: bytes) -> Any:
    """Return the only result of a line: a ``Received``, or the decoded error."""
    (found,) = everything(Connection(), data)
    return json.loads(found) if isinstance(found, bytes) else found


def fault_of(data: bytes) -> tuple[Any, int, Any]:
    """Return the id, code and place of a bad line's error. Assert that the next line works."""
    session = Connection()
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
