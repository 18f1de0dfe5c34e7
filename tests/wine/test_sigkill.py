"""Linux's SIGKILL for a program of Windows: nothing in it, nor in Wine's libraries, has a say in how it ends."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("SIGKILL", allow_module_level=True)

from build import wine
from tests.support.client import Client
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "tests" / "windows" / "children" / "tree.py"
FOLDER = Path(os.environ["SIDECAR_WINE"])
PYTHON = str(FOLDER / wine.PYTHON_FOLDER / "python.exe")
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"

SIZES = {"plain": 3, "deaf": 2, "wide": 51, "deep": 9, "detached": 3}
WAIT_S = 120.0


class SlowClient(Client):
    """Programs start slowly under Wine."""

    patience_s = WAIT_S


class Roll:
    """Connections, each the only one that its process has: the end of one is a death."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self.seen = self.living = 0

    def await_count(self, seen: int, living: int) -> None:
        """Wait until so many have come, and so many of them live."""
        deadline = time.monotonic() + WAIT_S
        while (self.seen, self.living) != (seen, living):
            left = deadline - time.monotonic()
            assert left > 0, f"{self.living} of {self.seen} live"
            for key, _ in self._selector.select(left):
                if key.fileobj is self._listener:
                    self._selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                    self.seen += 1
                    self.living += 1
                elif not self._recv(key.fileobj):
                    self._selector.unregister(key.fileobj)
                    self.living -= 1

    def close(self) -> None:
        """Whoever is left sees the end of its connection, and ends."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def _recv(self, connection: object) -> bytes:
        assert isinstance(connection, socket.socket)
        try:
            data = connection.recv(64)
        except ConnectionResetError:
            data = b""  # it was ended, and the system says so
        if not data:
            connection.close()
        return data


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SIZES)
def test_no_process_survives_the_program_that_was_launched(kind: str, tmp_path: Path) -> None:
    """It is the supervisor, or the bootloader where it is frozen."""
    launch = [BINARY] if BINARY else [PYTHON, "-c", MAIN, str(ROOT)]
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "stderr").open("wb"):
        roll = Roll(listener)
        more = {"ROLL_CALL": str(listener.getsockname()[1]), "SIDECAR_STATE_DIR": str(tmp_path)}
        with subprocess.Popen(
            [*wine.launch(), *launch],
            env=wine.environment(FOLDER, **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        ) as sidecar:
            try:
                assert sidecar.stdin is not None
                assert sidecar.stdout is not None
                client = SlowClient(sidecar.stdin.fileno(), sidecar.stdout.fileno())
                command = [PYTHON, "-I", "-S", str(TREE), kind]
                client.hello({kind: {"type": "command", "command": command, "restart": {"policy": "never"}}})
                client.call("start", service=kind)
                roll.await_count(SIZES[kind], SIZES[kind])
                sidecar.kill()
                roll.await_count(SIZES[kind], 0)
            finally:
                sidecar.kill()
                roll.close()
