"""Whoever dies, and however: nothing is left of any tree, nor of ours, and the port is free."""

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
"""Now and then (one time in ten, with seventy programs at once) one that starts another hangs in CreateProcess under
Wine for ever, and its tree is never whole. It must die as any other; the test's subject is then made anew."""

GROW_S = 60.0
"""It takes eight on two busy cores, under Wine."""


class Cell(Direct):
    """The stand-in app with a sidecar and all trees; all of ours are held."""

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
    """One whose trees are whole."""
    for attempt in range(TRIES):
        place = folder / str(attempt)
        place.mkdir()
        cell = Cell(place, *kinds)
        if cell.whole:
            return cell
        with cell:
            cell.ours["app"].kill()
            cell.assert_nothing_left()
    pytest.fail(f"no tree was whole in {TRIES} times")


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
def test_nor_does_any_when_the_app_exits_or_closes_our_stdin(cell: Cell, word: str) -> None:
    cell.client.raw(f"!{word}\n".encode())
    cell.assert_nothing_left()
    assert cell.ours["app"].is_running() == (word == "close")


@pytest.mark.timeout(600)
def test_nor_when_all_of_ours_are_killed_in_a_row(cell: Cell) -> None:
    for process in cell.ours.values():
        process.kill()
    cell.assert_nothing_left()


def test_what_is_not_below_us_lives_on(tmp_path: Path) -> None:
    """A decoy of the same kind, started beside the sidecar."""
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
