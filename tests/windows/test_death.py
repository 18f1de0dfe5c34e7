"""Whichever process dies, and however: no process of a tree or of the sidecar is left, and the port is free."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

import psutil

from tests.support.command import BINARY
from tests.windows.children.tree import SIZES
from tests.windows.support import CHILDREN, PYTHON, UNDER_WINE, Direct, RollCall, await_end, held, tree

TRIES = 5
"""Attempts to get whole trees. Under Wine, with forty programs at once, now and then a program hangs in CreateProcess
for ever, so its tree never gets whole. That tree must die as well; then the test makes a new one."""

GROW_S = 60.0
"""Longest wait for whole trees: far more than they need under Wine on two busy cores."""


class Cell(Direct):
    """The stand-in app with a sidecar and trees. ``ours`` has the app and the sidecar's processes."""

    def __init__(self, folder: Path, *kinds: str) -> None:
        super().__init__(folder, app=True)
        with self._stack as stack:
            launched = self.client.find(lambda it: "launched" in it, "the sidecar's launch")["launched"]
            self.services = {kind: tree(kind) for kind in kinds}
            hello = self.client.hello(self.services)
            self.ours: dict[str, psutil.Process] = {"app": held(self.process.pid), "supervisor": held(hello["pid"])}
            if BINARY:
                self.ours["bootloader"] = held(launched)
            assert hello["guarantees"]["jobObject"]
            assert hello["guarantees"]["parentWatch"] == "handle"
            self.client.start_all(self.services)
            self.whole = all(self.roll.comes_alive(kind, SIZES[kind], GROW_S) for kind in kinds)
            assert self.whole or UNDER_WINE, f"not whole: {self.roll.members}"
            self.port = self.client.status("listener")["port"] if "listener" in kinds else None
            self._stack = stack.pop_all()

    def assert_nothing_left(self) -> None:
        self.roll.await_dead()
        assert not self.whole or self.roll.seen == sum(SIZES[kind] for kind in self.services)
        for name, process in self.ours.items():
            if name != "app":
                await_end(process)
        if self.port is not None:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
                sock.bind(("127.0.0.1", self.port))
                sock.listen()


def grown(folder: Path, *kinds: str) -> Cell:
    """Return a cell whose trees have all their processes."""
    for attempt in range(TRIES):
        place = folder / str(attempt)
        place.mkdir()
        cell = Cell(place, *kinds)
        if cell.whole:
            return cell
        with cell:
            cell.ours["app"].kill()
            cell.assert_nothing_left()
    pytest.fail(f"in {TRIES} attempts the trees never got all their processes")


VICTIMS = ["app", "supervisor", *(["bootloader"] if BINARY else [])]


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with grown(tmp_path, *SIZES) as it:
        yield it


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", VICTIMS)
def test_no_process_of_any_tree_survives(cell: Cell, victim: str) -> None:
    cell.ours[victim].kill()
    cell.assert_nothing_left()
    assert cell.ours["app"].is_running() == (victim != "app")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("word", ["exit", "close"])
def test_no_tree_survives_when_the_app_exits_or_closes_stdin(cell: Cell, word: str) -> None:
    cell.client.raw(f"!{word}\n".encode())
    cell.assert_nothing_left()
    assert cell.ours["app"].is_running() == (word == "close")


@pytest.mark.timeout(600)
def test_no_tree_survives_when_all_our_processes_are_killed_in_a_row(cell: Cell) -> None:
    for process in cell.ours.values():
        process.kill()
    cell.assert_nothing_left()


def test_what_is_not_below_us_lives_on(tmp_path: Path) -> None:
    """The test itself starts a decoy tree beside the sidecar."""
    with RollCall() as decoys, grown(tmp_path, "plain") as cell:
        command = [*PYTHON, str(CHILDREN / "tree.py"), "decoy"]
        with subprocess.Popen(command, env={**os.environ, **decoys.env}) as decoy:
            try:
                decoys.await_living("decoy", 1)
                cell.ours["app"].kill()
                cell.assert_nothing_left()
                decoys.prove_alive("decoy")
            finally:
                decoy.kill()
