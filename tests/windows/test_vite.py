"""The real Vite on Windows' own node: it gets ready, serves a page and a module, and ends with the sidecar."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from tests.support.ports import free_port
from tests.windows.support import ROOT, WAIT_S, Direct, await_end, held, node

EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"

CONFIG = """
import { readFileSync } from 'node:fs'
const here: string = readFileSync(new URL('./greeting.txt', import.meta.url), 'utf8')
export default {
  plugins: [{ name: 'greet', transform: (code: string) => code.replace('GREETING', JSON.stringify(here)) }],
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with Vite, in a folder whose name has spaces and non-ASCII letters."""
    installed = Path(os.environ.get("SIDECAR_VITE", EXAMPLE)) / "node_modules"
    if not (installed / "vite").exists():
        pytest.skip("Vite for Windows is not installed: run build/wine.py, or npm ci in the example")
    root = tmp_path / "ein Projekt é 日本"
    linked = shutil.ignore_patterns("tauri-plugin*", ".bin")  # of the example: not needed here
    shutil.copytree(installed, root / "node_modules", ignore=linked)
    (root / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (root / "greeting.txt").write_text("grüß Gott", encoding="utf-8")
    (root / "vite.config.ts").write_text(CONFIG, encoding="utf-8")
    (root / "index.html").write_text('<h1>here</h1><script type="module" src="/main.ts"></script>', encoding="utf-8")
    (root / "main.ts").write_text("const n: number = 1\nconsole.log(GREETING, n)\n", encoding="utf-8")
    return root


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return str(answer.read().decode())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", ["the app's pipe", "what was launched"])
def test_vite_is_ready_serves_and_leaves_nothing(project: Path, tmp_path: Path, end: str) -> None:
    with Direct(tmp_path) as it:
        service = {"type": "vite", "root": str(project), "node": node(), "port": {"preferred": free_port()}}
        it.client.hello({"web": {**service, "readyTimeoutMs": 120_000}})
        status = it.client.call("start", service="web")["status"]
        assert status["state"] == "ready"
        assert "<h1>here</h1>" in fetch(status["url"])
        module = fetch(f"{status['url']}main.ts")
        assert "const n = 1" in module
        assert "grüß Gott" in module
        process = held(status["pid"])
        if end == "the app's pipe":
            it.close_stdin()
        else:
            it.process.kill()
        await_end(process)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.bind(("127.0.0.1", status["port"]))
        sock.listen()
