"""The example of "Coming from PM2": both files name the same programs, and the sidecar runs its file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Launch
from tests.support.command import Message

PAGE = Path(__file__).parents[2] / "tauri-integration" / "docs" / "pm2.md"

SERVER = """
const { createServer } = require("node:http");
const told = JSON.stringify({ argv: process.argv.slice(2), level: process.env.LOG_LEVEL });
createServer((request, response) => response.end(told)).listen(Number(process.env.PORT), "127.0.0.1");
"""
WORKER = """
import os, threading
print("API", os.environ["API"], flush=True)
threading.Event().wait()
"""


def block(language: str) -> str:
    """Return the page's first code block in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, language
    return found[1]


@pytest.fixture
def services(tmp_path: Path) -> Message:
    """The page's services, with real programs and absolute paths."""
    folder = tmp_path / "project"
    (folder / "api").mkdir(parents=True)
    (folder / "api" / "server.js").write_text(SERVER, encoding="utf-8")
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    found: Message = json.loads(block("json"))["services"]
    for service in found.values():
        service["cwd"] = str(folder / service.get("cwd", "."))
    return found


def test_the_two_files_of_the_page_name_the_same_programs(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH")
    file = tmp_path / "ecosystem.config.js"
    file.write_text(block("js"), encoding="utf-8")
    told = subprocess.run(
        [node, "-p", "JSON.stringify(require(process.argv[1]))", str(file)], capture_output=True, text=True, check=True
    )
    apps: list[dict[str, Any]] = json.loads(told.stdout)["apps"]
    ours = json.loads(block("json"))["services"]
    assert [app["name"] for app in apps] == list(ours)
    for app, service in zip(apps, ours.values(), strict=True):
        words = [app.get("interpreter", "node"), app["script"], *app.get("args", "").split()]
        assert service["command"] == words
        assert service.get("cwd") == app.get("cwd")
        assert set(service["env"]) == set(app["env"]) - {"PORT"}
    [api, worker] = ours.values()
    assert api["port"]["preferred"] == apps[0]["env"]["PORT"]
    assert (api["readyTimeoutMs"], api["stop"]["timeoutMs"]) == (apps[0]["listen_timeout"], apps[0]["kill_timeout"])
    assert api["restart"]["backoff"]["initialMs"] == apps[0]["exp_backoff_restart_delay"]
    assert worker["restart"]["limit"] == apps[1]["max_restarts"]


def test_the_sidecar_runs_the_services_of_the_page(launch: Launch, services: Message) -> None:
    sidecar = launch(services)
    sidecar.call("start", service="worker")
    api = sidecar.status("api")
    assert api["state"] == "ready", "the worker depends on it"
    with urllib.request.urlopen(api["url"], timeout=40) as answer:
        assert json.load(answer) == {"argv": ["--verbose"], "level": "debug"}
    sidecar.printed(f"API {api['url'].removesuffix('/')}")
    sidecar.call("shutdown")
