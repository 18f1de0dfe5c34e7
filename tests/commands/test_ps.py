"""``sidecar ps``: runs and their services, read from records and checked with the kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.host.linux import processes
from tests.commands.support import enter, run, told
from tests.faults.cell import ROOT, Cell
from tests.faults.direct import Direct, program
from tests.faults.test_sweep import record, start_of
from tests.support.command import BINARY, SIDECAR, Message
from tests.support.liveness import control_group, state_of
from tests.support.waiting import WAIT_S, until

LISTENER = program("listen:127.0.0.1={port}", "hold", port={"sticky": False}, ready={"type": "tcp"})
KILL = signal.SIGKILL


def runs(folder: Path, sidecar: Sequence[str] = SIDECAR) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(folder, "ps", sidecar=sidecar)["runs"]
    return found


def shown(folder: Path, service: str, sidecar: Sequence[str] = SIDECAR, **wanted: object) -> dict[str, Any]:
    """Wait until ``ps`` shows these facts of the only run's service; return it. A thread writes the record."""
    found: dict[str, Any] = {}

    def is_there() -> bool:
        (only,) = runs(folder, sidecar)
        found.clear()
        found.update(next((it for it in only["services"] if it["name"] == service), {}))
        return found != {} and all(found[name] == value for name, value in wanted.items())

    until(is_there, f"{service} with {wanted} in ps")
    return found


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    found = told(tmp_path, "ps")
    del found["unrecorded"]  # tests that run now keep their records elsewhere
    assert found == {"runs": [], "dead": 0, "elsewhere": 0, "problems": []}
    assert run(tmp_path, "ps").stdout.startswith("No sidecar is running.\n")


def test_a_run_is_shown_with_its_app_its_layers_and_its_service(tmp_path: Path) -> None:
    with Direct(tmp_path) as sidecar:
        claimed = sidecar.client.hello({"web": LISTENER})
        sidecar.client.start_all({"web": LISTENER})
        status = sidecar.client.status("web")
        service = shown(tmp_path, "web", state="ready")
        (only,) = runs(tmp_path)

        assert only["app"]["pid"] == os.getpid()
        assert only["supervisor"]["pid"] == claimed["pid"]
        guard = processes.read_process(only["guard"]["pid"])
        assert guard is not None
        assert sidecar.process.pid == (guard.ppid if BINARY else guard.pid)
        assert only["guarantees"] == claimed["guarantees"]
        assert only["memoryBytes"] > 0
        assert (service["program"]["pid"], service["port"], service["url"]) == (
            status["pid"],
            status["port"],
            status["url"],
        )
        assert (service["listening"], service["processes"]) == (True, 1)
        assert service["memoryBytes"] > 0
        assert service["program"]["uptimeMs"] >= 0
        assert "program.py" in service["program"]["command"]


def test_the_table_has_the_same_facts_for_a_person(tmp_path: Path) -> None:
    with Direct(tmp_path) as sidecar:
        sidecar.serve({"web": LISTENER})
        service = shown(tmp_path, "web", state="ready")
        text = run(tmp_path, "ps").stdout
        for fact in (f"(pid {os.getpid()})", "guard", "web", "ready", service["url"], str(service["program"]["pid"])):
            assert fact in text
        assert "\x1b" not in text


def test_two_runs_at_once_are_both_shown_each_with_its_own(tmp_path: Path) -> None:
    with (
        control_group(divisible=True) as group,
        Cell(tmp_path, ("plain",), group=group) as one,
        Cell(tmp_path, ("deaf", "wide"), group=group) as other,
    ):
        one.grow()
        other.grow()

        def services() -> dict[int, dict[str, int]]:
            return {
                it["app"]["pid"]: {each["name"]: each["processes"] for each in it["services"]} for it in runs(tmp_path)
            }

        until(
            lambda: services() == {one.app.pid: {"plain": 3}, other.app.pid: {"deaf": 2, "wide": 51}}, "both runs in ps"
        )


def test_a_daemon_that_left_the_tree_is_counted_by_its_mark(tmp_path: Path) -> None:
    with Cell(tmp_path, ("daemon",)) as cell:
        cell.grow()
        assert shown(tmp_path, "daemon", state="ready")["processes"] == 2


def test_a_service_that_has_ended_has_no_program_and_no_url(tmp_path: Path) -> None:
    with Direct(tmp_path) as sidecar:
        sidecar.serve({"web": LISTENER})
        shown(tmp_path, "web", state="ready")
        sidecar.client.call("stop", service="web")
        service = shown(tmp_path, "web", state="stopped")
        assert (service["program"], service["url"], service["processes"]) == (None, None, 0)


