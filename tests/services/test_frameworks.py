"""The table of dev servers is complete: each can be recognised, started, and told where to listen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.config.services import SERVICE_TYPES, DevServer, ServerReady, parse_service, ready_probe
from sidecar.core.addresses import AddressBook
from sidecar.core.neighbours import Neighbours
from sidecar.core.readiness import matches
from sidecar.core.service import SupervisedService
from sidecar.services.dev_script import NotUnderstood, Start, understand
from sidecar.services.frameworks import BY_TYPE, SCRIPT, TABLE, VITE, Framework, config_files
from sidecar.services.project import look, recognise

ROWS = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
CALLED = [(words, row) for row in TABLE for words in row.called]


def package(folder: Path, **fields: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(fields), encoding="utf-8")


@ROWS
def test_each_row_says_how_it_is_recognised(row: Framework) -> None:
    assert row.configs or row.depends
    assert row.called or row.vite, "a script can start it"


@pytest.mark.parametrize("row", [*TABLE, SCRIPT], ids=lambda row: row.name)
def test_each_row_is_told_its_port_and_its_host(row: Framework) -> None:
    told = " ".join((*row.listen, *(value for _, value in row.env)))
    assert told.count("{port}") == 1
    assert told.count("{host}") == 1
    assert 1 <= row.port <= 65_535


@ROWS
def test_each_type_is_a_service_that_is_ready_when_it_answers(row: Framework) -> None:
    service = parse_service({"type": row.type}, "$")
    assert isinstance(service, DevServer)
    assert ready_probe(service) == ServerReady()
    assert row.title


def test_the_types_of_the_table_are_those_of_the_configuration() -> None:
    assert set(SERVICE_TYPES) == {*BY_TYPE, "command", "task"}
    assert BY_TYPE["vite"] is VITE
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_what_vite_starts_is_told_its_port_as_vite_is() -> None:
    rows = [row for row in TABLE if row.vite]
    assert {(row.package, row.program, row.verb, row.listen, row.port) for row in rows} == {
        (VITE.package, VITE.program, VITE.verb, VITE.listen, VITE.port)
    }
    assert "--strictPort" in VITE.listen


@pytest.mark.parametrize(("row", "name"), [(row, name) for row in TABLE for name in row.configs], ids=str)
def test_a_project_is_recognised_by_its_configuration_file(row: Framework, name: str, tmp_path: Path) -> None:
    for file in config_files(name):
        folder = tmp_path / file
        folder.mkdir()
        (folder / file).touch()
        found = look(str(folder)).start
        assert found is not None
        assert found.framework is row


@pytest.mark.parametrize(("row", "name"), [(row, name) for row in TABLE for name in row.depends], ids=str)
def test_a_project_is_recognised_by_what_it_depends_on(row: Framework, name: str, tmp_path: Path) -> None:
    for kind in ("dependencies", "devDependencies"):
        assert recognise(str(tmp_path), {kind: {name: "1", "vite": "8"}}) is row


@pytest.mark.parametrize("row", [row for row in TABLE if row.vite and row is not VITE], ids=lambda row: row.name)
def test_vites_own_file_leaves_a_framework_on_it_its_name(row: Framework, tmp_path: Path) -> None:
    (tmp_path / "vite.config.ts").touch()
    assert recognise(str(tmp_path), {"dependencies": {row.depends[0]: "1"}}) is row


@pytest.mark.parametrize(("words", "row"), CALLED, ids=str)
def test_a_project_is_recognised_by_its_script(words: str, row: Framework, tmp_path: Path) -> None:
    package(tmp_path, scripts={"dev": words}, devDependencies={"vite": "8"})
    found = look(str(tmp_path))
    assert found.start is not None
    assert (found.start.framework, found.script) == (row, "dev")


@pytest.mark.parametrize(("words", "row"), CALLED, ids=str)
def test_each_program_s_port_host_and_browser_are_ours_to_say(words: str, row: Framework) -> None:
    told = f"{row.host_flags[0]} 0.0.0.0 {row.port_flags[0]}=4000"
    start = understand(" ".join((words, "--debug", told, *row.open_flags[:1])), {})
    assert start == Start(row, host="0.0.0.0", port=4000, args=("--debug",))


@pytest.mark.parametrize(
    "words", [f"{words} {other}" for words, row in CALLED if " " not in words for other in row.others]
)
def test_what_such_a_program_can_do_beside_is_no_dev_server(words: str) -> None:
    found = understand(words, {})
    assert isinstance(found, NotUnderstood)
    assert found.reason == f"{words} is no dev server"


@pytest.mark.parametrize("type_", [*BY_TYPE, "command"])
def test_a_service_s_status_has_its_type(type_: str) -> None:
    more = {"command": ["x"]} if type_ == "command" else {}
    config = parse_service({"type": type_, **more}, "$")
    alone = Neighbours({}, AddressBook({}, str), lambda _: None)
    service = SupervisedService("web", config, alone, lambda: 0.0, matches, lambda _: None)
    assert service.status(0.0).type == type_
