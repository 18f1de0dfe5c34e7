"""A cleaner removed the unpacked folder, and another user made it again: the sidecar loads nothing from it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("users, /proc and the loader of Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("needs root to act as another user", allow_module_level=True)

from sidecar.host.linux import processes
from tests.e2e.support import copy_example, missing, vite
from tests.faults.cell import ALL_TREES, Cell
from tests.faults.direct import Direct, program
from tests.support.liveness import LIFE_S
from tests.support.ports import free_port
from tests.support.waiting import until

THIEF = 54_321
"""A user without a passwd entry. To look up the name, the C library loads all its NSS libraries."""

TELL_TALE = "from pathlib import Path; Path({note!r}, {name!r}).touch()"

ADDED = ("libnss_systemd.so.2", "libnss_db.so.2", "libnss_sss.so.2", "libgcc_s.so.1", "libidn2.so.0")
"""Libraries that the C library itself loads when it first needs them."""


def as_thief() -> None:
    os.setgid(THIEF)
    os.setuid(THIEF)


@contextmanager
def listener(port: int) -> Iterator[int]:
    """Let the thief listen on a port; return the pid."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            as_thief()
            with socket.socket() as server:
                server.bind(("127.0.0.1", port))
                server.listen()
                signal.alarm(LIFE_S)
                os.write(tell, b".")
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(told, 1) == b"."
        yield child
    finally:
        os.close(told)
        os.kill(child, signal.SIGKILL)  # not reaped yet, so the pid is not reused
        os.waitpid(child, 0)


def plant(folder: Path, note: Path) -> set[int]:
    """Make the folder again as another user, with its old files and more; return their inodes.

    /proc/PID/maps shows the inodes of loaded libraries. Everything else leaves a note when it is loaded.
    """
    kept = folder.with_name("kept")
    shutil.move(folder, kept)
    note.mkdir()
    note.chmod(0o777)
    names = [path.relative_to(kept) for path in kept.rglob("*") if path.is_file()]
    library = next(path for path in kept.rglob("libz.so*"))

    def steal() -> None:
        for name in (*names, *map(Path, ADDED)):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if name.suffix == ".cjs":
                place.write_text(f"require('fs').writeFileSync({str(note / 'node')!r}, '')")
            elif name.suffix == ".zip":
                place.write_bytes(b"")
            else:
                shutil.copyfile(library if str(name) in ADDED else kept / name, place)
        for module in sys.stdlib_module_names | {"typing_extensions", "psutil/_psutil_linux"}:
            place = folder / f"{module}.py"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(TELL_TALE.format(note=str(note), name=module.replace("/", ".")))

    for parent in (kept, note):
        for path in (parent, *parent.rglob("*")):
            path.chmod(0o777)
    child = os.fork()
    if child == 0:
        try:
            as_thief()
            steal()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert folder.stat().st_uid == THIEF
    return {path.stat().st_ino for path in folder.rglob("*")}


def loaded(pid: int) -> set[int]:
    """Return the inodes of all files that a process has mapped."""
    return {int(line.split()[4]) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()}


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that the thief can reach. pytest makes the parents of ``tmp_path`` private."""
    with tempfile.TemporaryDirectory(prefix="sidecar-purged-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_nothing_is_loaded_from_a_folder_that_another_user_made_again(reachable: Path) -> None:
    """Looking up a port's holder and its user, a health check, a pattern and Vite could all import late."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    note, port = reachable / "note", free_port()
    web = vite(copy_example(reachable / "project"))
    busy = program("listen:127.0.0.1={port}", "hold", port={"preferred": port, "sticky": False})
    services = {"web": web, "busy": busy, "log": program("print:hello", "hold", ready={"type": "log", "pattern": "^h"})}
    with Direct(reachable, "--log-level", "debug") as it:
        unpacked = reachable / "unpacked"
        unpacked.chmod(0o1777)
        supervisor = it.client.hello(services)["pid"]
        read = processes.read_process(supervisor)
        assert read is not None
        it.client.call("start", service="web")
        until(lambda: "no module is loaded" in it.stderr.read_text(), "the end of all loading")
        [folder] = unpacked.iterdir()
        stolen = plant(folder, note)
        with listener(port) as thief:
            it.client.call("restart", service="web")
            it.client.call("start", service="busy")
            ready = it.client.note("service/portChanged", service="busy")
            assert (ready["holder"]["user"], ready["holder"]["pid"]) == (str(THIEF), thief)
            assert ready["holder"]["command"]
            it.client.call("start", service="log")
        node = Path(f"/proc/{it.client.status('web')['pid']}/cmdline").read_bytes().split(b"\0")
        assert node[1:3] == [b"--require", os.fsencode(reachable / "state" / "stdin_guard.cjs")]
        assert sorted(os.listdir(note)) == []
        for pid in (supervisor, read.ppid):
            assert loaded(pid) & stolen == set()
        it.client.call("shutdown")
        assert it.exit_code() == 0
        assert sorted(os.listdir(note)) == []


VICTIMS = {
    "app": [("app", signal.SIGKILL)],
    "supervisor": [("supervisor", signal.SIGKILL)],
    "guard": [("guard", signal.SIGKILL)],
    "bootloader": [("bootloader", signal.SIGKILL)],
    "supervisor stopped, then app": [("supervisor", signal.SIGSTOP), ("app", signal.SIGKILL)],
}


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "without"])
@pytest.mark.parametrize("hits", VICTIMS.values(), ids=VICTIMS)
def test_every_death_ends_the_tree_after_the_unpacked_folder_was_removed(
    tmp_path: Path, hits: list[tuple[str, int]], contained: bool
) -> None:
    with Cell(tmp_path, ALL_TREES, contained=contained) as cell:
        cell.grow()
        [folder] = cell.unpacked.iterdir()
        shutil.rmtree(folder)
        cell.strike(*hits)
        cell.assert_nothing_left()
