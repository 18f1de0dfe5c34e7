"""Whichever process dies, and however: no process of a tree or of the sidecar is left, and the port is free."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults.cell import ALL_TREES, Cell
from tests.support.liveness import RollCall, lives

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP

STRIKES = {
    "the app SIGKILLed": [("app", KILL)],
    "the app SIGTERMed": [("app", TERM)],
    "the supervisor SIGKILLed": [("supervisor", KILL)],
    "the guard SIGKILLed": [("guard", KILL)],
    "the supervisor SIGSTOPped, then the app SIGKILLed": [("supervisor", STOP), ("app", KILL)],
    "the guard SIGSTOPped, then the app SIGKILLed": [("guard", STOP), ("app", KILL)],
    "the supervisor SIGSTOPped, then the guard SIGKILLed": [("supervisor", STOP), ("guard", KILL)],
    "app and supervisor SIGKILLed": [("app", KILL), ("supervisor", KILL)],
    "supervisor and app SIGKILLed": [("supervisor", KILL), ("app", KILL)],
    "app and guard SIGKILLed": [("app", KILL), ("guard", KILL)],
    "guard and app SIGKILLed": [("guard", KILL), ("app", KILL)],
}
ORDERS = {"the app exits": "exit", "the app closes stdin": "close"}

contained = pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "without"])


def cell_of(
    folder: Path, trees: tuple[str, ...], *, contained: bool, decoys: RollCall | None = None, apart: bool = True
) -> Cell:
    cell = Cell(folder, trees, contained=contained, decoys=decoys, apart=apart)
    if cell.contained != contained:
        cell.__exit__(None)
        pytest.skip("no delegated control group here")
    return cell


@contained
@pytest.mark.parametrize("hits", STRIKES.values(), ids=STRIKES)
def test_no_process_of_any_tree_survives(tmp_path: Path, hits: list[tuple[str, int]], contained: bool) -> None:
    with RollCall() as decoys, cell_of(tmp_path, ALL_TREES, contained=contained, decoys=decoys) as cell:
        decoys.await_living("decoy", 2)
        cell.grow()
        cell.strike(*hits)
        if hits[0][1] == KILL and {victim for victim, _ in hits} == {"app", "guard"}:
            cell.assert_next_start_removes_the_rest()
        else:
            cell.assert_nothing_left()
        assert cell.app_lives() == all(victim != "app" for victim, _ in hits)
        decoys.prove_alive("decoy")


@contained
@pytest.mark.parametrize("word", ORDERS.values(), ids=ORDERS)
def test_no_tree_survives_when_the_app_exits_or_closes_stdin(tmp_path: Path, word: str, contained: bool) -> None:
    with RollCall() as decoys, cell_of(tmp_path, ALL_TREES, contained=contained, decoys=decoys) as cell:
        decoys.await_living("decoy", 2)
        cell.grow()
        cell.order(word)
        cell.assert_nothing_left()
        assert lives(cell.pidfds["app"]) == (word == "close")
        decoys.prove_alive("decoy")


@pytest.mark.parametrize("kind", ALL_TREES)
@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_no_process_of_a_single_tree_survives(tmp_path: Path, kind: str, victim: str) -> None:
    with cell_of(tmp_path, (kind,), contained=False, apart=False) as cell:
        cell.grow()
        cell.strike((victim, KILL))
        cell.assert_nothing_left()


@pytest.mark.parametrize("turn", range(8))
def test_no_tree_survives_when_the_guard_is_killed_during_cleanup(tmp_path: Path, turn: int) -> None:
    """The guard sees the app's death first, and is killed before it is done. The supervisor must finish."""
    with cell_of(tmp_path, ("plain", "daemon", "wide", "fleeting"), contained=False) as cell:
        cell.grow()
        cell.strike(("app", KILL))
        cell.strike(("guard", KILL))
        cell.assert_next_start_removes_the_rest()
