"""Find and remove the folders that one-file programs have unpacked, and never any other folder."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("links and users", allow_module_level=True)

from sidecar.host import one_file, unpacked
from sidecar.host.darwin import lineage
from sidecar.host.darwin.lineage import Process
from sidecar.host.one_file import VARIABLES, OneFilePrograms
from sidecar.host.posix.lifeline import order_of_unpacked, path_of
from sidecar.state.run_record import Identity, ServiceRecord, UnpackedFolder
from tests.support.waiting import WAIT_S

NO_USER = 54_321
PROGRAM = Identity(10, 1)
READY = {"api": ServiceRecord(state="ready", process=PROGRAM)}
STOPPED = {"api": ServiceRecord(state="stopped")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder as a bootloader does."""
    folder = tmp_path / "_MEI0000000aabcdef"
    (folder / "lib" / "deep").mkdir(parents=True)
    (folder / "lib" / "deep" / "library.so").touch()
    (folder / "lib" / "link").symlink_to("deep")
    (folder / "program").touch()
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").touch()
    return folder


def identified(folder: Path) -> str:
    identity = unpacked.identify(str(folder))
    assert identity is not None
    return identity


# ── recognise and remove a folder ─────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_goes_with_all_that_is_in_it(folder: Path, precious: Path) -> None:
    (folder / "lib" / "leads out").symlink_to(precious)
    assert unpacked.remove(str(folder), identified(folder))
    assert not folder.exists()
    assert (precious / "file").exists()


def test_a_folder_with_very_many_files_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "ENTRIES_AT_ONCE", 3)
    for number in range(20):
        (folder / f"file{number}").touch()
    assert unpacked.remove(str(folder), identified(folder))
    assert not folder.exists()


def hostile(tmp_path: Path, precious: Path) -> dict[str, str]:
    link = tmp_path / "_MEIlink"
    link.symlink_to(precious)
    (precious / "_MEI").mkdir()
    file = tmp_path / "_MEIfile"
    file.touch()
    long = tmp_path / ("long" * 60) / ("long" * 60) / "_MEIlong"
    long.mkdir(parents=True)
    return {
        "root": "/",
        "nothing": "",
        "prefix alone, relative": "_MEI",
        "link": str(link),
        "through a link": f"{link}/../_MEI",
        "file": str(file),
        "not called so": str(precious),
        "parent": f"{precious}/_MEI/..",
        "slash at the end": f"{precious}/_MEI/",
        "gone": str(tmp_path / "_MEIgone"),
        "NUL": f"{precious}/_MEI\0",
        "no text": f"{precious}/_MEI\udcff",
        "long": str(long),
    }


def test_what_no_bootloader_of_this_user_has_made_is_never_removed(tmp_path: Path, precious: Path) -> None:
    paths = hostile(tmp_path, precious)
    before = sorted(tmp_path.rglob("*"))
    assert {name: unpacked.identify(path) for name, path in paths.items()} == dict.fromkeys(paths)
    found = os.lstat(precious)
    for path in paths.values():
        unpacked.remove(path, f"{found.st_dev:x}:{found.st_ino:x}")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_never_removed(folder: Path) -> None:
    identity = identified(folder)
    os.chown(folder, NO_USER, NO_USER)
    assert unpacked.identify(str(folder)) is None
    unpacked.remove(str(folder), identity)
    assert (folder / "program").exists()


def test_a_later_folder_of_that_name_is_left_alone(folder: Path) -> None:
    identity = identified(folder)
    folder.rename(folder.with_name("_MEIelsewhere"))
    folder.mkdir()
    (folder / "precious").touch()
    assert unpacked.remove(str(folder), identity), "the recorded folder no longer has this name"
    assert (folder / "precious").exists()


@pytest.mark.parametrize("bound", ["REMOVE_BOUND_S", "DEPTH_MOST"])
def test_a_removal_has_an_end(folder: Path, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, bound, 0)
    assert not unpacked.remove(str(folder), identified(folder))
    assert (folder / "program").exists()


