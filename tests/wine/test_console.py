"""``sidecar dev`` in a Wine console that runs in a Linux terminal: keys arrive as on Windows."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

import pty

from build import wine
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "windows" / "children" / "program.py"
FOLDER = Path(os.environ["SIDECAR_WINE"])
PYTHON = str(FOLDER / wine.PYTHON_FOLDER / "python.exe")
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"

CTRL_C = b"\x03"
WAIT_S = 120.0


class Terminal:
    """A program in its own terminal."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        self.seen = b""
        self._deadline = time.monotonic() + WAIT_S
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, env)  # noqa: S606  no shell needed

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def read_until(self, text: bytes) -> None:
        while text not in self.seen:
            assert self._read(), f"it ended without {text!r}: {self.seen!r}"

    def end(self) -> int:
        """Read all output; return the exit code."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Close the terminal, which ends the programs in it."""
        os.close(self._fd)

    def _read(self) -> bytes:
        left = self._deadline - time.monotonic()
        assert select.select([self._fd], [], [], max(0.0, left))[0], f"timed out after {self.seen!r}"
        try:
            data = os.read(self._fd, 4096)
        except OSError:
            data = b""  # EIO: no process has the terminal any more
        self.seen += data
        return data


def sidecar(*words: str, folder: Path) -> Terminal:
    launch = [BINARY] if BINARY else [PYTHON, "-c", MAIN, str(ROOT)]
    env = wine.environment(FOLDER, SIDECAR_STATE_DIR=str(folder), TERM="xterm")
    return Terminal([*wine.launch(), *launch, *words], env)


@pytest.mark.timeout(300)
def test_ctrl_c_ends_it_gracefully_with_130_and_its_lines_are_plain(tmp_path: Path) -> None:
    program = [PYTHON, "-I", "-S", str(PROGRAM), "report:SIGTERM", "print:it is up", "hold"]
    console = sidecar("dev", "--", *program, folder=tmp_path)
    try:
        console.read_until(b"| it is up")
        console.press(CTRL_C)
        code = console.end()
    finally:
        console.close()
    assert code == 130
    assert b"| got SIGTERM" in console.seen, "the program did not end on the stop signal"
    assert list((tmp_path / "runs").iterdir()) == [], "the run left a record"
