"""A process in uninterruptible sleep: it delays a stop or the sidecar's end only for a bounded time, and is named."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("FUSE file systems, fuse(4)", allow_module_level=True)

from tests.children.odd import SIZES as ODD
from tests.children.trees import SIZES
from tests.faults.cell import CHILDREN, Cell, service
from tests.faults.direct import Direct
from tests.faults.test_sweep import BOTH, freeze
from tests.support.command import Message, Refused
from tests.support.liveness import state_of
from tests.support.waiting import until

FUSE = "/dev/fuse"
REQUEST = struct.Struct("=IIQ")
"""The start of struct fuse_in_header: length, opcode, unique id (linux/fuse.h)."""
WELCOME = struct.Struct("=4I2H2I2H8I")
"""struct fuse_init_out: protocol version, then limits."""
LARGEST = 1 << 17


class Abyss:
    """A FUSE file system that reads requests and never answers. Its callers sleep, and no signal wakes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._fd = os.open(FUSE, os.O_RDWR)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0"
        mount = ["mount", "-i", "-t", "fuse", "abyss", str(folder), "-o", options]
        done = subprocess.run(mount, pass_fds=[self._fd], capture_output=True, text=True, check=False)
        if done.returncode:
            os.close(self._fd)
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        number = self._take()
        answer = WELCOME.pack(7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
        os.write(self._fd, struct.pack("=IiQ", 16 + len(answer), 0, number) + answer)

    def _take(self) -> int:
        _, _, number = REQUEST.unpack_from(os.read(self._fd, LARGEST))
        return int(number)

    def await_victim(self) -> None:
        """Wait for a request. From then on its caller cannot be killed."""
        self._take()

    def close(self) -> None:
        """Unmount. That wakes the sleeping callers, and they die."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def abyss(tmp_path: Path) -> Iterator[Abyss]:
    if os.geteuid() != 0 or not os.path.exists(FUSE) or shutil.which("mount") is None:
        pytest.skip("mounting needs root and /dev/fuse")
    it = Abyss(tmp_path / "abyss")
    try:
        yield it
    finally:
        it.close()


def sleeper(abyss: Abyss) -> Message:
    """Return a service whose program connects to the roll call, then sleeps uninterruptibly."""
    script = (
        "import os, socket; own = socket.socket(1); own.connect('\\0' + os.environ['ROLL_CALL'])\n"
        f"own.sendall(b'sleeper root\\n'); own.recv(1); os.stat({str(abyss.folder / 'x')!r})"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    return {"type": "command", "command": command, "restart": {"policy": "never"}}


def sleeping(it: Direct | Cell, abyss: Abyss) -> int:
    """Send the program to sleep; return its pid once nothing can kill it."""
    [member] = it.roll.await_living("sleeper", 1)
    it.roll.tell("sleeper", b"g")
    abyss.await_victim()
    until(lambda: state_of(member.pid) in "SD", "its sleep")
    return member.pid


def test_a_stop_names_the_process_and_other_services_go_on(tmp_path: Path, abyss: Abyss) -> None:
    with Direct(tmp_path) as it, closing(abyss):
        fleeing = {"type": "command", "command": [sys.executable, "-I", "-S", str(CHILDREN / "odd.py"), "fleeing"]}
        it.client.hello({"sleeper": sleeper(abyss), "plain": service("plain"), "fleeing": fleeing})
        it.client.start_all({"sleeper": None, "plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        pid = sleeping(it, abyss)
        with pytest.raises(Refused, match=f"process {pid} could not be ended") as refused:
            it.client.call("stop", service="sleeper")
        assert refused.value.kind == "SystemFailure"
        assert it.client.status("sleeper")["state"] == "failed"
        it.roll.prove_alive("plain")
        it.client.call("stop", service="plain")  # does not wait for the sleeper again
        it.roll.await_dead("plain")
        abyss.close()
        it.roll.await_dead("sleeper")
        it.client.call("start", service="fleeing")
        it.roll.await_living("fleeing", ODD["fleeing"])
        it.client.call("stop", service="fleeing")  # needs the kernel's list of children, which must work again by now
        it.roll.await_dead("fleeing")
        it.client.call("shutdown")
        assert it.exit_code() == 0
        assert it.stderr.read_text().count("could not be ended") == 1


def cell_of(folder: Path, abyss: Abyss) -> tuple[Cell, int]:
    """Return a cell with a sleeper and a plain tree, and the sleeper's pid."""
    cell = Cell(folder, (), services={"sleeper": sleeper(abyss), "plain": service("plain")})
    cell.client.start_all(cell.services)
    cell.roll.await_living("plain", SIZES["plain"])
    return cell, sleeping(cell, abyss)


def test_when_the_app_dies_the_guard_names_it_and_ends(
    tmp_path: Path, abyss: Abyss, capfd: pytest.CaptureFixture[str]
) -> None:
    cell, pid = cell_of(tmp_path, abyss)
    with cell, closing(abyss):
        cell.strike(("app", signal.SIGKILL))
        cell.await_ours_gone()
        cell.roll.await_dead("plain")
        assert state_of(pid) == "D"
        abyss.close()
        cell.assert_nothing_left()
    said = capfd.readouterr().err.splitlines()
    assert f"sidecar error: process {pid} could not be ended; it hangs in the kernel, or is another user's" in said


def test_the_next_start_names_it_and_goes_on(tmp_path: Path, abyss: Abyss) -> None:
    cell, pid = cell_of(tmp_path, abyss)
    with cell, closing(abyss):
        freeze(cell)
        cell.strike(("app", signal.SIGKILL), *BOTH)
        cell.await_ours_gone()
        with Cell(tmp_path, ("plain",), group=cell.group) as second:
            report = second.client.note("supervisor/swept")
            assert report["problems"] == [f"process {pid} of an earlier run could not be ended"]
            second.grow().order("exit")
            second.assert_nothing_left()
        abyss.close()
        cell.assert_nothing_left()
