"""Windows' own node runs a fake Vite, which is found and started as the real one is."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from tests.support.ports import free_port
from tests.windows.support import Direct, await_end, held, node

SERVER = """
const { createServer } = require('node:http')
const after = (name) => process.argv[process.argv.indexOf(name) + 1]
createServer((request, response) => {
  response.statusCode = request.headers.accept === 'text/x-vite-ping' ? 204 : 200
  response.end('here')
}).listen(Number(after('--port')), after('--host'), () => console.log('cwd', process.cwd()))
"""


def test_a_vite_service_is_ready_answers_and_ends_with_the_app(tmp_path: Path) -> None:
    root = tmp_path / "ein Projekt é"
    entry = root / "node_modules" / "vite" / "bin" / "vite.js"
    entry.parent.mkdir(parents=True)
    entry.write_text(SERVER, encoding="utf-8")
    (entry.parents[1] / "package.json").write_text(json.dumps({"bin": {"vite": "bin/vite.js"}}), encoding="utf-8")
    named = str(root)[0].lower() + str(root)[1:]  # a lower-case drive letter, as some shells write it
    with Direct(tmp_path) as it:
        it.client.hello({"web": {"type": "vite", "root": named, "node": node(), "port": {"preferred": free_port()}}})
        status = it.client.call("start", service="web")["status"]
        assert status["state"] == "ready"
        assert urllib.request.urlopen(status["url"]).read() == b"here"
        it.client.printed("web", f"cwd {named[0].upper()}:")
        process = held(status["pid"])
        it.close_stdin()
        await_end(process)
