"""Guard and keeper import nothing once they watch: days later, their files may be gone or replaced."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults import darwin
from tests.faults.cell import ALL_TREES, CHILDREN, ROOT, Cell
from tests.faults.wedge import wedge_or_skip
from tests.host.bsd import skip_without_forks
from tests.support.command import BINARY, SIDECAR

if BINARY:
    pytest.skip("a frozen sidecar ignores PYTHONPATH", allow_module_level=True)

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
STRIKES: dict[str, list[tuple[str, int]]] = {
    "app": [("app", KILL)],
    "supervisor": [("supervisor", KILL)],
    "guard": [("guard", KILL)],
    "stdin": [],
    "supervisor stopped, then app": [("supervisor", STOP), ("app", KILL)],
}
HOSTS = {"in a control group": True, "without": False, "macOS' parts": None}


def sealed(folder: Path, *, contained: bool | None) -> Cell:
    """Return a cell whose guards and keepers record each import; with macOS's code if ``contained`` is ``None``."""
    env = {"PYTHONPATH": f"{CHILDREN / 'sealed'}:{ROOT}", "SEALED": str(folder / "sealed")}
    command: Sequence[str] = SIDECAR
    trees: Sequence[str] = ALL_TREES
    if contained is None:
        skip_without_forks()
        command, trees = darwin.COMMAND, [it for it in ALL_TREES if it != "scrubbed"]  # see test_darwin_death.py
    return Cell(folder, trees, contained=bool(contained), env=env, sidecar=command)


def imports(folder: Path) -> list[str]:
    """Return the names that guards and keepers have tried to import."""
    said = (folder / "sealed").read_text().splitlines()
    assert {"on watch", "keeping"} <= set(said)
    return [it for it in said if it not in {"on watch", "keeping"}]


@pytest.mark.parametrize("contained", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("victim", STRIKES)
def test_what_ends_a_tree_imports_nothing(tmp_path: Path, victim: str, contained: bool | None) -> None:
    with sealed(tmp_path, contained=contained) as cell:
        cell.grow()
        if victim == "stdin":
            cell.order("close")
        else:
            cell.strike(*STRIKES[victim])
        cell.assert_nothing_left()
    assert imports(tmp_path) == []


@pytest.mark.parametrize("contained", HOSTS.values(), ids=HOSTS)
def test_a_keeper_ends_a_tree_without_importing_anything(tmp_path: Path, contained: bool | None) -> None:
    """The guard is killed while the supervisor hangs, so only the keeper can do it."""
    with sealed(tmp_path, contained=contained) as cell:
        cell.grow()
        wedge_or_skip(cell.pids["supervisor"], "interpreter")
        cell.strike(("guard", KILL))
        cell.assert_nothing_left()
    assert imports(tmp_path) == []
