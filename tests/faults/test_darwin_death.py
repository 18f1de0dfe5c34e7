"""Run macOS's guard and host on Linux against hostile trees: whichever process dies, no tree survives.

The scrubbed daemon is not among the trees. Whether it is seen in time is a race (sidecar/host/darwin/lineage.py).
tests/host/test_lineage.py tests it step by step, without a race.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds and the process connector are Linux's", allow_module_level=True)

from tests.faults.cell import ALL_TREES, Cell
from tests.faults.darwin import COMMAND as SIDECAR
from tests.faults.wedge import wedge_or_skip
from tests.host.bsd import skip_without_forks
from tests.support.command import BINARY
from tests.support.liveness import RollCall, lives

if BINARY:
    pytest.skip("a frozen sidecar has no emulated kernel", allow_module_level=True)

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP

TREES = tuple(kind for kind in ALL_TREES if kind != "scrubbed")
STRIKES = {
    "the app SIGKILLed": [("app", KILL)],
    "the app SIGTERMed": [("app", TERM)],
    "the supervisor SIGKILLed": [("supervisor", KILL)],
    "the guard SIGKILLed": [("guard", KILL)],
    "the supervisor SIGSTOPped, then the app SIGKILLed": [("supervisor", STOP), ("app", KILL)],
    "the guard SIGSTOPped, then the app SIGKILLed": [("guard", STOP), ("app", KILL)],
    "app and supervisor SIGKILLed": [("app", KILL), ("supervisor", KILL)],
}


@pytest.fixture(autouse=True)
def needs_forks() -> None:
    skip_without_forks()


@pytest.mark.parametrize("hits", STRIKES.values(), ids=STRIKES)
def test_no_process_of_any_tree_survives(tmp_path: Path, hits: list[tuple[str, int]]) -> None:
    with RollCall() as decoys, Cell(tmp_path, TREES, decoys=decoys, sidecar=SIDECAR) as cell:
        decoys.await_living("decoy", 2)
        assert cell.hello["guarantees"]["platform"] == "darwin"
        cell.grow()
        cell.strike(*hits)
        cell.assert_nothing_left()
        assert cell.app_lives() == all(victim != "app" for victim, _ in hits)
        decoys.prove_alive("decoy")


@pytest.mark.parametrize("word", ["exit", "close"])
def test_no_tree_survives_when_the_app_exits_or_closes_stdin(tmp_path: Path, word: str) -> None:
    with RollCall() as decoys, Cell(tmp_path, TREES, decoys=decoys, sidecar=SIDECAR) as cell:
        decoys.await_living("decoy", 2)
        cell.grow()
        cell.order(word)
        cell.assert_nothing_left()
        assert lives(cell.pidfds["app"]) == (word == "close")
        decoys.prove_alive("decoy")


@pytest.mark.parametrize("how", ["loop", "interpreter"])
@pytest.mark.parametrize("victim", ["app", "guard", "supervisor"])
def test_no_tree_survives_a_death_beside_a_wedged_supervisor(tmp_path: Path, how: str, victim: str) -> None:
    with RollCall() as decoys, Cell(tmp_path, TREES, decoys=decoys, sidecar=SIDECAR) as cell:
        decoys.await_living("decoy", 2)
        cell.grow()
        wedge_or_skip(cell.pids["supervisor"], how)
        cell.strike((victim, KILL))
        cell.assert_nothing_left()
        decoys.prove_alive("decoy")


def test_no_tree_survives_closed_stdin_beside_a_wedged_loop(tmp_path: Path) -> None:
    with Cell(tmp_path, TREES, sidecar=SIDECAR) as cell:
        cell.grow()
        wedge_or_skip(cell.pids["supervisor"], "loop")
        cell.order("close")
        cell.assert_nothing_left()
        assert cell.app_lives()


@pytest.mark.parametrize("kind", ["daemon", "fleeting", "sessions", "stopped", "storm"])
@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_no_process_of_a_single_tree_survives(tmp_path: Path, kind: str, victim: str) -> None:
    with Cell(tmp_path, (kind,), sidecar=SIDECAR) as cell:
        cell.grow()
        cell.strike((victim, KILL))
        cell.assert_nothing_left()


def test_the_next_start_ends_what_a_double_kill_left(
    tmp_path: Path,
) -> None:
    with Cell(tmp_path, TREES, sidecar=SIDECAR) as cell:
        cell.grow()
        cell.strike(("guard", KILL), ("supervisor", KILL))
        cell.await_ours_gone()
        with Cell(tmp_path, ("plain",), group=cell.group, sidecar=SIDECAR) as second:
            second.grow()  # a service starts only after the sweep
            swept = second.client.find(lambda it: it.get("method") == "supervisor/swept", "what was left")["params"]
            assert swept["records"] == 1
            assert swept["problems"] == []
            cell.roll.await_dead()
            second.order("exit")
            second.assert_nothing_left()


def test_a_start_beside_a_living_one_ends_nothing_of_it(tmp_path: Path) -> None:
    with Cell(tmp_path, ("plain", "daemon"), sidecar=SIDECAR) as cell:
        cell.grow()
        with Cell(tmp_path, ("plain",), group=cell.group, sidecar=SIDECAR) as second:
            second.grow()
            cell.roll.prove_alive("plain")
            cell.roll.prove_alive("daemon")
            second.order("exit")
            second.await_ours_gone()
        cell.order("exit")
        cell.assert_nothing_left()


def test_a_damaged_record_is_put_aside_once_and_the_start_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "runs"
    folder.mkdir(parents=True)
    (folder / "damaged.json").write_text("{", encoding="utf-8")
    told = []
    for _ in range(2):
        with Cell(
            tmp_path, ("plain",), sidecar=SIDECAR, beside=frozenset({str(folder / "damaged.unreadable")})
        ) as cell:
            cell.grow()
            told += [it["problems"] for it in cell.client.notes("supervisor/swept")]
            cell.order("exit")
            cell.assert_nothing_left()
    assert len(told) == 1
    assert "it was put aside" in told[0][0]
    assert (folder / "damaged.unreadable").read_text(encoding="utf-8") == "{"
