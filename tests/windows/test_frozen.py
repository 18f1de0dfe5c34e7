"""A frozen sidecar adds a bootloader, which can die, and an unpacked folder, which can be left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.command import BINARY

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)
if not BINARY:
    pytest.skip("a sidecar from source has no bootloader", allow_module_level=True)

from tests.windows.support import Direct, await_end, held, program


def test_next_start_removes_only_the_folder_of_a_killed_bootloader(tmp_path: Path) -> None:
    foreign = tmp_path / "unpacked" / "_MEI00000001x"
    foreign.mkdir(parents=True)
    (foreign / "precious").write_text("keep me")
    with Direct(tmp_path) as it:
        hello = it.client.hello({"web": program("ignore:SIGTERM", "print:up", "hold")})
        it.client.call("start", service="web")
        ours = [held(hello["pid"]), held(it.client.status("web")["pid"])]
        [folder] = [path for path in it.unpacked.iterdir() if path != foreign]
        it.process.kill()
        for process in ours:
            await_end(process)
    assert folder.exists(), "its files were in use"
    with Direct(tmp_path) as first, Direct(tmp_path) as second:
        assert first.client.hello({})
        assert second.client.hello({})
        for it in (first, second):
            assert it.client.call("shutdown") == {"stopped": []}
            assert it.exit_code() == 0
    assert list(foreign.parent.iterdir()) == [foreign]


def test_nothing_of_the_bundle_reaches_a_child(tmp_path: Path) -> None:
    """A child inherits neither the bootloader's variables nor its DLL search folder."""
    code = (
        "import ctypes, os\n"
        "room = ctypes.create_unicode_buffer(1000)\n"
        "assert ctypes.WinDLL('kernel32').GetDllDirectoryW(1000, room) == 0, room.value\n"
        "print(ascii([n for n in os.environ if n.startswith(('_PYI', '_MEI'))]), 'are left')"
    )
    with Direct(tmp_path) as it:
        it.client.hello({"it": {"type": "command", "command": [sys.executable, "-c", code]}})
        it.client.send("start", service="it")
        it.client.printed("it", "[] are left")