def test_two_removers_do_not_hinder_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def removed_meanwhile(path: str) -> os.stat_result:
        if Path(path).name == "program":
            os.unlink(path)
        return real(path)

    identity = identified(folder)
    monkeypatch.setattr(os, "lstat", removed_meanwhile)
    monkeypatch.setattr(unpacked, "ENTRIES_AT_ONCE", 1)
    assert unpacked.remove(str(folder), identity)


def test_a_file_that_a_dying_process_holds_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to delete a file that a process still holds open."""
    real = os.unlink
    refused: list[str] = []

    def held(path: str) -> None:
        if len(refused) < 3:
            refused.append(path)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        real(path)

    monkeypatch.setattr(unpacked, "RELEASE_S", WAIT_S)
    monkeypatch.setattr(unpacked, "ENTRIES_AT_ONCE", 1)
    monkeypatch.setattr(os, "unlink", held)
    assert unpacked.remove(str(folder), identified(folder))


def test_a_disk_that_does_not_tell_may_still_have_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = identified(folder)

    def stale(path: str) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    monkeypatch.setattr(os, "lstat", stale)
    assert unpacked.is_there(str(folder), identity)
    assert not unpacked.remove(str(folder), identity)


def test_an_odd_temporary_folder_is_as_good_as_any(folder: Path) -> None:
    assert unpacked.identify(f"{folder.parent}//./{folder.name}") == identified(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_may_not_be_removed_is_told_by_the_answer(folder: Path) -> None:
    (folder / "lib").chmod(0o500)
    try:
        assert not unpacked.remove(str(folder), identified(folder))
    finally:
        (folder / "lib").chmod(0o700)


def test_an_order_to_the_guard_brings_any_path(folder: Path) -> None:
    path = f"{folder} with\na line feed"
    order, identity, value = order_of_unpacked(path, "801:1f").split(b" ", 2)
    assert (order, identity, path_of(value)) == (b"unpacked", b"801:1f", path)


# ── find the folders ──────────────────────────────────────────────────────────────────────────────────────────────────


def below(root: int, parents: Mapping[int, int]) -> list[int]:
    processes = {pid: Process(pid, pid, forker=0, ppid=ppid, sid=pid) for pid, ppid in parents.items()}
    return lineage.below(root, processes)


class Table:
    """A fake process table: each pid's parent and environment variables."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.parents = {10: 1, 11: 10, 12: 11, 20: 1}
        self.variables: dict[int, dict[str, str]] = {12: variables or {VARIABLES[0]: str(folder)}}
        self.identities = {10: PROGRAM}
        self.told: list[UnpackedFolder] = []
        self.gone: list[UnpackedFolder] = []
        self.looks = 0
        self.blind = False

    def below(self, pids: Sequence[int]) -> dict[int, list[int]]:
        self.looks += 1
        if self.blind:
            raise OSError(24, "Too many open files")
        return {pid: below(pid, self.parents) for pid in pids}

    def variable(self, pid: int, name: str) -> str | None:
        return self.variables.get(pid, {}).get(name)

    def programs(self) -> OneFilePrograms:
        return OneFilePrograms(self.below, self.variable, self.identities.get, self.told.append, self.gone.append)


def test_descendants_are_the_processs_own_and_the_nearest_come_first() -> None:
    assert below(10, {10: 1, 12: 11, 11: 10, 20: 1, 21: 20}) == [11, 12]
    assert below(10, {10: 12, 12: 11, 11: 10}) == [11, 12], "a cycle of parents must end"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_folder_is_known_while_its_program_runs_and_goes_with_it(folder: Path, name: str) -> None:
    table = Table(folder, **{name: str(folder)})
    programs = table.programs()
    there = UnpackedFolder(str(folder), identified(folder))
    found, wait_s = programs.tend(READY, looking=True)
    assert found == (there,)
    assert wait_s is not None, "the tree may unpack more folders"
    assert programs.tend(READY, looking=True)[0] == (there,)
    assert table.told == [there], "once"
    assert programs.tend(STOPPED, looking=True) == ((), None)
    assert not folder.exists()
    assert table.gone == [there]


