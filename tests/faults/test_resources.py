"""Bounds on the supervisor's memory, descriptors and threads, whatever a service does."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("/proc", allow_module_level=True)

from tests.faults.direct import Direct
from tests.support.command import Message
from tests.support.waiting import WAIT_S, until

MEMORY_MOST = 100 << 20
"""Allowed peak memory. A start alone takes 30 MB of it, including the interpreter's own files."""
FLOOD = 2 * MEMORY_MOST
"""Memory that the lines of a flood would take if the supervisor kept them all."""
POINTER = 8

SERVICES = 8
RESTARTS = 5

HAND_OVER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as outside:
    outside.connect(sys.argv[1])
    socket.send_fds(outside, [b"."], [1, 2])
    outside.recv(1)
"""


def script(code: str, *words: str, **more: object) -> Message:
    return {"type": "command", "command": [sys.executable, "-I", "-S", "-c", code, *words], **more}


def read_by(pid: int) -> int:
    """Return how many bytes a process has read in its life."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def memory_peak(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) << 10


@pytest.mark.parametrize("line", ["中", "ab", "", "😀 " + "a" * 60], ids=["cjk", "ascii", "empty", "wide"])
def test_a_client_that_reads_nothing_costs_no_memory_without_end(line: str, tmp_path: Path) -> None:
    """A short line takes up to 20 times its length in memory, and longer to read than the same bytes in long lines.

    So the amount to read is computed for each line, such that without a bound it takes more than MEMORY_MOST.
    """
    flood = f"import os\npiece = {line!r}.encode() + b'\\n'\nwhile True: os.write(1, piece * (65_536 // len(piece)))"
    kept = POINTER + (sys.getsizeof(line) if line else 0)  # all empty strings are one object
    flooded = FLOOD * len(f"{line}\n".encode()) // kept
    names = [f"service{number}" for number in range(SERVICES)]
    with Direct(tmp_path) as it:
        pid = it.client.hello({name: script(flood) for name in names})["pid"]
        for name in names:
            it.client.send("start", service=name)
        until(lambda: read_by(pid) > flooded, "a flood", 3 * WAIT_S)  # nine busy processes share the cores with others
        assert memory_peak(pid) < MEMORY_MOST


def held(pid: int) -> tuple[int, int]:
    """Return how many descriptors and threads a process has."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_pipes_handed_out_of_the_tree_are_given_up_with_the_run(tmp_path: Path) -> None:
    """The test itself is outside the tree, and keeps stdout and stderr of each run open."""
    kept: list[int] = []
    place = str(tmp_path / "outside")
    service = script(HAND_OVER, place, restart={"policy": "never"})
    with socket.socket(socket.AF_UNIX) as server, Direct(tmp_path) as it:
        server.bind(place)
        server.listen()
        pid = it.client.hello({"it": service})["pid"]

        def run() -> None:
            mark = len(it.client.said)
            it.client.send("start", service="it")
            connection, _ = server.accept()
            with connection:
                kept.extend(socket.recv_fds(connection, 1, 2)[1])
            it.client.note("service/exited", since=mark, service="it")

        before = held(pid)
        try:
            for _ in range(RESTARTS):
                run()
            until(
                lambda: sum(held(pid)) <= sum(before),
                f"no more descriptors and threads than before the first run: {before}",
            )
            assert "a process outside of its tree still has its stdout or stderr" in it.stderr.read_text()
            with pytest.raises(BrokenPipeError):
                os.write(kept[0], b"nobody reads this")
        finally:
            for fd in kept:
                os.close(fd)
