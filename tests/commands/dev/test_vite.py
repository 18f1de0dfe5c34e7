from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import pytest

assert sys.platform == "linux"  # for mypy

from tests.commands.dev.support import Terminal, with_rich
from tests.e2e.support import EXAMPLE
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.vite,
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH"),
    pytest.mark.skipif(not (EXAMPLE / "node_modules" / "vite").is_dir(), reason="the example's packages are missing"),
]


@with_rich
def test_a_tauri_project_is_served_with_vite_s_own_colours_and_ends_with_q(dev: Callable[..., Terminal]) -> None:
    port = free_port()
    terminal = dev(str(EXAMPLE), "--port", str(port))
    terminal.wait(rf"web is ready on http://127\.0\.0\.1:{port}/ after")
    terminal.wait(r"web │ .*VITE v[\d.]+")
    terminal.wait(rf"● web ready  http://127\.0\.0\.1:{port}/  up \d+ s  restarts 0  \d+ MB")
    assert b"\x1b[32m" in terminal.raw()
    tree = terminal.watch()
    terminal.press("q")
    assert terminal.exit_code() == 0
    tree.await_gone()
