"""The binary is replaced, removed or moved while it runs: days later it still does all of its work."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds and control groups", allow_module_level=True)

from tests.faults.cell import ALL_TREES, Cell
from tests.faults.direct import Direct, program
from tests.support.command import SIDECAR
from tests.support.ports import free_port
from tests.support.waiting import until

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
VICTIMS = {
    "app": [("app", KILL)],
    "supervisor": [("supervisor", KILL)],
    "guard": [("guard", KILL)],
    "bootloader": [("bootloader", KILL)],
    "guard stopped, then app": [("guard", STOP), ("app", KILL)],
    "supervisor stopped, then app": [("supervisor", STOP), ("app", KILL)],
}


def replace(binary: Path) -> None:
    """As an updater does: another file under the same name, by one rename."""
    fresh = binary.with_name("fresh")
    fresh.write_bytes(b"\0" * binary.stat().st_size)
    fresh.replace(binary)


def move(binary: Path) -> None:
    """As a user does to an app of macOS."""
    binary.rename(binary.with_name("moved"))


GONE = {"replaced": replace, "removed": Path.unlink, "moved": move}


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    folder = tmp_path / "installed"
    folder.mkdir()
    return Path(shutil.copy2(SIDECAR[0], folder / "sidecar"))


@pytest.mark.parametrize("hits", VICTIMS.values(), ids=VICTIMS)
def test_every_death_still_ends_the_tree_after_the_binary_was_replaced(
    tmp_path: Path, binary: Path, hits: list[tuple[str, int]]
) -> None:
    with Cell(tmp_path, ALL_TREES, sidecar=[str(binary)]) as cell:
        cell.grow()
        replace(binary)
        cell.strike(*hits)
        cell.assert_nothing_left()


@pytest.mark.parametrize("become", GONE.values(), ids=GONE)
def test_a_supervisor_goes_on_serving_without_its_binary(
    tmp_path: Path, binary: Path, become: Callable[[Path], None]
) -> None:
    """What is first wanted then: a port's holder, a health check, a pattern, an origin, a program that is missing."""
    port = free_port()
    busy = program("listen:127.0.0.1={port}", "hold", port={"preferred": port, "sticky": False})
    services = {
        "first": program("hold"),
        "busy": {**busy, "ready": {"type": "http", "path": "/"}, "readyTimeoutMs": 300},
        "log": program("print:hello", "hold", ready={"type": "log", "pattern": "^h"}),
        "missing": {"type": "command", "command": ["there-is-no-such-program"]},
    }
    with Direct(tmp_path, "--log-level", "debug", sidecar=[str(binary)]) as it:
        it.client.hello(services)
        it.client.call("start", service="first")
        until(lambda: "no module is loaded" in it.stderr.read_text(), "the end of all loading")
        become(binary)
        it.client.call("start", service="log")
        assert it.client.call("checkOrigin", origin=f"http://127.0.0.1:{port}")["owner"] == "nobody"
        for name in ("busy", "missing"):
            it.client.send("start", service=name)
            it.client.note("service/state", service=name, state="failed")
        it.client.call("restart", service="first")
        it.client.call("shutdown")
        assert it.exit_code() == 0
        assert "Traceback" not in it.stderr.read_text()
    assert os.listdir(tmp_path / "unpacked") == []
