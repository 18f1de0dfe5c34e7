"""``sidecar ps``, ``clean`` and ``doctor`` with macOS's code, on Linux (tests/faults/darwin.py)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds and the process connector are Linux's", allow_module_level=True)

from sidecar.host.darwin import layers
from sidecar.host.darwin.kernel_events import KernelEvents
from tests.children.trees import SIZES
from tests.commands import test_ps
from tests.commands.support import run, told
from tests.commands.test_clean import killed_whole
from tests.faults.cell import Cell
from tests.faults.darwin import COMMAND
from tests.faults.direct import Direct
from tests.faults.test_sweep import record
from tests.host.bsd import Kernel, Kevent, skip_without_forks
from tests.support.command import BINARY
from tests.support.liveness import RollCall, state_of
from tests.support.waiting import until

if BINARY:
    pytest.skip("a frozen sidecar has no emulated kernel", allow_module_level=True)

LISTENER = test_ps.LISTENER


@pytest.fixture(autouse=True)
def needs_forks() -> None:
    skip_without_forks()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    it = Kernel()
    yield it
    it.close()


def runs(folder: Path) -> list[dict[str, Any]]:
    return test_ps.runs(folder, COMMAND)


def shown(folder: Path, service: str, **wanted: object) -> dict[str, Any]:
    return test_ps.shown(folder, service, COMMAND, **wanted)


# ── ps ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    found = told(tmp_path, "ps", sidecar=COMMAND)
    del found["unrecorded"]  # tests that run now keep their records elsewhere
    assert found == {"runs": [], "dead": 0, "elsewhere": 0, "problems": []}


def test_a_run_is_shown_with_its_app_its_layers_and_its_service(tmp_path: Path, kernel: Kernel) -> None:
    with Direct(tmp_path, sidecar=COMMAND) as sidecar:
        claimed = sidecar.client.hello({"web": LISTENER})
        sidecar.client.start_all({"web": LISTENER})
        status = sidecar.client.status("web")
        service = shown(tmp_path, "web", state="ready")
        (only,) = runs(tmp_path)

        for name, pid in {"app": os.getpid(), "guard": sidecar.process.pid, "supervisor": claimed["pid"]}.items():
            process = kernel.read(pid)
            assert process is not None
            assert (only[name]["pid"], only[name]["start"]) == (pid, process.birth)
        assert claimed["guarantees"]["platform"] == "darwin"
        assert only["guarantees"] == claimed["guarantees"]
        assert only["memoryBytes"] > 0
        for fact in ("port", "url"):
            assert service[fact] == status[fact]
        assert service["program"]["pid"] == status["pid"]
        assert "program.py" in service["program"]["command"]
        assert (service["listening"], service["processes"]) == (True, 1)
        assert service["memoryBytes"] > 0
        assert 0 <= service["program"]["uptimeMs"] <= only["app"]["uptimeMs"]

        text = run(tmp_path, "ps", sidecar=COMMAND).stdout
        for fact in (f"(pid {os.getpid()})", f"guard {sidecar.process.pid}", "kqueue", "web", "ready", status["url"]):
            assert fact in text


def test_two_runs_at_once_are_both_shown_each_with_its_own(tmp_path: Path) -> None:
    with (
        Cell(tmp_path, ("plain", "daemon"), sidecar=COMMAND) as one,
        Cell(tmp_path, ("sessions", "wide"), sidecar=COMMAND) as other,
    ):
        one.grow()
        other.grow()
        sizes = {cell.app.pid: {kind: len(cell.roll.living(kind)) for kind in cell.services} for cell in (one, other)}

        def counted() -> dict[int, dict[str, int]]:
            return {
                it["app"]["pid"]: {each["name"]: each["processes"] for each in it["services"]} for it in runs(tmp_path)
            }

        until(lambda: counted() == sizes, "both runs in ps, each process with its own service")


def test_a_restart_and_an_end_are_seen(tmp_path: Path) -> None:
    with Direct(tmp_path, sidecar=COMMAND) as sidecar:
        sidecar.serve({"web": LISTENER})
        before = sidecar.client.status("web")["pid"]
        sidecar.client.call("restart", service="web")
        # a thread writes the record: at first it may still have the old program, which is dead
        until(lambda: shown(tmp_path, "web", state="ready")["program"] is not None, "the new program")
        assert shown(tmp_path, "web", state="ready")["program"]["pid"] != before
        sidecar.client.call("stop", service="web")
        service = shown(tmp_path, "web", state="stopped")
        assert (service["program"], service["url"], service["processes"]) == (None, None, 0)


def test_what_a_record_says_of_a_dead_program_is_not_shown_as_living(tmp_path: Path) -> None:
    """The stopped supervisor does not notice its service's death, but the kernel knows."""
    with Cell(tmp_path, (), services={"web": LISTENER}, sidecar=COMMAND) as cell:
        cell.client.start_all(cell.services)
        pid = shown(tmp_path, "web", state="ready")["program"]["pid"]
        cell.strike(("supervisor", signal.SIGSTOP))
        until(lambda: state_of(cell.hello["pid"]) == "T", "a stopped supervisor")
        os.kill(pid, signal.SIGKILL)  # its stopped parent does not reap it, so the pid is not reused
        until(lambda: state_of(pid) == "Z", "its death")
        service = shown(tmp_path, "web")
        assert (service["program"], service["listening"], service["url"]) == (None, False, None)


