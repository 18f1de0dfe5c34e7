"""Bad clients, closed streams, and the exit code of each end."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

import fcntl
import termios

from sidecar.host.linux import processes
from tests.children.trees import SIZES
from tests.faults.cell import ROOT, Cell, service, tree
from tests.faults.direct import Direct, program
from tests.support.client import Client
from tests.support.command import SIDECAR
from tests.support.liveness import RollCall, await_end, send
from tests.support.waiting import WAIT_S, until

CHATTER = [sys.executable, "-I", "-S", "-c", "import os\nwhile True: os.write(1, (b'x' * 99 + b'\\n') * 600)"]
"""A command that writes for ever."""

FULL = 50_000
"""Unread bytes that prove a full pipe. It holds 65,536, and one message of the chatter has about 10,000."""


def fill(it: Direct) -> None:
    """Start a service that writes for ever, and wait, without reading, until our pipe is full."""
    it.client.hello({"loud": {"type": "command", "command": CHATTER}, "plain": service("plain")})
    it.client.start_all({"plain": None})
    it.roll.await_living("plain", SIZES["plain"])
    it.client.send("start", service="loud")
    it.client.note("service/log", service="loud")
    until(lambda: unread(it.stdout) > FULL, "a full pipe")


def unread(fd: int) -> int:
    """Return how many bytes wait in a pipe."""
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return size[0]


def test_a_client_that_reads_nothing_cannot_stop_a_kill(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        fill(it)
        it.let_go(it.stdin)
        assert it.exit_code() == 3


def test_a_client_that_reads_nothing_cannot_stop_a_signal(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        fill(it)
        it.process.send_signal(signal.SIGTERM)
        assert it.exit_code() == 128 + signal.SIGTERM


def test_what_it_did_not_read_is_dropped_and_counted_and_the_rest_arrives(tmp_path: Path) -> None:
    lines = 80_000
    script = (
        f"import os, socket\nfor _ in range({lines // 100}): os.write(1, (b'x' * 99 + b'\\n') * 100)\n"
        "own = socket.socket(1); own.connect('\\0' + os.environ['ROLL_CALL'])\n"
        "own.sendall(b'much root\\n'); own.recv(1)"
    )
    with Direct(tmp_path) as it:
        it.client.hello({"much": {"type": "command", "command": [sys.executable, "-I", "-S", "-c", script]}})
        it.client.send("start", service="much")
        it.roll.await_living("much", 1)  # it connects after it has written twice what is kept
        it.client.call("stop", service="much")
        notes = it.client.notes("service/log")
        dropped = sum(note.get("dropped", 0) for note in notes)
        assert dropped > 0
        assert dropped + sum(len(note["lines"]) for note in notes) == lines
        it.client.call("shutdown")
        assert it.exit_code() == 0


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_stream_that_was_closed_at_the_start_is_no_crash(tmp_path: Path, fd: int) -> None:
    with Direct(tmp_path, "stdio", before_exec=lambda: os.close(fd)) as it:
        if fd == 0:
            assert it.exit_code() == 3  # no stdin counts as the app's death
        elif fd == 1:
            it.client.raw(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "shutdown"}).encode() + b"\n")
            assert it.exit_code() == 0
        else:
            it.serve({"web": program("print:up", "err:down", "hold")})
            it.client.printed("web", "up")
            it.client.printed("web", "down")
            it.client.call("shutdown")
            assert it.exit_code() == 0
        assert b"Traceback" not in it.stderr.read_bytes()


def test_a_client_that_lets_go_of_stdout_alone_keeps_its_services(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.serve({"loud": {"type": "command", "command": CHATTER}, "plain": service("plain")})
        it.roll.await_living("plain", SIZES["plain"])
        it.client.note("service/log", service="loud")
        it.client.ended = True  # it reads no more
        it.let_go(it.stdout)
        for _ in range(3):  # its answers get EPIPE, and it still takes requests
            it.client.raw(b'{"jsonrpc":"2.0","id":9,"method":"status"}\n')
            it.roll.prove_alive("plain")
        it.client.raw(b'{"jsonrpc":"2.0","id":10,"method":"shutdown"}\n')
        assert it.exit_code() == 0
        assert it.stderr.read_bytes() == b""


def test_a_client_may_make_the_pipes_non_blocking(tmp_path: Path) -> None:
    """O_NONBLOCK belongs to the open file description, so another process that shares it can set it for us."""

    def unblock() -> None:
        for fd in (0, 1):
            os.set_blocking(fd, False)

    with Direct(tmp_path, before_exec=unblock) as it:
        it.serve({"web": program(*[f"print:{'x' * 90_000}"] * 8, "print:up", "hold")})
        it.client.printed("web", "up")
        it.client.call("shutdown")
        assert it.exit_code() == 0


def test_good_request_is_answered_after_an_overlong_line_and_garbage(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.raw(b'{"a":"' + b"x" * 10_000_000 + b'"}\n')
        it.client.raw(b"\x00\xff\xfe garbage \x80\n[]\n{\n" + b"[" * 5_000 + b"\n\r\n")
        assert it.client.hello({})["services"] == {}
        codes = [message["error"]["code"] for message in it.client.said if "error" in message]
        assert codes == [-32700, -32700, -32600, -32700, -32700]
        it.client.call("shutdown")
        assert it.exit_code() == 0


# ── exit codes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_stdin_is_3(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({})
        it.let_go(it.stdin)
        assert it.exit_code() == 3


def test_a_shutdown_needs_no_initialize_and_is_0(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.call("shutdown")
        assert it.exit_code() == 0


@pytest.mark.parametrize("words", [["--no-such"], ["--parent-pid", "0"], ["--parent-pid", "x"], ["nonsense"]])
def test_wrong_usage_is_2(tmp_path: Path, words: list[str]) -> None:
    with Direct(tmp_path, *words) as it:
        assert it.exit_code() == 2
        assert b"usage" in it.stderr.read_bytes()


def test_a_supervisor_that_is_killed_is_128_and_the_signal(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.serve({"daemon": service("daemon")})
        it.roll.await_living("daemon", SIZES["daemon"])
        pidfd = os.pidfd_open(it.client.said[0]["result"]["pid"])
        send(pidfd, signal.SIGKILL)
        os.close(pidfd)
        assert it.exit_code() == 128 + signal.SIGKILL


# ── the watched app ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_process_can_be_the_one_to_watch(tmp_path: Path) -> None:
    with RollCall() as others, subprocess.Popen(tree("decoy"), env={**os.environ, **others.env}) as other:
        others.await_member(other.pid, "the process to watch")
        with Direct(tmp_path, "--parent-pid", str(other.pid)) as it:
            it.serve({"plain": service("plain")})
            it.roll.await_living("plain", SIZES["plain"])
            other.kill()
            assert it.exit_code() == 3  # though its stdin is still open


def test_one_that_is_dead_already_is_3_and_said(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as other:
        other.wait()
    with Direct(tmp_path, "--parent-pid", str(other.pid)) as it:
        assert it.exit_code() == 3
        assert b"dead already" in it.stderr.read_bytes()


def test_one_whose_parent_died_before_it_started_serves_until_stdin_ends(tmp_path: Path) -> None:
    """Its parent is now init or a subreaper. It cannot tell that from having been launched by it."""
    ours, theirs = socket.socketpair()
    orphan = "import os, sys\nif os.fork() == 0:\n os.read(0, 1)\n os.execv(sys.argv[1], sys.argv[1:])\n"
    launch = [sys.executable, "-I", "-S", "-c", orphan, *SIDECAR]
    with ours, theirs:
        env = {**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")}
        with subprocess.Popen(launch, stdin=theirs.fileno(), stdout=theirs.fileno(), env=env, cwd=ROOT) as parent:
            parent.wait(WAIT_S)
        theirs.close()
        ours.send(b".")  # its parent is dead: start it
        client = Client(ours.fileno(), ours.fileno())
        guard = parent_of(client.hello({})["pid"])
        pidfd = os.pidfd_open(guard)
        ours.shutdown(socket.SHUT_WR)
        await_end(pidfd, "the sidecar")
        os.close(pidfd)


def parent_of(pid: int) -> int:
    process = processes.read_process(pid)
    assert process is not None
    return process.ppid


def test_app_death_is_noticed_though_another_process_has_the_stdin_pipe(tmp_path: Path) -> None:
    with RollCall() as heirs, Cell(tmp_path, ("plain", "daemon"), decoys=heirs, heir=True) as cell:
        heirs.await_living("decoy", 3)
        cell.grow()
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        heirs.prove_alive("decoy")
