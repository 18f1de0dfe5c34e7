"""Guard and supervisor are killed in the same instant: the next start kills what is left, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.host.linux import orphans, processes
from tests.faults.cell import ALL_TREES, Cell, is_being_written, own_groups, tree
from tests.faults.held import Held
from tests.support.command import Message
from tests.support.liveness import RollCall, control_group, send, state_of
from tests.support.waiting import until

KILL = signal.SIGKILL
BOTH = [("supervisor", KILL), ("guard", KILL)]
ALL = [("app", KILL), *BOTH]
WITH_A_COOKIE = tuple(kind for kind in ALL_TREES if kind != "scrubbed")
"""Without a control group, a daemon that scrubbed its environment cannot be found: see guarantees.md."""

strikes = pytest.mark.parametrize("hits", [BOTH, ALL], ids=["guard and supervisor", "the app, too"])


def runs(folder: Path) -> list[str]:
    """Return the names of the files in the records' folder, without drafts that a living run is writing."""
    return sorted(it.name for it in (folder / "state" / "runs").iterdir() if not is_being_written(it))


def records(folder: Path) -> list[str]:
    """Return the names of the records. A run that is killed while it writes its own leaves a draft beside it."""
    return [it for it in runs(folder) if it.endswith(".json")]


def freeze(cell: Cell) -> None:
    """Stop guard and supervisor, so that neither can react to another death before it is killed itself.

    The guard's death wakes a stopped supervisor, so kill the guard last.
    """
    for name in ("guard", "supervisor"):
        send(cell.pidfds[name], signal.SIGSTOP)
        until(lambda: state_of(cell.pids[name]) == "T", f"the stopped {name}")  # noqa: B023  at once


def swept(cell: Cell) -> Message:
    """Return the sidecar's report of its sweep."""
    return cell.client.note("supervisor/swept")


@strikes
@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "by the cookie alone"])
def test_the_next_start_ends_and_names_what_is_left(
    tmp_path: Path, hits: list[tuple[str, int]], contained: bool
) -> None:
    trees = ALL_TREES if contained else WITH_A_COOKIE
    with (
        control_group(divisible=contained) as group,
        RollCall() as decoys,
        Cell(tmp_path, trees, group=group, decoys=decoys) as cell,
    ):
        if cell.contained != contained:
            pytest.skip("no delegated control group here")
        decoys.await_living("decoy", 2)
        cell.grow()
        lasting = {member.pid for kind in ("daemon", "fleeting") for member in cell.roll.living(kind)} - {
            cell.client.status("daemon")["pid"],
            cell.client.status("fleeting")["pid"],
        }
        freeze(cell)
        cell.strike(*hits)
        cell.await_ours_gone()
        assert len(records(tmp_path)) == 1
        assert len(own_groups(group)) == contained

        with Cell(tmp_path, (), group=group) as second:
            report = swept(second)
            cell.assert_nothing_left_alive()
            assert {it["pid"] for it in report["processes"]} >= lasting
            assert any("trees.py" in it.get("command", "") for it in report["processes"])
            assert report.get("groups", 0) == contained
            assert report.get("problems", []) == []
            assert len(runs(tmp_path)) == 1
            assert len(own_groups(group)) == contained
            decoys.prove_alive("decoy")


def test_a_sidecar_that_lives_keeps_its_trees_when_another_one_starts(tmp_path: Path) -> None:
    with control_group(divisible=True) as group, Cell(tmp_path, ("plain", "daemon"), group=group) as cell:
        cell.grow()
        with Cell(tmp_path, ("plain",), group=group) as second:
            second.grow()
            second.strike(("app", KILL))
            second.await_ours_gone()
            assert second.client.notes("supervisor/swept") == []
        with Cell(tmp_path, ("plain",), group=group) as third:
            third.grow()
            assert third.client.notes("supervisor/swept") == []
        cell.roll.tell("plain", b".")
        cell.roll.prove_alive("plain")
        cell.roll.prove_alive("daemon")


def test_two_that_start_at_once_after_a_death_share_the_sweep(tmp_path: Path) -> None:
    with control_group(divisible=False) as group, Cell(tmp_path, ("daemon", "sessions"), group=group) as cell:
        cell.grow()
        freeze(cell)
        cell.strike(*ALL)
        cell.await_ours_gone()
        with Cell(tmp_path, ("plain",), group=group) as one, Cell(tmp_path, ("plain",), group=group) as other:
            one.grow()
            other.grow()
            cell.roll.await_dead()
            for each in (one, other):
                assert all(not it.get("problems") for it in each.client.notes("supervisor/swept"))


def test_a_run_has_its_record_before_it_sweeps(tmp_path: Path) -> None:
    """A sweep takes seconds if a process cannot be killed, and services do not wait for it without a bound."""
    left = record(tmp_path, "d" * 32)
    with Held(left) as held, Cell(tmp_path, ("plain",)) as cell:
        held.await_opener()
        [own] = set(runs(tmp_path)) - {left.name}
        assert json.loads((left.parent / own).read_text())["owners"] == [
            {"pid": cell.pids[name], "start": start_of(cell.pids[name])} for name in ("guard", "supervisor")
        ]
        held.release()
        cell.grow()
        assert runs(tmp_path) == [own]


def test_next_start_knows_a_run_that_was_killed_while_it_swept(tmp_path: Path) -> None:
    left = record(tmp_path, "d" * 32)
    with control_group(divisible=False) as group:
        with Held(left) as held, Cell(tmp_path, (), group=group) as cell:
            held.await_opener()
            freeze(cell)
            cell.strike(*ALL)
            cell.await_ours_gone()
        with Cell(tmp_path, ("plain",), group=group) as second:
            assert swept(second)["records"] == 2
            second.grow()
            assert len(runs(tmp_path)) == 1


