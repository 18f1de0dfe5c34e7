"""The one-folder build: the same sidecar, which unpacks nothing and has no bootloader above it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("a host is written for Linux only, so far", allow_module_level=True)

from sidecar.host.linux import tree
from tests.client import Client
from tests.liveness import WAIT_S

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folder")
    command = [sys.executable, str(ROOT / "build" / "freeze.py"), "--folder", "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [made] = out.iterdir()
    return made / "sidecar"


def test_a_folder_starts_unpacks_nothing_and_hands_nothing_of_itself_on(program: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    own = {"SIDECAR_STATE_DIR": str(tmp_path / "state"), "TMPDIR": str(unpacked), "LD_LIBRARY_PATH": "/somewhere/lib"}
    with subprocess.Popen(
        [program], env={**os.environ, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            client = Client(process.stdin.fileno(), process.stdout.fileno())
            hello = client.hello({"child": {"type": "command", "command": ["/bin/cat", "/proc/self/environ"]}})
            supervisor = tree.read_process(hello["pid"])
            assert supervisor is not None
            assert supervisor.ppid == process.pid
            assert list(unpacked.iterdir()) == []
            client.send("start", service="child")
            client.note("service/exited", service="child")
            text = "".join(line for note in client.notes("service/log") for line in note["lines"])
            process.stdin.close()
            assert process.wait(WAIT_S) == 3
        finally:
            process.kill()
    variables = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    assert variables["LD_LIBRARY_PATH"] == "/somewhere/lib"
    assert [name for name in variables if name.startswith(("_PYI", "_MEI")) or name.endswith("_ORIG")] == []
