"""``sidecar clean``: shows what a next start would end, and ends exactly that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.host import unpacked
from sidecar.host.linux import orphans
from tests.commands.support import WAIT_S, enter, run, told
from tests.faults.cell import ROOT, Cell, own_groups, service
from tests.faults.direct import Direct
from tests.support.command import SIDECAR
from tests.support.liveness import RollCall, control_group

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
KILLED_WHOLE = (("guard", STOP), ("supervisor", STOP), ("supervisor", KILL), ("guard", KILL))
"""Kills as if in one instant: none can react to the others' deaths. In another order the supervisor would be woken."""


@contextmanager
def killed_whole(
    folder: Path, decoys: RollCall, *, contained: bool = True, sidecar: Sequence[str] = SIDECAR
) -> Iterator[tuple[Cell, str | None]]:
    """Kill a run whose daemon lives on (on macOS also its maker), beside decoys and another, living sidecar."""
    with (
        control_group(divisible=contained) as group,
        Cell(folder, ("daemon",), group=group, decoys=decoys, sidecar=sidecar) as cell,
        Cell(folder, ("plain",), group=group, sidecar=sidecar) as neighbour,
    ):
        if cell.contained != contained:
            pytest.skip("no delegated control group here")
        decoys.await_living("decoy", 2)
        neighbour.grow()
        cell.grow()
        cell.strike(*KILLED_WHOLE)
        cell.await_ours_gone()
        while cell.hello["guarantees"]["parentDeathSignal"] and {it.role for it in cell.roll.living()} != {"daemon"}:
            cell.roll.turn(WAIT_S)  # the service's own program dies with its parent
        yield cell, group
        decoys.prove_alive("decoy")
        neighbour.roll.tell("plain", b".")
        neighbour.roll.prove_alive("plain")
        assert neighbour.client.status("plain")["state"] == "ready"


def daemons(cell: Cell) -> set[int]:
    return {it.pid for it in cell.roll.living("daemon") if it.role == "daemon"}


def test_where_nothing_is_left_it_says_so(tmp_path: Path) -> None:
    with control_group(divisible=True) as group:
        for words in (["--yes"], ["--dry-run"]):
            done = run(tmp_path, "clean", *words, group=group)
            assert (done.returncode, done.stdout) == (0, "Nothing is left of earlier runs.\n")


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "by the cookie alone"])
def test_a_dry_run_shows_what_would_be_ended_and_touches_nothing(tmp_path: Path, contained: bool) -> None:
    with RollCall() as decoys, killed_whole(tmp_path, decoys, contained=contained) as (cell, group):
        before = sorted((tmp_path / "state").rglob("*"))
        found = told(tmp_path, "clean", "--dry-run", group=group)
        told_of = {it["pid"] for each in (*found["groups"], *found["runs"]) for it in each["processes"]}
        assert told_of == daemons(cell) != set()
        assert len(found["runs"]) == 1
        assert len(found["groups"]) == contained
        assert sorted((tmp_path / "state").rglob("*")) == before
        assert len(own_groups(group)) == 2 * contained
        cell.roll.prove_alive("daemon")


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "by the cookie alone"])
def test_yes_ends_what_a_double_kill_left_and_nobody_else(tmp_path: Path, contained: bool) -> None:
    with RollCall() as decoys, killed_whole(tmp_path, decoys, contained=contained) as (cell, group):
        left = daemons(cell)
        shown = run(tmp_path, "clean", "--dry-run", group=group).stdout
        done = run(tmp_path, "clean", "--yes", group=group)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(shown), "it must end exactly what it showed"
        assert "ended 1 process;" in done.stdout
        assert all(f"{pid}  " in shown for pid in left)
        cell.roll.await_dead()
        assert len(list((tmp_path / "state" / "runs").iterdir())) == 1, "the neighbour's"
        assert len(own_groups(group)) == contained


def test_for_a_program_the_report_is_that_of_a_start(tmp_path: Path) -> None:
    with RollCall() as decoys, killed_whole(tmp_path, decoys) as (cell, group):
        left = daemons(cell)
        report = told(tmp_path, "clean", "--yes", group=group)
        assert {it["pid"] for it in report["processes"]} == left
        assert (report["groups"], report["records"], report["problems"]) == (1, 1, [])
        cell.roll.await_dead()


