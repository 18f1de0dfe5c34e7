"""The golden conversations (see ``conversations.py``), played by the real session and the real core.

After an intended change of the protocol, ``SIDECAR_GOLDEN=write`` renews the files. Review their diff like any code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from sidecar.errors import ERROR_CODES
from sidecar.protocol.messages import NOTIFICATIONS, State
from sidecar.protocol.requests import METHODS
from tests.protocol.conversations import FILES, bytes_of, is_input, played, read, write


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_conversation_goes_as_it_is_written(file: Path) -> None:
    entries = read(file)
    happened = played(entries)
    if os.environ.get("SIDECAR_GOLDEN") == "write":
        write(file, happened)
        return
    assert happened == entries


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_file_is_plain_enough_for_any_language(file: Path) -> None:
    data = file.read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")
    for entry in read(file):
        assert len({"event", "effect", "from"} & set(entry)) == 1
        if entry.get("from") == "client":
            assert b"\n" not in bytes_of(entry)[:-1], "one entry is one line"
            assert len({"line", "text", "hex"} & set(entry)) == 1
        elif entry.get("from") == "server":
            assert isinstance(entry["line"], dict)


def test_golden_files_show_every_method_notification_state_and_error() -> None:
    said = [entry["line"] for file in FILES for entry in read(file) if isinstance(entry.get("line"), dict)]
    methods = {line.get("method") for line in said if isinstance(line.get("method"), str)}
    assert methods >= set(METHODS) | {kind.method for kind in NOTIFICATIONS}
    states = {line["params"]["state"] for line in said if line.get("method") == "service/state"}
    assert states == set(get_args(State))
    codes = {line["error"]["code"] for line in said if "error" in line}
    internal_families_and_before_any_session = {-32603, -32020, -32040, -32041}
    assert codes == set(ERROR_CODES) - internal_families_and_before_any_session


@pytest.mark.parametrize("file", [file for file in FILES if file.stem != "signals"], ids=lambda file: file.stem)
def test_every_request_with_an_id_is_answered_and_nothing_else_is(file: Path) -> None:
    asked: list[object] = []
    answered: list[object] = []
    for entry in read(file):
        line = entry.get("line")
        if isinstance(line, dict) and type(line.get("id")) in {int, float, str}:
            (asked if is_input(entry) else answered).append(line["id"])
    assert sorted(asked, key=repr) == sorted(answered, key=repr)
