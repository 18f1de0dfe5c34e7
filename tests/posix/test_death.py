"""Whichever of our processes is killed, no tree survives. This uses POSIX only, so it also runs on a Mac.

tests/faults has many more trees and victims, for Linux and for an emulated macOS kernel.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

if sys.platform == "win32":
    pytest.skip("tests/windows tests this on Windows", allow_module_level=True)

from tests.support.client import Client
from tests.support.command import BINARY, SIDECAR, Message
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).resolve().parents[2]
TREE = Path(__file__).parent / "children" / "tree.py"

APP = "import subprocess, sys; sys.exit(subprocess.Popen(sys.argv[1:]).wait())"
"""The app. The sidecar inherits its stdin and stdout from the test, so the app's death closes neither."""

SIDECARS = {"as it is here": tuple(SIDECAR)}
if sys.platform == "linux" and not BINARY:
    from tests.faults.darwin import COMMAND
    from tests.host.bsd import skip_without_forks

    SIDECARS["with macOS' parts"] = COMMAND

KINDS = ("plain", "session", "deaf", "daemon", "execs", "shell")
"""Each of these trees has two processes."""


class RollCall:
    """Knows how many processes of the trees live. Each has its own connection, which closes at its death."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.living: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])

    def close(self) -> None:
        """End the processes that are left, by closing their connections."""
        for it in (*self.living, self._listener):
            it.close()
        self._selector.close()

    def await_count(self, count: int) -> None:
        """Wait until this many processes live."""
        deadline = time.monotonic() + WAIT_S
        while len(self.living) != count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(self.living)} processes live instead of {count}"
            for key, _ in self._selector.select(left):
                self._hear(key.fileobj)

    def _hear(self, it: object) -> None:
        if it is self._listener:
            connection, _ = self._listener.accept()
            self.living.append(connection)
            self._selector.register(connection, selectors.EVENT_READ)
            return
        assert isinstance(it, socket.socket)
        try:
            data = it.recv(64)
        except ConnectionError:
            data = b""  # it was killed before it had read all bytes
        if not data:
            self._selector.unregister(it)
            self.living.remove(it)
            it.close()


class Run:
    """An app with its sidecar and the trees of its services."""

    def __init__(self, sidecar: Sequence[str], folder: Path, roll: RollCall, *kinds: str) -> None:
        self._stack = ExitStack()
        with self._stack:
            self.unpacked = folder / "unpacked"
            self.unpacked.mkdir(exist_ok=True)
            own = {"SIDECAR_STATE_DIR": str(folder / "state"), "ROLL_CALL": str(roll.port)}
            own["TMPDIR"] = str(self.unpacked)
            app = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", APP, *sidecar],
                cwd=ROOT,
                env={**os.environ, **own},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._stack.callback(self._end, app)
            assert app.stdin is not None
            assert app.stdout is not None
            self.client = Client(app.stdin.fileno(), app.stdout.fileno())
            self.supervisor = psutil.Process(self.client.hello({it: service(it) for it in kinds})["pid"])
            guard = self.supervisor.parent()
            assert guard is not None
            self.victims = {"app": psutil.Process(app.pid), "guard": guard, "supervisor": self.supervisor}
            for kind in kinds:
                self.client.call("start", service=kind)
            self._stack = self._stack.pop_all()

    def _end(self, app: subprocess.Popen[bytes]) -> None:
        assert app.stdin is not None
        assert app.stdout is not None
        app.kill()  # not reaped yet, so the pid is not reused; the sidecar then ends as well
        app.wait(WAIT_S)
        app.stdin.close()
        while app.stdout.read(65_536):
            pass  # EOF comes when the whole sidecar has ended
        app.stdout.close()

    def close(self) -> None:
        self._stack.close()

    def purge(self) -> None:
        """Delete the one-file sidecar's unpacked files while it runs, as a temporary-file cleaner does."""
        [folder] = self.unpacked.glob("_MEI*")
        files = [it for it in folder.rglob("*") if not it.is_dir()]
        assert files
        for it in files:
            it.unlink()

    def kill(self, *names: str) -> None:
        """SIGKILL these processes back to back."""
        for name in names:
            self.victims[name].kill()


def service(kind: str) -> Message:
    command = [sys.executable, "-I", "-S", str(TREE), kind]
    return {"type": "command", "command": command, "restart": {"policy": "never"}, "ready": {"type": "delay", "ms": 0}}


@pytest.fixture
def roll() -> Iterator[RollCall]:
    it = RollCall()
    yield it
    it.close()


@pytest.fixture(params=list(SIDECARS.values()), ids=list(SIDECARS))
def sidecar(request: pytest.FixtureRequest) -> tuple[str, ...]:
    command: tuple[str, ...] = request.param
    if sys.platform == "linux" and command != tuple(SIDECAR):
        skip_without_forks()
    return command


@pytest.mark.parametrize("victim", ["app", "guard", "supervisor"])
def test_no_tree_outlives_one_of_us(victim: str, sidecar: Sequence[str], tmp_path: Path, roll: RollCall) -> None:
    run = Run(sidecar, tmp_path, roll, *KINDS)
    try:
        roll.await_count(2 * len(KINDS))
        run.kill(victim)
        roll.await_count(0)
    finally:
        run.close()


@pytest.mark.skipif(not BINARY, reason="runs from source, which unpacks nothing")
@pytest.mark.parametrize("victim", ["app", "guard", "supervisor"])
def test_no_tree_outlives_one_of_us_after_a_cleaner_came_by(
    victim: str, sidecar: Sequence[str], tmp_path: Path, roll: RollCall
) -> None:
    """On macOS temporary files are deleted if they have not been read for three days."""
    run = Run(sidecar, tmp_path, roll, *KINDS)
    try:
        roll.await_count(2 * len(KINDS))
        run.purge()
        run.kill(victim)
        roll.await_count(0)
    finally:
        run.close()


def test_the_next_start_ends_what_guard_and_supervisor_left(
    sidecar: Sequence[str], tmp_path: Path, roll: RollCall
) -> None:
    first = Run(sidecar, tmp_path, roll, *KINDS)
    try:
        roll.await_count(2 * len(KINDS))
        first.kill("guard", "supervisor")
        second = Run(sidecar, tmp_path, roll)
        try:
            roll.await_count(0)
        finally:
            second.close()
    finally:
        first.close()
