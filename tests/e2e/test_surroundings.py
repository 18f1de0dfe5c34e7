"""Vite's environment: a node that is not on PATH, no browser that opens, and the port in PORT."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import copy_example, plugin, until, vite
from tests.support.command import Message
from tests.support.page import fetch

pytestmark = pytest.mark.vite

SPAWNS = plugin(
    """
    const name = await new Promise((done) => {
        const child = spawn("node", ["-p", "process.execPath"], { stdio: ["ignore", "pipe", "ignore"] });
        child.on("error", (error) => done(error.code));
        child.stdout.on("data", (data) => done(String(data).trim()));
    });
    server.middlewares.use("/node", (_, response) => response.end(name));
    """,
    'import { spawn } from "node:child_process";',
)
"""A plugin that starts node by its name, as many plugins do."""


def desktop(folder: Path) -> dict[str, str]:
    """Return the environment of an app that a desktop has started: an empty home, and no node on PATH."""
    if any(Path(place, "node").exists() for place in ("/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin")):
        pytest.skip("node is in a folder that is searched even without PATH")
    home, path = folder / "home", folder / "path"
    home.mkdir()
    path.mkdir()
    for tool in ("sh", "env", "printenv"):
        (path / tool).symlink_to(shutil.which(tool) or "")
    return {"PATH": str(path), "HOME": str(home), "SHELL": "/nowhere/sh", "XDG_DATA_HOME": "", "NVM_DIR": ""}


def link_node(folder: Path) -> None:
    """Link this machine's node into the folder, as a version manager would."""
    folder.mkdir(parents=True)
    (folder / "node").symlink_to(shutil.which("node") or "")


@pytest.mark.parametrize(
    "place", [".nvm/versions/node/v22.1.0/bin", ".volta/tools/image/node/22.1.0/bin", ".local/share/mise/shims"]
)
def test_a_node_off_path_runs_Vite_and_is_found_by_its_plugins(place: str, launch: Launch, tmp_path: Path) -> None:
    env = desktop(tmp_path)
    link_node(tmp_path / "home" / place)
    project = copy_example(tmp_path / "project", SPAWNS)
    ready = launch({"web": vite(project)}, env=env).start()
    assert fetch(f"{ready['url']}node")[1] == os.path.realpath(shutil.which("node") or "")
    assert psutil.Process(ready["pid"]).environ()["PATH"] == f"{tmp_path}/home/{place}:{env['PATH']}"


def test_a_node_of_the_login_shell_runs_Vite(launch: Launch, tmp_path: Path) -> None:
    env = desktop(tmp_path)
    tools = tmp_path / "home" / "tools"
    link_node(tools)
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\nPATH="{tools}:/usr/bin:/bin"\neval "$2"\n')
    shell.chmod(0o755)
    project = copy_example(tmp_path / "project", SPAWNS)
    ready = launch({"web": vite(project)}, env={**env, "SHELL": str(shell)}).start()
    assert psutil.Process(ready["pid"]).cmdline()[0] == str(tools / "node")


@pytest.mark.parametrize(
    ("browser", "opened"), [(None, False), ("", True)], ids=["as it is", "where the service asks for it"]
)
def test_a_Vite_that_is_set_to_open_a_browser_opens_none(
    browser: str | None, opened: bool, launch: Launch, tmp_path: Path
) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "xdg-open").write_text(
        f'#!/bin/sh\necho "$1" > {tmp_path}/opened.new\nmv {tmp_path}/opened.new {tmp_path}/opened\n'
    )
    (place / "xdg-open").chmod(0o755)
    config = """
        import { existsSync, writeFileSync } from "node:fs";
        export default { clearScreen: false, server: { open: true } };
    """
    project = copy_example(tmp_path / "project", config)
    service: Message = vite(project, env={} if browser is None else {"BROWSER": browser})
    sidecar = launch({"web": service}, env={"PATH": f"{place}:{os.environ['PATH']}", "BROWSER": ""})
    ready = sidecar.start()
    assert psutil.Process(ready["pid"]).environ()["BROWSER"] == ("none" if browser is None else browser)
    if opened:
        until((tmp_path / "opened").exists, "the browser")
        assert (tmp_path / "opened").read_text().startswith("http://127.0.0.1:")
    sidecar.call("stop", service="web")
    assert (tmp_path / "opened").exists() == opened


@pytest.mark.parametrize("env", [{}, {"PORT": "{port}"}], ids=["by itself", "as the service says"])
def test_a_command_reads_its_port_from_PORT(env: dict[str, str], launch: Launch, tmp_path: Path) -> None:
    program = "require('http').createServer((_, r) => r.end(process.env.PORT)).listen(process.env.PORT, '127.0.0.1')"
    service = {"type": "command", "command": ["node", "-e", program], "port": {}, "ready": {"type": "tcp"}}
    ready = launch({"web": {**service, "env": env}}).start()
    assert fetch(ready["url"])[1] == str(ready["port"])