def test_a_folder_is_found_in_any_state_after_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(folder)
    programs = table.programs()
    starting = {"api": ServiceRecord(state="starting", process=PROGRAM)}
    assert programs.tend(starting, looking=True)[0] == ()
    monkeypatch.setattr(one_file, "LOOK_AFTER_S", (0.0, *one_file.LOOK_AFTER_S))
    assert len(programs.tend(starting, looking=True)[0]) == 1


def test_there_is_an_end_to_the_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(folder)
    monkeypatch.setattr(one_file, "LOOK_AFTER_S", (0.0, 0.0))
    programs = table.programs()
    assert programs.tend(READY, looking=True)[1] is None
    programs.tend(READY, looking=True)
    assert table.looks == 1


def test_a_look_at_several_services_asks_the_system_once(folder: Path) -> None:
    table = Table(folder)
    other = Identity(20, 1)
    table.identities[20] = other
    ready = {**READY, "web": ServiceRecord(state="ready", process=other)}
    assert len(table.programs().tend(ready, looking=True)[0]) == 1
    assert table.looks == 1


def test_a_look_that_fails_at_readiness_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(folder)
    programs = table.programs()
    table.blind = True
    assert programs.tend(READY, looking=True)[0] == ()
    table.blind = False
    assert len(programs.tend(READY, looking=True)[0]) == 1


def test_a_service_that_is_ready_before_it_has_unpacked_is_looked_at_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness proves nothing: it may come from a delay, or the one-file program may start later."""
    table = Table(folder)
    programs = table.programs()
    late, table.variables = table.variables, {}
    ready = {"api": ServiceRecord(state="ready", port=8000, process=PROGRAM)}
    found, wait_s = programs.tend(ready, looking=True)
    assert found == ()
    assert wait_s is not None
    table.variables = late
    monkeypatch.setattr(one_file, "LOOK_AFTER_S", (0.0, *one_file.LOOK_AFTER_S))
    assert len(programs.tend(ready, looking=True)[0]) == 1


def test_at_the_end_nothing_is_looked_at_and_what_is_left_goes(folder: Path) -> None:
    table = Table(folder)
    programs = table.programs()
    programs.tend(READY, looking=True)
    table.looks = 0
    assert programs.tend({}, looking=False)[0] == ()
    assert table.looks == 0
    assert not folder.exists()


def test_a_folder_that_was_passed_on_to_us_is_another_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[0], str(folder))
    programs = Table(folder).programs()
    assert programs.tend(READY, looking=True)[0] == ()
    programs.tend(STOPPED, looking=True)
    assert folder.is_dir()


def spoiled(table: Table) -> None:
    table.identities[10] = Identity(10, 2)


def gone(table: Table) -> None:
    del table.identities[10]


def blind(table: Table) -> None:
    table.blind = True


@pytest.mark.parametrize("how", [spoiled, gone, blind])
def test_what_cannot_be_said_for_sure_is_not_a_folder_of_ours(folder: Path, how: Callable[[Table], None]) -> None:
    table = Table(folder)
    how(table)
    programs = table.programs()
    assert programs.tend(READY, looking=True)[0] == ()
    programs.tend(STOPPED, looking=True)
    assert folder.is_dir()


def test_hostile_values_are_found_and_left_alone(tmp_path: Path, precious: Path) -> None:
    paths = hostile(tmp_path, precious)
    table = Table(precious)
    table.parents |= dict.fromkeys(range(100, 100 + len(paths)), 10)
    table.variables |= {100 + number: {VARIABLES[0]: path} for number, path in enumerate(paths.values())}
    before = sorted(tmp_path.rglob("*"))
    programs = table.programs()
    assert programs.tend(READY, looking=True)[0] == ()
    programs.tend({}, looking=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_that_cannot_be_removed_stays_in_the_record_and_is_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = Table(folder).programs()
    programs.tend(READY, looking=True)
    monkeypatch.setattr(unpacked, "REMOVE_BOUND_S", 0)
    for _ in range(2):
        assert [it.path for it in programs.tend(STOPPED, looking=True)[0]] == [str(folder)]
    assert capfd.readouterr().err.count("could not be removed; we try again when we end") == 1