def test_a_restart_is_seen_with_the_new_pid(tmp_path: Path) -> None:
    with Direct(tmp_path) as sidecar:
        sidecar.serve({"web": LISTENER})
        before = sidecar.client.status("web")["pid"]
        sidecar.client.call("restart", service="web")
        after = sidecar.client.status("web")["pid"]
        assert after != before
        # a thread writes the record: at first it may still have the old program, which is dead
        until(lambda: (shown(tmp_path, "web", state="ready")["program"] or {}).get("pid") == after, "the new pid")


def test_what_a_record_says_of_a_dead_program_is_not_shown_as_living(tmp_path: Path) -> None:
    """The stopped supervisor does not notice its service's death, but the kernel knows."""
    with Cell(tmp_path, (), services={"web": LISTENER}) as cell:
        cell.client.start_all(cell.services)
        pid = shown(tmp_path, "web", state="ready")["program"]["pid"]
        cell.strike(("supervisor", signal.SIGSTOP))
        until(lambda: state_of(cell.hello["pid"]) == "T", "a stopped supervisor")
        os.kill(pid, KILL)  # its stopped parent does not reap it, so the pid is not reused
        until(lambda: state_of(pid) == "Z", "its death")
        service = shown(tmp_path, "web")
        assert (service["program"], service["listening"], service["url"]) == (None, False, None)


@pytest.mark.parametrize("end", ["shutdown", "kill"])
def test_a_run_that_is_over_is_not_shown_and_has_no_record(tmp_path: Path, end: str) -> None:
    with Cell(tmp_path, ("plain",)) as cell:
        cell.grow()
        shown(tmp_path, "plain", state="ready")
        if end == "kill":
            cell.strike(("app", KILL))
        else:
            cell.client.call("shutdown")
        cell.await_ours_gone()
        assert runs(tmp_path) == []
        cell.assert_nothing_left()


def test_a_run_that_was_killed_whole_is_counted_and_not_shown(tmp_path: Path) -> None:
    with control_group(divisible=True) as group, Cell(tmp_path, ("daemon",), group=group) as cell:
        cell.grow()
        cell.strike(("guard", signal.SIGSTOP), ("supervisor", signal.SIGSTOP), ("supervisor", KILL), ("guard", KILL))
        cell.await_ours_gone()
        found = told(tmp_path, "ps")
        assert (found["runs"], found["dead"]) == ([], 1)
        assert "sidecar clean" in run(tmp_path, "ps").stdout


def test_a_record_that_knows_less_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    owner: Message = {"pid": os.getpid(), "start": start_of(os.getpid())}
    record(tmp_path, "a" * 32, owners=[owner], something_newer=1)
    (only,) = runs(tmp_path)
    assert (only["runId"], only["guard"]["pid"], only["supervisor"]) == ("a" * 32, os.getpid(), None)
    assert (only["app"], only["services"], only["guarantees"]) == (None, [], {})
    assert "not watched" in run(tmp_path, "ps").stdout


def test_a_record_of_another_version_is_said_and_left_where_it_is(tmp_path: Path) -> None:
    path = record(tmp_path, "b" * 32, version=2)
    found = told(tmp_path, "ps")
    assert found["runs"] == []
    (problem,) = found["problems"]
    assert str(path) in problem
    assert path.exists()


@pytest.mark.parametrize("words", [["ps"], ["clean", "--yes"], ["doctor"]])
def test_a_name_that_is_no_text_is_no_reason_to_tell_a_program_nothing(tmp_path: Path, words: list[str]) -> None:
    """Paths in records and command lines can have any bytes."""
    state = os.fsdecode(os.fsencode(tmp_path) + b"/Fran\xe7ois")
    (Path(state) / "runs").mkdir(mode=0o700, parents=True)
    Path(f"{state}/runs/{'d' * 32}.json").write_text("{")
    with control_group(divisible=True) as group:
        done = run(tmp_path, *words, "--json", group=group, SIDECAR_STATE_DIR=state)
    assert "Fran\ufffdois" in done.stdout
    assert isinstance(json.loads(done.stdout), dict)
    assert done.stderr == ""


def test_a_state_folder_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    (problem,) = told(tmp_path, "ps")["problems"]
    assert "cannot be read" in problem


def test_a_watch_shows_again_what_changes_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    env = {**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    command = [*SIDECAR, "ps", "--watch", "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, preexec_fn=enter(None)) as watch:  # noqa: PLW1509
        try:
            assert watch.stdout is not None
            assert json.loads(watch.stdout.readline())["runs"] == []
            with Direct(tmp_path) as sidecar:
                sidecar.serve({"web": LISTENER})
                while not (seen := json.loads(watch.stdout.readline()))["runs"]:
                    pass
                assert seen["runs"][0]["app"]["pid"] == os.getpid()
            watch.send_signal(signal.SIGINT)
            assert watch.wait(WAIT_S) == 130
        finally:
            watch.kill()


def test_a_reader_that_goes_away_ends_it_without_a_trace(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*SIDECAR, "ps"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
