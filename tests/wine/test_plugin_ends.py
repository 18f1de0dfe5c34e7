"""How the Tauri plugin's own code handles console events on Windows, tested in a Wine console."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Wine runs on Linux", allow_module_level=True)

from build import wine
from tests.support.command import BINARY
from tests.wine.test_console import CTRL_C, FOLDER, ROOT, Terminal

CRATE = ROOT / "tests" / "wine" / "console"
TARGET = "x86_64-pc-windows-gnu"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(BINARY), reason="tests only the plugin's code, whatever the sidecar"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cargo") is None or shutil.which(wine.COMPILER) is None:
        pytest.skip(f"cargo and {wine.COMPILER} compile the plugin's code for Windows")
    added = subprocess.run(["rustup", "target", "add", TARGET], capture_output=True, text=True, check=False)
    if added.returncode != 0:
        pytest.skip(f"rustup has no {TARGET}: {added.stderr.strip()}")
    out = tmp_path_factory.mktemp("target")  # its own, so as not to wait for a lock on a shared one
    command = ["cargo", "build", "--quiet", "--locked", f"--target={TARGET}", f"--target-dir={out}"]
    subprocess.run([*command, f"--manifest-path={CRATE / 'Cargo.toml'}"], check=True)
    return out / TARGET / "debug" / "sidecar-console.exe"


@pytest.fixture
def start(program: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*words: str) -> Terminal:
        command = [*wine.launch(), str(program), *words]
        made.append(Terminal(command, wine.environment(FOLDER, TERM="xterm")))
        made[-1].read_until(b"up")
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


def test_ctrl_c_gives_the_services_their_grace_and_then_ends_the_app(start: Callable[..., Terminal]) -> None:
    console = start("watch")
    console.press(CTRL_C)
    console.end()  # with 0xC000013A on Windows, and with 0 by Wine
    assert b"grace" in console.seen
    assert b"lived on" not in console.seen


def test_two_apps_in_one_process_both_have_their_grace(start: Callable[..., Terminal]) -> None:
    console = start("watch", "watch")
    console.press(CTRL_C)
    console.end()
    assert console.seen.count(b"grace") == 2


def test_an_app_that_refuses_to_end_keeps_its_services(start: Callable[..., Terminal]) -> None:
    console = start("watch", "refuse")
    console.press(CTRL_C)
    console.read_until(b"refused 1")
    console.press(CTRL_C)
    assert console.end() == 0
    assert b"lived on" in console.seen
    assert b"grace" not in console.seen
