"""Linux's SIGKILL for a Windows program: neither the program nor Wine's libraries can run any code at its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

from build import wine
from tests.support.client import Client
from tests.support.command import BINARY
from tests.support.liveness import marked
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "tests" / "windows" / "children" / "tree.py"
FOLDER = Path(os.environ["SIDECAR_WINE"])
PYTHON = str(FOLDER / wine.PYTHON_FOLDER / "python.exe")
MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"

SIZES = {"plain": 3, "deaf": 2, "wide": 21, "deep": 9, "detached": 3}
WAIT_S = 120.0
LOOK_S = 0.05
GROW_S = 60.0
TRIES = 5
"""As in tests/windows/test_death.py: where many programs start at once, Wine may never finish the start of one."""


class SlowClient(Client):
    """A client with more patience: programs start slowly under Wine."""

    patience_s = WAIT_S


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SIZES)
def test_no_process_survives_the_program_that_was_launched(kind: str, tmp_path: Path) -> None:
    """The launched program is the supervisor, or the bootloader of a frozen sidecar.

    The end of a connection proves no death here: if a process is killed while it waits for data, Wine's server may keep
    the socket open. So the test searches for processes with its own variable in their environment.
    """
    for attempt in range(TRIES):
        state = tmp_path / str(attempt)
        state.mkdir()
        if dies_whole(kind, state):
            return
    pytest.fail(f"in {TRIES} attempts the tree never got all its processes")


def dies_whole(kind: str, state: Path) -> bool:
    """Grow the tree, kill the launched program, and await the end of all. Return whether the tree was whole."""
    launch = [BINARY] if BINARY else [PYTHON, "-c", MAIN, str(ROOT)]
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(GROW_S)
        roll_call = str(listener.getsockname()[1])
        sidecar = stack.enter_context(
            subprocess.Popen(
                [*wine.launch(), *launch],
                env=wine.environment(FOLDER, ROLL_CALL=roll_call, SIDECAR_STATE_DIR=str(state)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        )
        stack.callback(sidecar.kill)
        assert sidecar.stdin is not None
        assert sidecar.stdout is not None
        client = SlowClient(sidecar.stdin.fileno(), sidecar.stdout.fileno())
        command = [PYTHON, "-I", "-S", str(TREE), kind]
        client.hello({kind: {"type": "command", "command": command, "restart": {"policy": "never"}}})
        client.call("start", service=kind)
        is_whole = True
        try:
            for _ in range(SIZES[kind]):  # the whole tree; closing a connection ends its process
                stack.enter_context(listener.accept()[0])
        except TimeoutError:
            is_whole = False
        assert not is_whole or sum(TREE.name in it for it in living(roll_call)) == SIZES[kind]
        sidecar.kill()
        until(lambda: not living(roll_call), "the end of all processes", WAIT_S, LOOK_S)
        return is_whole


def living(roll_call: str) -> list[str]:
    """Return the command lines of this test's living processes."""
    found = []
    for pid in marked(f"ROLL_CALL={roll_call}"):
        with suppress(OSError):  # it has ended since the listing
            found.append(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
    return [it for it in found if it]
