"""A frozen sidecar adds a bootloader, which can die, and an unpacked folder, which can be left."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults.cell import ALL_TREES, Cell
from tests.faults.direct import Direct
from tests.faults.test_system_surroundings import can
from tests.support.liveness import RollCall, control_group

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP

STRIKES = {
    "SIGKILLed": [("bootloader", KILL)],
    "SIGTERMed": [("bootloader", TERM)],
    "SIGSTOPped, then the app SIGKILLed": [("bootloader", STOP), ("app", KILL)],
    "SIGKILLed with the app": [("app", KILL), ("bootloader", KILL)],
    "SIGKILLed with the supervisor": [("bootloader", KILL), ("supervisor", KILL)],
}
CUT_SHORT = {
    "bootloader and guard": ["bootloader", "guard"],
    "guard and bootloader": ["guard", "bootloader"],
    "app, bootloader and guard": ["app", "bootloader", "guard"],
}
"""Cases in which the guard may be killed during cleanup. Then no process, but a file or empty folder may be left."""

contained = pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "without"])


@contained
@pytest.mark.parametrize("hits", STRIKES.values(), ids=STRIKES)
def test_no_process_and_no_folder_survives_a_bootloader(
    tmp_path: Path, hits: list[tuple[str, int]], contained: bool
) -> None:
    with RollCall() as decoys, Cell(tmp_path, ALL_TREES, contained=contained, decoys=decoys) as cell:
        decoys.await_living("decoy", 2)
        cell.grow()
        assert len(list(cell.unpacked.iterdir())) == 1
        cell.strike(*hits)
        cell.assert_nothing_left()
        decoys.prove_alive("decoy")


@contained
@pytest.mark.parametrize("victims", CUT_SHORT.values(), ids=CUT_SHORT)
def test_no_process_survives_both_and_the_next_start_removes_the_rest(
    tmp_path: Path, victims: list[str], contained: bool
) -> None:
    with Cell(tmp_path, ALL_TREES, contained=contained) as cell:
        cell.grow()
        cell.strike(*((victim, KILL) for victim in victims))
        cell.assert_next_start_removes_the_rest()


def test_once_the_app_is_dead_no_bootloader_has_a_folder_to_remove(tmp_path: Path) -> None:
    """If it were killed during cleanup, it would leave the folder. Here it cannot even begin to clean up."""
    with control_group(divisible=False) as icebox, Cell(tmp_path, ALL_TREES) as cell:
        if icebox is None:
            pytest.skip("a control group cannot be made here")
        cell.grow()
        Path(icebox, "cgroup.procs").write_text(str(cell.pids["bootloader"]))
        Path(icebox, "cgroup.freeze").write_text("1")
        cell.strike(("app", KILL))
        cell.assert_nothing_left()


def test_next_start_removes_the_folder_of_a_sidecar_that_was_killed_whole(tmp_path: Path) -> None:
    with control_group(divisible=True) as group, Cell(tmp_path, ("daemon",), group=group) as cell:
        cell.grow()
        # stop all first, or one that sees another die would begin to clean up
        ours = ["bootloader", "guard", "supervisor"]
        # the guard's death wakes the supervisor
        cell.strike(*((victim, STOP) for victim in ours), *((victim, KILL) for victim in reversed(ours)))
        cell.await_ours_gone()
        assert len(list(cell.unpacked.iterdir())) == 1
        with Cell(tmp_path, (), group=group) as second:
            assert second.client.note("supervisor/swept")["folders"] == 1
            second.order("exit")
            second.assert_nothing_left()


def nobody() -> str:
    """Return a pid that no process or thread has or gets soon, in the form of a bootloader's folder name."""
    child = subprocess.Popen(["true"])
    child.wait()
    return f"{child.pid:08x}"  # pids are given in turn, so the kernel gives all others first


def test_half_unpacked_folders_are_removed_and_those_of_others_are_not(tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    dead = nobody()
    foreign = [
        unpacked / f"_MEI{dead}others",  # another program's
        unpacked / "_MEIoldway",  # an older PyInstaller's, which names no pid
        unpacked / f"_MEI{1:08x}living",  # a living process's
        unpacked / "notours",
    ]
    for folder in foreign:
        folder.mkdir()
        (folder / "precious").write_text("keep me")
    for folder in foreign[1:]:
        (folder / "base_library.zip").touch()
    link = unpacked / f"_MEI{dead}linked"
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "tauri-sidecar.bundle").touch()
    link.symlink_to(target)
    half = unpacked / f"_MEI{dead}halfun"
    half.mkdir()
    (half / "base_library.zip").touch()
    (unpacked / f"_MEI{dead}empty0").mkdir()
    with Cell(tmp_path, ()) as cell:
        assert cell.client.note("supervisor/swept")["folders"] == 2
        cell.order("exit")
        cell.await_ours_gone()
    assert sorted(unpacked.iterdir()) == sorted([*foreign, link])
    assert all((folder / "precious").exists() for folder in foreign)
    assert (target / "tauri-sidecar.bundle").exists()


@pytest.mark.skipif(not can("--pid", "--fork", "--mount-proc"), reason="a pid namespace cannot be made here")
def test_folder_of_a_sidecar_in_a_sandbox_is_left_alone(tmp_path: Path) -> None:
    """Here, the pid in the folder's name is no process's."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    pid = int(nobody(), 16)
    script = f'echo {pid - 1} > /proc/sys/kernel/ns_last_pid; "$@" <&3 & exec 3<&-; wait'
    words = ("sh", "-c", f"exec 3<&0; {script}", "sh", "env", f"TMPDIR={folder}")
    with Direct(tmp_path, prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *words)) as sandboxed:
        sandboxed.client.hello({})
        [unpacked] = folder.iterdir()
        assert unpacked.name.startswith(f"_MEI{pid:08x}")
        files = sorted(unpacked.rglob("*"))
        with Cell(tmp_path, ()) as cell:
            cell.order("exit")
            cell.await_ours_gone()
            assert cell.client.notes("supervisor/swept") == []
        assert sorted(unpacked.rglob("*")) == files
        sandboxed.let_go(sandboxed.stdin)
        sandboxed.exit_code()
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed")
def test_systemd_tidies_up_around_the_folder_of_one_that_runs(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    rule = tmp_path / "all.conf"
    rule.write_text(f"d {folder} - - - 0\n")  # whatever its age
    with Direct(tmp_path) as running:
        running.client.hello({})
        [unpacked] = folder.iterdir()
        files = sorted(unpacked.rglob("*"))
        (folder / "old").touch()
        subprocess.run(["systemd-tmpfiles", "--clean", str(rule)], check=True)
        assert sorted(folder.iterdir()) == [unpacked]
        assert sorted(unpacked.rglob("*")) == files
        running.let_go(running.stdin)
        running.exit_code()
