"""Files in the state folder: what was written can be read, and a damaged file stops no start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.files import parse_json
from sidecar.state import atomic, run_record
from sidecar.state.run_record import Identity, RunRecord, ServiceRecord

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.integers(-(2**63), 2**63 - 1)
IDENTITY = st.builds(Identity, NUMBER, NUMBER)
RECORD = st.builds(
    RunRecord,
    run_id=TEXT,
    boot_id=TEXT,
    owners=st.lists(IDENTITY, max_size=3).map(tuple),
    pid_namespace=st.none() | TEXT,
    group=st.none() | TEXT,
    app=st.none() | IDENTITY,
    guarantees=st.dictionaries(TEXT, st.booleans() | TEXT, max_size=3),
    services=st.dictionaries(
        TEXT,
        st.builds(ServiceRecord, state=TEXT, host=st.none() | TEXT, port=st.none() | NUMBER, url=st.none() | TEXT),
        max_size=3,
    ),
)
DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(run_record.STATE_DIR, str(tmp_path / "state"))
    return tmp_path / "state"


@given(RECORD)
def test_a_record_is_read_as_it_was_written(record: RunRecord) -> None:
    assert parse_json(msgspec.json.encode(record), RunRecord) == record


once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Suppressed, as all examples may share the folder: each writes the file anew."""


@once
@given(st.binary(max_size=60) | RECORD.map(msgspec.json.encode), st.integers(0, 200), st.binary(max_size=3))
@example(DEEP, 0, b"")
def test_a_damaged_record_is_one_that_is_not_known(state: Path, data: bytes, at: int, damage: bytes) -> None:
    path = run_record.run_path("a")
    run_record.remove_run(path)
    Path(path).write_bytes(data if not damage else data[:at] + damage + data[at + len(damage) :])
    [(found, record)] = run_record.read_runs()
    assert found == path
    assert record is None or record.version == run_record.RECORD_VERSION


@once
@given(st.binary(max_size=60) | st.dictionaries(TEXT, NUMBER, max_size=4).map(msgspec.json.encode))
@example(DEEP)
@example(b'{"a": 1e400}')
def test_damaged_remembered_ports_start_afresh(state: Path, data: bytes) -> None:
    (Path(run_record.state_folder()) / "ports.json").write_bytes(data)
    run_record.last_port("a")
    run_record.remember_port("a", 5173)
    assert run_record.last_port("a") == 5173


@given(st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=20))
def test_a_drafts_name_tells_its_writer(name: str) -> None:
    draft = atomic.draft_of(f"/folder/{name}.json")
    assert draft.startswith("/folder/")
    assert draft.endswith(".tmp")
