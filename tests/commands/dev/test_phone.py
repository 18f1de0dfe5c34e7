"""``sidecar dev`` under Tauri's CLI for phones: Vite listens on the address that the phone requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.commands.dev import serve
from sidecar.config.services import DevServer
from tests.e2e.support import EXAMPLE, WAIT_S
from tests.support.command import SIDECAR
from tests.support.ports import free_port

HOST = "127.0.0.2"
"""Another loopback address, which Linux has without configuration."""

CONFIG = """\
import { defineConfig } from "vite";
const host = process.env.TAURI_DEV_HOST;
export default defineConfig({
  server: {
    host: host || false,
    strictPort: true,
    hmr: host ? { protocol: "ws", host, port: HMR_PORT } : undefined,
  },
});
"""
"""The configuration that create-tauri-app writes."""


def host_of(root: Path, host: str | None) -> str | None:
    _, services = serve.choose_services(str(root), [], host, None, colour=False)
    [service] = services.values()
    assert isinstance(service, DevServer)
    return service.port.host


def make(folder: Path, hmr_port: int = 1421) -> Path:
    (folder / "package.json").write_text(
        '{"type": "module", "scripts": {"dev": "vite"}, "devDependencies": {"vite": "8"}}'
    )
    (folder / "vite.config.js").write_text(CONFIG.replace("HMR_PORT", str(hmr_port)))
    (folder / "index.html").write_text('<script type="module" src="/main.js"></script>')
    (folder / "main.js").write_text("import.meta.hot?.accept();\n")
    return folder


def test_the_host_of_a_phone_is_listened_on_unless_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    monkeypatch.delenv("TAURI_DEV_HOST", raising=False)
    assert host_of(tmp_path, None) == "127.0.0.1"
    monkeypatch.setenv("TAURI_DEV_HOST", "")
    assert host_of(tmp_path, None) == "127.0.0.1"
    monkeypatch.setenv("TAURI_DEV_HOST", HOST)
    assert host_of(tmp_path, None) == HOST
    assert host_of(tmp_path, "127.0.0.1") == "127.0.0.1"


def test_a_tauri_project_s_page_listens_on_the_host_of_a_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"plugins": {"sidecar": {"services": {"web": {"type": "vite", "root": "."}}}}}
    (tmp_path / "tauri.conf.json").write_text(json.dumps(config))
    monkeypatch.setenv("TAURI_DEV_HOST", HOST)
    assert host_of(tmp_path, None) == HOST


# ── with a real Vite ──────────────────────────────────────────────────────────────────────────────────────────────────


class Hmr:
    """A page's connection for hot updates."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._socket = socket.create_connection((host, port), WAIT_S)
        ask = (
            f"GET /?token={token} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Origin: http://{host}:{port}\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: vite-hmr\r\n\r\n"
        )
        self._socket.sendall(ask.encode())
        self._file = self._socket.makefile("rb")
        assert b" 101 " in self._file.readline()
        while self._file.readline().strip():
            pass

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def message(self) -> str:
        """Return the next message, without its frame header."""
        length = self._file.read(2)[1]
        if length == 126:
            [length] = struct.unpack(">H", self._file.read(2))
        return self._file.read(length).decode()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """Run ``sidecar dev`` on a project as for a phone; yield its port, and the port of its hot updates."""
    port, hmr_port = free_port(), free_port()
    project = make(tmp_path, hmr_port)
    (project / "node_modules").symlink_to(EXAMPLE / "node_modules")
    process = subprocess.Popen(
        [*SIDECAR, "dev", str(project), "--port", str(port), "--strict-port", "--json"],
        env={**os.environ, "TAURI_DEV_HOST": HOST, "SIDECAR_STATE_DIR": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        said = [json.loads(next(lines))]
        while said[-1]["method"] != "service/ready":
            said.append(json.loads(next(lines)))
        assert said[-1]["params"]["url"] == f"http://{HOST}:{port}/"
        yield project, port, hmr_port
        process.terminate()
        lines.read()
    assert process.wait(WAIT_S) == 143


@pytest.mark.vite
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.skipif(shutil.which("node") is None, reason="no node on PATH")
@pytest.mark.skipif(not (EXAMPLE / "node_modules" / "vite").is_dir(), reason="the example's packages are missing")
def test_a_phone_gets_the_page_and_its_hot_updates(served: tuple[Path, int, int]) -> None:
    project, port, hmr_port = served
    with urllib.request.urlopen(f"http://{HOST}:{port}/@vite/client", timeout=WAIT_S) as answer:
        client = answer.read().decode()
    [token] = re.findall(r'wsToken = "([^"]+)"', client)
    with urllib.request.urlopen(f"http://{HOST}:{port}/main.js", timeout=WAIT_S) as answer:
        assert b"accept" in answer.read()
    hmr = Hmr(HOST, hmr_port, token)
    try:
        assert json.loads(hmr.message()) == {"type": "connected"}
        (project / "main.js").write_text("import.meta.hot?.accept(); // changed\n")
        update = json.loads(hmr.message())
        assert (update["type"], update["updates"][0]["path"]) == ("update", "/main.js")
    finally:
        hmr.close()
