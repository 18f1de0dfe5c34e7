"""The end of a session by Wine's own tool, which sends WM_QUERYENDSESSION and then WM_ENDSESSION to every window."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

from build import wine
from tests.support.command import BINARY
from tests.wine.test_sigkill import MAIN, PYTHON, ROOT, WAIT_S, SlowClient

SERVICE = ROOT / "tests" / "windows" / "children" / "program.py"


@pytest.fixture
def session() -> Iterator[Path]:
    """Make a separate session. In the shared one the programs of all other tests would end, too."""
    with tempfile.TemporaryDirectory(prefix="sidecar-session-") as name:
        folder = Path(name)
        try:
            wine.make_prefix(folder)
            yield folder
        finally:
            subprocess.run(["wineserver", "--kill", "--wait"], env=wine.environment(folder), check=False)


@pytest.mark.skipif(
    bool(BINARY), reason="the bootloader gets the message too, and may end the sidecar before its services"
)
@pytest.mark.timeout(600)
def test_the_end_of_the_session_ends_a_sidecar_and_its_tree_gracefully(session: Path, tmp_path: Path) -> None:
    launch = [PYTHON, "-c", MAIN, str(ROOT)]
    env = wine.environment(session, SIDECAR_STATE_DIR=str(tmp_path))
    with subprocess.Popen(
        [*wine.launch(), *launch],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as sidecar:
        try:
            assert sidecar.stdin is not None
            assert sidecar.stdout is not None
            client = SlowClient(sidecar.stdin.fileno(), sidecar.stdout.fileno())
            command = [PYTHON, "-I", "-S", str(SERVICE), "report:SIGTERM", "print:up", "hold"]
            client.hello({"web": {"type": "command", "command": command, "restart": {"policy": "never"}}})
            client.call("start", service="web")
            client.printed("web", "up")
            # no pipes: Wine's services would keep them open
            told = subprocess.Popen(
                [*wine.launch(), "wineboot", "--end-session"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            with told:
                client.printed("web", "got SIGTERM")
                assert sidecar.wait(WAIT_S) == 128 + signal.SIGTERM
            assert list((tmp_path / "runs").iterdir()) == []
        finally:
            sidecar.kill()