@pytest.mark.parametrize(("answer", "ended"), [("y", True), ("yes", True), ("n", False), ("", False), ("\x04", False)])
def test_at_a_terminal_it_asks_and_does_nothing_unless_told_to(tmp_path: Path, answer: str, ended: bool) -> None:
    with RollCall() as decoys, killed_whole(tmp_path, decoys) as (cell, group):
        master, slave = os.openpty()
        try:
            os.write(master, answer.encode() + (b"" if answer == "\x04" else b"\n"))
            done = run(tmp_path, "clean", group=group, stdin=slave)
        finally:
            os.close(master)
            os.close(slave)
        assert done.returncode == 0
        assert "[y/N]" in done.stdout
        if ended:
            cell.roll.await_dead()
        else:
            cell.roll.prove_alive("daemon")


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_where_nobody_can_be_asked_it_wants_to_be_told(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, "clean", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--dry-run" in done.stderr


def test_a_group_elsewhere_is_found_by_the_record(tmp_path: Path) -> None:
    """The app was in another session, whose control group with scrubbed daemons is not near the terminal's."""
    with (
        control_group(divisible=True) as group,
        control_group(divisible=True) as elsewhere,
        Cell(tmp_path, ("scrubbed",), group=group) as cell,
    ):
        if not cell.contained:
            pytest.skip("no delegated control group here")
        cell.grow()
        cell.strike(*KILLED_WHOLE)
        cell.await_ours_gone()
        done = run(tmp_path, "clean", "--yes", group=elsewhere)
        assert done.returncode == 0
        cell.roll.await_dead()
        assert own_groups(group) == []


def test_recorded_group_is_left_alone_unless_its_guard_is_dead(tmp_path: Path) -> None:
    with control_group(divisible=True) as group, Cell(tmp_path, ("plain",), group=group) as cell:
        cell.grow()
        (name,) = own_groups(group)
        planted = tmp_path / "state" / "runs" / ("c" * 32 + ".json")
        for folder in (f"{group}/{name}", str(group)):
            planted.write_text(
                json.dumps(
                    {"version": 1, "runId": "c" * 32, "bootId": orphans.boot_id(), "owners": [], "group": folder}
                )
            )
            done = run(tmp_path, "clean", "--yes", group=group)
            assert done.returncode == 0
            assert not planted.exists()
            cell.roll.tell("plain", b".")
            cell.roll.prove_alive("plain")


def test_an_unfinished_file_is_removed_once_its_writer_is_dead(tmp_path: Path) -> None:
    state, runs = tmp_path / "state", tmp_path / "state" / "runs"
    runs.mkdir(mode=0o700, parents=True)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as gone:
        gone.wait()
        left = [state / f"ports.{gone.pid}.tmp", runs / f"{'a' * 32}.{gone.pid}.tmp"]
        living = [state / f"ports.{os.getpid()}.tmp", runs / f"{'b' * 32}.{os.getpid()}.tmp"]
        for path in (*left, *living):
            path.write_bytes(b"{")
        with control_group(divisible=True) as group:
            assert told(tmp_path, "clean", "--dry-run", group=group)["drafts"] == list(map(str, left))
            assert run(tmp_path, "clean", "--yes", group=group).returncode == 0
    assert [it for it in sorted(state.rglob("*")) if it.is_file()] == living


def test_only_folders_that_a_dead_runs_services_unpacked_are_removed(tmp_path: Path) -> None:
    """A record may be forged. Only a folder that a bootloader can have made is removed, and only that same folder."""
    runs = tmp_path / "state" / "runs"
    runs.mkdir(mode=0o700, parents=True)
    left, later, precious = (tmp_path / name for name in ("_MEIleft", "_MEIlater", "precious"))
    for folder in (left, later, precious):
        (folder / "lib").mkdir(parents=True)
    link = tmp_path / "_MEIlink"
    link.symlink_to(precious)

    def named(path: Path | str, identity: str | None = None) -> dict[str, str]:
        found = Path(left if identity is None and path == "/" else str(path).replace("\0", "")).lstat()
        return {"path": str(path), "identity": identity or f"{found.st_dev:x}:{found.st_ino:x}"}

    record = {"version": 1, "runId": "c" * 32, "bootId": orphans.boot_id(), "owners": []}
    told_of = [named(left), named(later, "1:1"), named(precious), named(link), named("/"), named(f"{left}\0")]
    planted = runs / ("c" * 32 + ".json")
    planted.write_text(json.dumps({**record, "unpacked": told_of}))
    with control_group(divisible=True) as group:
        found = told(tmp_path, "clean", "--dry-run", group=group)
        assert [it["path"] for it in found["runs"][0]["unpacked"]] == [str(left)]
        assert str(left) in run(tmp_path, "clean", "--dry-run", group=group).stdout
        assert told(tmp_path, "clean", "--yes", group=group)["folders"] == 1
    assert not left.exists()
    assert not planted.exists()
    assert (later / "lib").is_dir()
    assert (precious / "lib").is_dir()
    assert link.is_symlink()


def test_the_record_of_a_folder_that_stays_is_kept_for_the_next_start(tmp_path: Path) -> None:
    runs = tmp_path / "state" / "runs"
    runs.mkdir(mode=0o700, parents=True)
    stuck = tmp_path / "_MEIstuck"
    (stuck / Path(*["deep"] * (unpacked.DEPTH_MOST + 1))).mkdir(parents=True)
    there = [{"path": str(stuck), "identity": unpacked.identify(str(stuck))}]
    record = {"version": 1, "runId": "c" * 32, "bootId": orphans.boot_id(), "owners": [], "unpacked": there}
    planted = runs / ("c" * 32 + ".json")
    planted.write_text(json.dumps(record))
    with control_group(divisible=True) as group:
        done = run(tmp_path, "clean", "--yes", group=group)
        assert done.returncode == 1
        assert (
            f"the folder {stuck}, which a service of an earlier run has unpacked, could not be removed" in done.stdout
        )
        assert planted.exists()
        shutil.rmtree(stuck)
        assert run(tmp_path, "clean", "--yes", group=group).returncode == 0
    assert not planted.exists()


def test_what_could_not_be_removed_is_said_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with control_group(divisible=True) as group:
        done = run(tmp_path, "clean", "--yes", group=group)
    assert done.returncode == 1
    assert "cannot be read" in done.stdout


def test_ctrl_c_at_the_question_ends_it_and_ends_nothing_else(tmp_path: Path) -> None:
    with RollCall() as decoys, killed_whole(tmp_path, decoys) as (cell, group):
        master, slave = os.openpty()
        try:
            asked = subprocess.Popen(
                [*SIDECAR, "clean"],
                cwd=ROOT,
                env={**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")},
                stdin=slave,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=enter(group),  # noqa: PLW1509  safe: the test has only one thread
            )
            with asked:
                assert asked.stdout is not None
                seen = b""
                while b"[y/N]" not in seen:
                    data = os.read(asked.stdout.fileno(), 4096)
                    assert data, seen
                    seen += data
                asked.send_signal(signal.SIGINT)
                assert asked.wait(WAIT_S) == -signal.SIGINT
                assert asked.stderr is not None
                assert b"Traceback" not in asked.stderr.read()
        finally:
            os.close(master)
            os.close(slave)
        cell.roll.prove_alive("daemon")


@pytest.mark.parametrize("divisible", [True, False], ids=["with a control group", "by its record"])
@pytest.mark.parametrize("namespace", [["--pid", "--mount-proc"], ["--time", "--boottime", "100000"]], ids="/".join)
def test_a_run_in_another_namespace_cannot_be_judged_and_is_left_alone(
    tmp_path: Path, divisible: bool, namespace: list[str]
) -> None:
    """Such as a container with a shared home folder. Its pids and start times mean nothing here."""
    if os.geteuid() != 0:
        pytest.skip("only root makes such a namespace everywhere")
    unshare = ["unshare", "--fork", "--kill-child", *namespace]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("such a namespace cannot be made here")
    with control_group(divisible=divisible) as group, Direct(tmp_path, prefix=unshare, group=group) as sidecar:
        services = {"plain": service("plain")}
        sidecar.serve(services)
        sidecar.roll.await_living("plain", 3)
        done = run(tmp_path, "clean", "--yes", group=group)
        assert (done.returncode, done.stdout) == (0, "Nothing is left of earlier runs.\n")
        found = told(tmp_path, "ps")
        assert (found["runs"], found["dead"], found["elsewhere"]) == ([], 0, 1)
        with Cell(tmp_path, ("plain",), group=group) as other:
            other.grow()
            assert other.client.notes("supervisor/swept") == []
        sidecar.roll.tell("plain", b".")
        sidecar.roll.prove_alive("plain")


def test_what_a_sidecar_in_another_namespace_writes_just_now_is_left_to_it(tmp_path: Path) -> None:
    """Its pid 1 belongs to another process here."""
    if os.geteuid() != 0:
        pytest.skip("only root makes such a namespace everywhere")
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("such a namespace cannot be made here")
    script = """
import os, sys
from sidecar.state import run_record
from sidecar.host.linux import orphans, processes
replace = os.replace
def wait(draft, path):
    print(draft, flush=True)
    sys.stdin.read()
    replace(draft, path)
os.replace = wait
os.getpid = lambda: 1 << 22  # one that nobody has here
path = run_record.run_path("e" * 32)
owner = run_record.Identity(os.getpid(), 1)
run_record.write_run(path, run_record.RunRecord(
    run_id="e" * 32, boot_id=orphans.boot_id(), owners=(owner,), pid_namespace=processes.pid_namespace()
))
"""
    runs = tmp_path / "state" / "runs"
    with (
        control_group(divisible=True) as group,
        subprocess.Popen(
            [*unshare, sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        draft = Path(writer.stdout.readline().strip())
        assert draft.parent == runs
        assert told(tmp_path, "clean", "--dry-run", group=group)["drafts"] == []
        assert run(tmp_path, "clean", "--yes", group=group).returncode == 0
        with Cell(tmp_path, ("plain",), group=group) as other:
            other.grow()
            assert other.client.notes("supervisor/swept") == []
        assert draft.exists()
        writer.stdin.close()
        assert writer.wait(WAIT_S) == 0
    assert not draft.exists()
    assert (runs / f"{'e' * 32}.json").exists()
