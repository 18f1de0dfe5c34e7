"""Log files: their content, and the effect of a slow or full disk."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("these look at file modes and links", allow_module_level=True)

from sidecar.config.services import LogFileConfig
from sidecar.core.events import Output
from sidecar.protocol.messages import Stream
from sidecar.state import log_files
from sidecar.state.log_files import LogFiles, file_name, project_folder, slug
from tests.support.waiting import WAIT_S

Make = Callable[[], LogFiles]

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (out|err) (.*)")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(log_files, "FLUSH_S", WAIT_S)
    return tmp_path / "state"


@pytest.fixture
def make() -> Iterator[Callable[[], LogFiles]]:
    """Make log files, and end their threads with the test."""
    made: list[LogFiles] = []

    def make() -> LogFiles:
        made.append(LogFiles("/project"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def output(*lines: str, service: str = "api", stream: Stream = "stdout", partial: str = "") -> Output:
    return Output(service, 1, stream, lines, sum(map(len, lines)), partial)


def read(path: str) -> list[tuple[str, str]]:
    found = [LINE.fullmatch(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    assert all(found)
    return [(line[1], line[2]) for line in found if line]


def opened(files: LogFiles, service: str = "api", **config: int) -> str:
    path = files.open(service, LogFileConfig(**config))
    assert path is not None
    return path


def test_lines_are_written_with_their_time_and_stream_and_without_colours(make: Make, state: Path) -> None:
    files = make()
    path = opened(files)
    files.put(output("\x1b[32mgreen\x1b[0m", "", "ü \udcff"))
    files.put(output("wrong", stream="stderr"))
    files.put(output(partial="not a line yet"))
    files.put(output("it was never opened", service="web"))
    assert files.flush()
    assert read(path) == [("out", "green"), ("out", ""), ("out", "ü ?"), ("err", "wrong")]
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert (state / "logs").stat().st_mode & 0o777 == 0o700


def test_two_runs_of_a_project_write_into_one_file(make: Make) -> None:
    first, second = make(), make()
    assert opened(first) == opened(second)
    first.put(output("0"))
    assert first.flush()
    second.put(output("1"))
    assert second.flush()
    path = opened(first)
    assert read(path) == [("out", "0"), ("out", "1")]


def test_a_file_that_grows_too_large_is_put_aside_and_the_oldest_goes(make: Make) -> None:
    files = make()
    path = opened(files, max_bytes=1_024, keep=2)
    for number in range(5):
        files.put(output(f"{number}{'x' * 900}"))
    assert files.flush()
    assert [read(f"{path}{end}")[0][1][0] for end in ("", ".1", ".2")] == ["4", "3", "2"]
    assert not Path(f"{path}.3").exists()


def test_a_file_without_older_ones_begins_anew(make: Make) -> None:
    files = make()
    path = opened(files, max_bytes=1_024, keep=0)
    for number in range(3):
        files.put(output(f"{number}{'x' * 900}"))
    assert files.flush()
    assert [line[0] for _, line in read(path)] == ["2"]
    assert not Path(f"{path}.1").exists()


def test_a_disk_that_hangs_costs_lines_and_nothing_else(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, begun = threading.Event(), threading.Event()
    append = log_files._append

    def slow(queued: log_files._Queued) -> None:
        begun.set()
        go_on.wait(60)
        append(queued)

    monkeypatch.setattr(log_files, "_append", slow)
    monkeypatch.setattr(log_files, "FLUSH_S", 0.01)
    monkeypatch.setattr(log_files, "BYTES_WAITING", 100)
    files = make()
    path = opened(files)
    files.put(output("first"))
    assert begun.wait(60)
    files.put(output("x" * 200))
    files.put(output("lost", "lost, too"))
    assert not files.flush(), "the end must not wait for the disk"
    monkeypatch.setattr(log_files, "FLUSH_S", 60)
    go_on.set()
    assert files.flush()
    files.put(output("last"))
    assert files.flush()
    said = [line for _, line in read(path)]
    assert said == ["first", "x" * 200, "[lines left out: 2, because they could not be written in time]", "last"]


def test_a_file_that_cannot_be_written_is_said_once(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    files = make()
    path = Path(opened(files))
    path.mkdir()
    for _ in range(2):
        files.put(output("lost"))
    assert files.flush()
    assert capfd.readouterr().err.count("the log files cannot be written") == 1


def test_without_a_thread_lines_wait_and_are_written_once_there_is_one(
    make: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = make()
    path = opened(files)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as no_threads:
        no_threads.setattr(threading.Thread, "start", refuse)
        no_threads.setattr(log_files, "BYTES_WAITING", 40)
        no_threads.setattr(log_files, "FLUSH_S", 0.01)
        files.put(output("first"))
        files.put(output("second"))
        files.put(output("lost"))
        assert not files.flush()
    assert capfd.readouterr().err.count("until the system has a thread to spare") == 1
    assert not Path(path).exists()
    files.put(output("last"))
    assert files.flush()
    left_out = "[lines left out: 1, because they could not be written in time]"
    assert [line for _, line in read(path)] == ["first", "second", left_out, "last"]


def test_a_state_folder_that_is_none_leaves_services_without_a_file(
    make: Make, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state.write_text("", encoding="utf-8")
    assert make().open("api", LogFileConfig()) is None
    assert "the log files cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["api", "web-2", "a_b"])
def test_a_plain_name_is_the_file_s(name: str) -> None:
    assert file_name(name) == f"{name}.log"


@pytest.mark.parametrize("name", ["API", "../../etc/passwd", "a b", "ü", ".", "a/b", "con.", "x" * 300])
def test_any_other_name_becomes_a_plain_one_of_its_own(name: str) -> None:
    made = file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9._-]+\.log", made)
    assert len(made) < 120
    assert not made.startswith(".")
    assert made != file_name(f"{name}x")


def test_projects_have_folders_of_their_own() -> None:
    assert project_folder("/a/app") != project_folder("/b/app")
    assert project_folder("/a/app") == project_folder("/a/app")
    assert slug("/a/b") != slug("/a-b")
