"""A PyInstaller one-file program as a service: after a kill its unpacked folder is removed, and no other folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds and control groups", allow_module_level=True)

import signal

from sidecar.host.posix import keeper
from sidecar.host.posix.lifeline import order_of_unpacked
from tests.faults.cell import CHILDREN, Cell
from tests.faults.darwin import COMMAND as MACOS
from tests.faults.wedge import wedge_or_skip
from tests.host.bsd import skip_without_forks
from tests.support.command import BINARY, SIDECAR, Message
from tests.support.waiting import until

KILL, STOP = signal.SIGKILL, signal.SIGSTOP


def one_file(*words: str) -> Message:
    """Return a service that unpacks itself, and gets killed soon after a stop."""
    command = [sys.executable, "-I", "-S", str(CHILDREN / "one_file.py"), *words]
    ready = {"type": "log", "pattern": "unpacked into"}
    return {"type": "command", "command": command, "ready": ready, "stop": {"timeoutMs": 100}}


def start(cell: Cell) -> Path:
    """Start the service; return its unpacked folder."""
    cell.client.start_all(cell.services)
    [line] = cell.client.note("service/log", service="api")["lines"]
    folder = Path(str(line).removeprefix("unpacked into "))
    assert folder.is_dir()
    return folder


def await_known(cell: Cell, folder: Path) -> None:
    """Wait until the supervisor has recorded the folder."""
    [record] = (cell.state / "runs").glob("*.json")
    until(lambda: [it["path"] for it in json.loads(record.read_bytes())["unpacked"]] == [str(folder)], "the record")


def bystander(cell: Cell) -> Path:
    """Make the unpacked folder of another program, with a file in it."""
    folder = cell.unpacked / "_MEIbystander"
    folder.mkdir()
    (folder / "precious").touch()
    return folder


def next_start(cell: Cell, sidecar: Sequence[str] = SIDECAR) -> None:
    """Start another sidecar, whose sweep removes what is left, and end it."""
    with Cell(cell.state.parent, ("plain",), group=cell.group, sidecar=sidecar) as second:
        second.grow().order("exit")  # a service starts only after the sweep
        second.await_ours_gone()


def assert_gone(cell: Cell, folder: Path, bystander: Path) -> None:
    """Wait until the folder, and then the run's record, is gone. Assert that the bystander's folder is not."""
    until(lambda: not folder.exists(), "the end of the folder")
    until(lambda: not list((cell.state / "runs").glob("*.json")), "the end of the record")
    assert (bystander / "precious").exists()


@pytest.mark.parametrize("system", ["Linux", "Linux, in a control group", "macOS' parts"])
@pytest.mark.parametrize("victims", [("app",), ("supervisor",), ("app", "supervisor"), ("guard",), ("guard", "app")])
def test_the_unpacked_folder_of_a_killed_service_goes(tmp_path: Path, victims: tuple[str, ...], system: str) -> None:
    if system == "macOS' parts":
        if BINARY:
            pytest.skip("a frozen sidecar has no emulated kernel")
        skip_without_forks()
    sidecar = MACOS if system == "macOS' parts" else SIDECAR
    contained = system.endswith("group")
    with Cell(tmp_path, (), services={"api": one_file()}, contained=contained, sidecar=sidecar) as cell:
        folder, other = start(cell), bystander(cell)
        await_known(cell, folder)
        cell.strike(*((victim, KILL) for victim in victims))
        cell.assert_nothing_left_alive()
        if "guard" in victims:
            next_start(cell, sidecar)  # on a busy machine the supervisor's one second may be too short
        assert_gone(cell, folder, other)


def test_it_goes_where_the_keeper_ends_the_tree(tmp_path: Path) -> None:
    with Cell(tmp_path, (), services={"api": one_file()}) as cell:
        folder, other = start(cell), bystander(cell)
        await_known(cell, folder)
        wedge_or_skip(cell.pids["supervisor"], "interpreter")
        cell.strike(("guard", KILL))
        cell.assert_nothing_left_alive()
        assert_gone(cell, folder, other)


def test_it_goes_at_the_next_start_where_all_of_ours_were_killed_at_once(tmp_path: Path) -> None:
    ours = ("guard", "supervisor", "keeper")
    with Cell(tmp_path, (), services={"api": one_file()}, contained=True) as cell:
        folder, other = start(cell), bystander(cell)
        await_known(cell, folder)
        # the guard last: its death would wake the others
        cell.strike(*((victim, STOP) for victim in ours), *((victim, KILL) for victim in reversed(ours)))
        cell.await_ours_gone()
        assert folder.is_dir()
        with Cell(tmp_path, (), group=cell.group) as second:
            assert second.client.note("supervisor/swept")["folders"] == 1
            assert not folder.exists()
            second.order("exit")
            second.await_ours_gone()
        assert (other / "precious").exists()


def test_it_goes_when_the_service_is_stopped_by_force_and_the_run_lives_on(tmp_path: Path) -> None:
    with Cell(tmp_path, (), services={"api": one_file()}) as cell:
        folder, other = start(cell), bystander(cell)
        await_known(cell, folder)
        cell.client.send("stop", service="api")
        until(lambda: not folder.exists(), "the end of the folder")
        assert (other / "precious").exists()
        assert cell.client.status("api")["state"] == "stopped"
        cell.order("exit")
        cell.assert_nothing_left_alive()


@pytest.mark.parametrize("told", ["/", "link", "other", "up", "relative"])
def test_what_is_no_unpacked_folder_stays(told: str, tmp_path: Path) -> None:
    """The sidecar's own unpacked folder stays as well: the child is not told of it."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    link = tmp_path / "_MEIlink"
    link.symlink_to(precious)
    (precious / "_MEI").mkdir()
    paths = {"/": "/", "link": str(link), "other": str(precious), "up": f"{precious}/_MEI/..", "relative": "_MEI"}
    with Cell(tmp_path, (), services={"api": one_file(paths[told]), "real": one_file()}) as cell:
        cell.client.start_all(cell.services)
        [record] = (cell.state / "runs").glob("*.json")
        until(lambda: json.loads(record.read_bytes())["unpacked"], "the record of the real folder")
        cell.strike(("app", KILL))
        cell.assert_nothing_left_alive()
        until(lambda: len(list(cell.unpacked.glob("_MEI*"))) == 1, "the end of the recorded folder")
    assert link.is_symlink()
    assert (precious / "file").exists()


def test_the_guard_and_later_keepers_forget_a_removed_folder() -> None:
    """Else they would collect one for each restart of the service."""
    guard = keeper.Kept(supervisor=1, lifeline=-1, orders=-1)
    for number in range(3):
        guard._take_order(order_of_unpacked("/tmp/_MEI", f"801:{number}"))
    for number in range(2):
        guard._take_order(order_of_unpacked("/tmp/_MEI", f"801:{number}", there=False))
    assert list(guard._unpacked.values()) == [("/tmp/_MEI", "801:2")]
    assert guard._passed_on == [order_of_unpacked("/tmp/_MEI", "801:2")]