@contextmanager
def stranger(roll: RollCall, name: str, **env: str) -> Iterator[int]:
    """Start a process that the sidecar has not started, whatever its environment says; yield its pid."""
    child = subprocess.Popen(tree("decoy"), env={**os.environ, **roll.env, **env}, stdin=subprocess.DEVNULL)
    try:
        roll.await_member(child.pid, name)
        yield child.pid
    finally:
        child.kill()
        child.wait()


def record(folder: Path, name: str, **fields: object) -> Path:
    """Write a record as an earlier run may have left it."""
    path = folder / "state" / "runs" / f"{name}.json"
    for made in (path.parent.parent, path.parent):
        made.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "runId": name, "bootId": orphans.boot_id(), "owners": [], **fields}))
    return path


def start_of(pid: int) -> int:
    found = processes.read_process(pid)
    assert found is not None
    return found.start


def test_a_reused_pid_in_a_record_is_not_taken_for_its_owner_nor_killed(tmp_path: Path) -> None:
    with RollCall() as roll, stranger(roll, "a stranger") as pid:
        path = record(tmp_path, os.urandom(16).hex(), owners=[{"pid": pid, "start": start_of(pid) - 1}])
        with Cell(tmp_path, ()) as cell:
            report = swept(cell)
            assert report["records"] == 1
            assert report.get("processes", []) == []
            assert not path.exists()
            roll.prove_alive("decoy")


def test_while_an_owner_lives_its_run_is_its_own_business(tmp_path: Path) -> None:
    run_id = os.urandom(16).hex()
    with (
        RollCall() as roll,
        stranger(roll, "an owner") as owner,
        stranger(roll, "one of its run", SIDECAR_RUN_ID=run_id),
    ):
        path = record(tmp_path, run_id, owners=[{"pid": owner, "start": start_of(owner)}])
        with Cell(tmp_path, ("plain",)) as cell:
            cell.grow()  # a service starts only after the sweep
            assert cell.client.notes("supervisor/swept") == []
            assert path.exists()
            roll.prove_alive("decoy")


def test_a_record_of_an_earlier_boot_kills_nobody(tmp_path: Path) -> None:
    run_id = os.urandom(16).hex()
    with RollCall() as roll, stranger(roll, "one with the cookie", SIDECAR_RUN_ID=run_id):
        path = record(tmp_path, run_id, bootId="0" * 36)
        with Cell(tmp_path, ("plain",)) as cell:
            cell.grow()
            assert not path.exists()
            roll.prove_alive("decoy")


def test_what_carries_a_dead_runs_cookie_is_ended(tmp_path: Path) -> None:
    run_id = os.urandom(16).hex()
    with RollCall() as roll, stranger(roll, "one with the cookie", SIDECAR_RUN_ID=run_id) as pid:
        record(tmp_path, run_id, owners=[{"pid": pid, "start": start_of(pid) - 1}])
        with Cell(tmp_path, ()) as cell:
            assert [it["pid"] for it in swept(cell)["processes"]] == [pid]
            roll.await_dead()


def test_a_variable_that_only_ends_like_the_cookie_is_no_mark(tmp_path: Path) -> None:
    run_id = os.urandom(16).hex()
    with RollCall() as roll, stranger(roll, "one that remembers a run", OLD_SIDECAR_RUN_ID=run_id):
        path = record(tmp_path, run_id)
        with Cell(tmp_path, ("plain",)) as cell:
            cell.grow()
            assert not path.exists()
            roll.prove_alive("decoy")


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0" * 40,
        b"{",
        b"[]",
        b'{"version":2}',
        b'{"version":1,"runId":7}',
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
    ids=["empty", "zeros", "cut off", "a list", "of another version", "of wrong types", "no UTF-8"],
)
def test_a_damaged_record_is_put_aside_and_the_others_are_dealt_with(tmp_path: Path, damage: bytes) -> None:
    run_id = os.urandom(16).hex()
    with RollCall() as roll, stranger(roll, "one with the cookie", SIDECAR_RUN_ID=run_id):
        record(tmp_path, run_id)
        bad = record(tmp_path, os.urandom(16).hex())
        bad.write_bytes(damage)
        with Cell(tmp_path, ("plain",)) as cell:
            report = swept(cell)
            assert report["records"] == 1
            assert len(report["problems"]) == 1
            assert bad.with_suffix(".unreadable").read_bytes() == damage
            roll.await_dead()
            cell.grow()


def test_a_folder_in_a_records_place_stops_neither_the_sweep_nor_the_start(tmp_path: Path) -> None:
    run_id = os.urandom(16).hex()
    with RollCall() as roll, stranger(roll, "one with the cookie", SIDECAR_RUN_ID=run_id):
        bad = record(tmp_path, os.urandom(16).hex())
        bad.unlink()
        (bad / "inside").mkdir(parents=True)
        (bad.with_suffix(".unreadable") / "in the way").mkdir(parents=True)
        record(tmp_path, run_id)
        with Cell(tmp_path, ("plain",)) as cell:
            assert len(swept(cell)["problems"]) == 1
            roll.await_dead()
            cell.grow()


def test_a_state_folder_that_cannot_be_made_is_said_and_the_services_run(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with Cell(tmp_path, ("plain",)) as cell:
        assert swept(cell)["problems"]
        cell.grow()
