"""A PyInstaller one-file program as a service: after a kill its unpacked folder is removed, and no other folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from tests.support.command import Message
from tests.support.waiting import until
from tests.windows.support import CHILDREN, PYTHON, WAIT_S, Direct, await_end, held

ONE_FILE = CHILDREN.parents[1] / "children" / "one_file.py"


@pytest.mark.parametrize("how", ["the app is killed", "the supervisor is killed", "shutdown"])
def test_the_unpacked_folder_of_a_killed_service_goes(tmp_path: Path, how: str) -> None:
    service: Message = {"type": "command", "command": [*PYTHON, str(ONE_FILE)], "stop": {"timeoutMs": 100}}
    service["ready"] = {"type": "log", "pattern": "unpacked into"}
    other = tmp_path / "unpacked" / "_MEIother"
    other.mkdir(parents=True)
    (other / "precious").touch()
    with Direct(tmp_path, app=True) as it:
        supervisor = held(it.client.hello({"api": service})["pid"])
        it.client.start_all({"api": service})
        [line] = it.client.note("service/log", service="api")["lines"]
        folder = Path(str(line).removeprefix("unpacked into "))
        [record] = (it.state / "runs").glob("*.json")
        until(lambda: [each["path"] for each in _unpacked(record)] == [str(folder)], "the folder in the record", WAIT_S)
        match how:
            case "the app is killed":
                it.process.kill()
            case "the supervisor is killed":
                supervisor.kill()
            case _:
                it.client.call("shutdown")
        await_end(supervisor)
    # a killed supervisor removes nothing, and on a busy machine its one second at a normal end may be too short
    with Direct(tmp_path) as second:
        second.client.hello({})
        until(lambda: not folder.exists() and not record.exists(), "the end of both", WAIT_S)
        second.client.call("shutdown")
    assert (other / "precious").exists()


def _unpacked(record: Path) -> list[Message]:
    try:
        found: list[Message] = json.loads(record.read_bytes())["unpacked"]
    except (OSError, ValueError):
        return []  # the record is being replaced
    return found