def test_a_run_that_is_over_is_not_shown_and_has_no_record(tmp_path: Path) -> None:
    with Cell(tmp_path, ("plain",), sidecar=COMMAND) as cell:
        cell.grow()
        shown(tmp_path, "plain", state="ready")
        cell.client.call("shutdown")
        cell.await_ours_gone()
        assert runs(tmp_path) == []
        cell.assert_nothing_left()


def test_a_process_that_has_an_owners_pid_is_not_taken_for_it(tmp_path: Path, kernel: Kernel) -> None:
    me = kernel.read(os.getpid())
    assert me is not None
    path = record(tmp_path, "a" * 32, owners=[{"pid": me.pid, "start": me.birth - 1}])
    found = told(tmp_path, "ps", sidecar=COMMAND)
    assert (found["runs"], found["dead"]) == ([], 1)
    path.unlink()
    record(tmp_path, "a" * 32, owners=[{"pid": me.pid, "start": me.birth}])
    found = told(tmp_path, "ps", sidecar=COMMAND)
    assert ([it["guard"]["pid"] for it in found["runs"]], found["dead"]) == ([me.pid], 0)


def test_a_process_with_the_mark_of_no_known_run_is_named(tmp_path: Path) -> None:
    with Cell(tmp_path, ("plain",), sidecar=COMMAND) as cell:
        cell.grow()
        (tmp_path / "elsewhere").mkdir()
        strange = {it["pid"] for it in told(tmp_path / "elsewhere", "ps", sidecar=COMMAND)["unrecorded"]}
        assert {it.pid for it in cell.roll.living("plain")} <= strange
        at_home = {it["pid"] for it in told(tmp_path, "ps", sidecar=COMMAND)["unrecorded"]}
        assert not {it.pid for it in cell.roll.living("plain")} & at_home


# ── clean ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_clean_shows_what_a_double_kill_left_then_ends_that_and_nobody_else(tmp_path: Path) -> None:
    with (
        RollCall() as decoys,
        killed_whole(tmp_path, decoys, contained=False, sidecar=COMMAND) as (cell, group),
    ):
        assert told(tmp_path, "ps", sidecar=COMMAND)["dead"] == 1
        before = sorted((tmp_path / "state").rglob("*"))
        found = told(tmp_path, "clean", "--dry-run", group=group, sidecar=COMMAND)
        (left,) = found["runs"]
        assert len(left["processes"]) == len(cell.roll.living("daemon")) == SIZES["daemon"]
        assert {it["pid"] for it in left["processes"]} == {it.pid for it in cell.roll.living("daemon")}
        assert sorted((tmp_path / "state").rglob("*")) == before
        cell.roll.prove_alive("daemon")

        told_of = run(tmp_path, "clean", "--dry-run", group=group, sidecar=COMMAND).stdout
        done = run(tmp_path, "clean", "--yes", group=group, sidecar=COMMAND)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(told_of), "it must end exactly what it showed"
        assert f"ended {SIZES['daemon']} processes;" in done.stdout
        cell.roll.await_dead()
        assert len(list((tmp_path / "state" / "runs").iterdir())) == 1, "the neighbour's"


def test_of_an_earlier_boot_only_the_record_is_left(tmp_path: Path) -> None:
    path = record(tmp_path, "a" * 32, bootId="earlier", owners=[{"pid": os.getpid(), "start": 1}])
    (left,) = told(tmp_path, "clean", "--dry-run", sidecar=COMMAND)["runs"]
    assert (left["record"], left["thisBoot"], left["processes"]) == (str(path), False, [])
    assert told(tmp_path, "clean", "--yes", sidecar=COMMAND)["records"] == 1
    assert not path.exists()


def test_where_nothing_is_left_clean_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "clean", "--yes", sidecar=COMMAND)
    assert (done.returncode, done.stdout) == (0, "Nothing is left of earlier runs.\n")


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_doctor_finds_the_layers_that_a_start_claims(tmp_path: Path) -> None:
    found = {it["name"]: it["holds"] for it in examined(tmp_path)["layers"]}
    assert found == {"guard": True, "parentWatch": True, "stdinGuard": True, "runCookie": True}
    with Direct(tmp_path, sidecar=COMMAND) as sidecar:
        claimed = sidecar.client.hello({})["guarantees"]
        del claimed["platform"]
    assert {name for name, value in claimed.items() if value not in {False, "none"}} == set(found)


def test_doctor_names_who_has_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (found,) = (it for it in examined(tmp_path, "--port", str(port))["findings"] if it["subject"] == f"port {port}")
    assert f"pid {os.getpid()}" in found["found"]


def examined(folder: Path, *words: str) -> dict[str, Any]:
    """Return its report on a folder without a project, which is a finding."""
    done = run(folder, "doctor", str(folder), *words, "--json", sidecar=COMMAND)
    assert (done.returncode, done.stderr) == (1, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_kernel_that_tells_of_nobody_is_no_guard_and_no_watch(kernel: Kernel) -> None:
    class Sandboxed(KernelEvents):
        def watch(self, pid: int, *, forks: bool = False) -> None:
            raise PermissionError

    found = layers.find_layers(kernel, lambda: Sandboxed(kernel.kqueue(), Kevent))
    assert [(it.name, it.holds) for it in found if it.advice] == [("guard", False), ("parentWatch", False)]


def test_an_app_that_has_ended_already_is_not_watched(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 1 << 30)  # no process has such a pid
    found = layers.find_layers(kernel, lambda: KernelEvents(kernel.kqueue(), Kevent))
    assert [it.name for it in found if not it.holds] == ["parentWatch"]
