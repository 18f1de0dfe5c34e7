"""``sidecar logs``: the log files of the services of the project in the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the fixture's folders are POSIX's", allow_module_level=True)

from sidecar.config.services import LogFileConfig
from sidecar.core.events import Output
from sidecar.state.log_files import LogFiles, project_folder
from tests.support.command import SIDECAR
from tests.support.waiting import until

HERE = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project with the logs of two services."""
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    folder = tmp_path / "app" / "src-tauri"
    folder.mkdir(parents=True)
    seconds = count(1_800_000_000)  # else all may have the same millisecond
    monkeypatch.setattr(time, "time", lambda: float(next(seconds)))
    write(folder, "api", "one", "two")
    write(folder, "web", "ready")
    write(folder, "api", "three")
    return folder


def write(folder: Path, service: str, *lines: str) -> None:
    files = LogFiles(str(folder))
    files.open(service, LogFileConfig())
    files.put(Output(service, 1, "stdout", lines, sum(map(len, lines))))
    until(files.flush, "the lines on the disk")
    files.close()


def logs(folder: Path, *words: str, code: int = 0) -> list[str]:
    done = subprocess.run([*SIDECAR, "logs", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return (done.stdout or done.stderr).splitlines()


def texts(lines: list[str]) -> list[str]:
    return [line.split(" out ")[1] for line in lines]


def test_the_lines_of_one_service_are_printed(project: Path) -> None:
    assert texts(logs(project, "api")) == ["one", "two", "three"]
    assert texts(logs(project, "api", "-n", "2")) == ["two", "three"]
    assert logs(project, "api", "-n", "0") == []


def test_the_lines_of_all_services_are_printed_in_the_order_of_their_times(project: Path) -> None:
    found = logs(project)
    assert [line.split()[0] for line in found] == ["api", "api", "web", "api"]
    assert texts(logs(project, "-n", "2")) == ["ready", "three"]


def test_logs_are_found_from_above_and_from_below(project: Path) -> None:
    below = project / "src"
    below.mkdir()
    assert len(logs(below)) == 4
    assert len(logs(project.parent)) == 4


def test_older_files_are_read_too(project: Path) -> None:
    file = Path(project_folder(str(project))) / "api.log"
    file.rename(f"{file}.1")
    write(project, "api", "four")
    assert texts(logs(project, "api")) == ["one", "two", "three", "four"]


def test_a_service_that_has_none_is_named_with_those_that_have(project: Path) -> None:
    said, page = logs(project, "apy", code=1)
    assert "there is no log for apy (did you mean api?)" in said
    assert page.startswith("Docs: ")


def test_a_project_without_logs_says_so(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    said, _ = logs(other, code=1)
    assert f"there are no logs for {os.path.realpath(other)}" in said


def test_what_comes_later_is_followed_also_over_a_new_file(project: Path) -> None:
    file = Path(project_folder(str(project))) / "api.log"
    with subprocess.Popen([*SIDECAR, "logs", "api", "-f"], cwd=project, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            assert texts([follower.stdout.readline().strip() for _ in range(3)]) == ["one", "two", "three"]
            write(project, "api", "four")
            assert texts([follower.stdout.readline().strip()]) == ["four"]
            file.rename(f"{file}.1")
            write(project, "api", "five")
            assert texts([follower.stdout.readline().strip()]) == ["five"]
        finally:
            follower.kill()


def test_a_service_that_is_first_started_later_is_followed_too(project: Path) -> None:
    with subprocess.Popen([*SIDECAR, "logs", "-f"], cwd=project, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            assert texts([follower.stdout.readline().strip() for _ in range(4)]) == ["one", "two", "ready", "three"]
            write(project, "worker", "four")
            line = follower.stdout.readline().strip()
            assert (line.split()[0], texts([line])) == ("worker", ["four"])
        finally:
            follower.kill()
