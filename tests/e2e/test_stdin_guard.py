"""Vite ends with its stdin: the last layer if guard and supervisor are dead and there is no parent-death signal."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("pidfds are Linux's", allow_module_level=True)

from tests.e2e.conftest import Launch
from tests.e2e.support import EXAMPLE, ROOT, Sidecar, copy_example, plugin, until, vite
from tests.faults.cell import tree
from tests.support.command import BINARY, Message
from tests.support.liveness import RollCall, await_end, lives, send
from tests.support.page import fetch

pytestmark = pytest.mark.vite

from_source = pytest.mark.skipif(
    BINARY is not None, reason="only Python code can be run without the parent-death signal"
)

UNHELD = (sys.executable, str(Path(__file__).parent / "children" / "unheld.py"))

BELOW = json.dumps(tree("deaf"))
"""A tree that Vite starts as it starts esbuild, in its process group. It ignores signals and stdin."""

DEAF = plugin(
    f"""
    for (const name of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(name, () => {{}});
    server.close = () => wait(1e8);
    const [program, ...words] = {BELOW};
    spawn(program, words, {{ stdio: ["pipe", "ignore", "ignore"] }});
    """,
    'import { spawn } from "node:child_process";',
)
"""A Vite that ignores signals and whose own shutdown at the end of stdin never finishes."""


def kill_both(sidecar: Sidecar) -> None:
    """Kill guard and supervisor in the same instant. Stop both first, so that neither reacts to the other's death."""
    pidfds = [os.pidfd_open(pid) for pid in (sidecar.process.pid, sidecar.pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pidfd in pidfds:
            send(pidfd, number)
    for pidfd in pidfds:
        await_end(pidfd)
        os.close(pidfd)


@from_source
@pytest.mark.parametrize("ci", ["", "true"])
@pytest.mark.parametrize("below", [True, False], ids=["with a deaf tree below", "alone"])
def test_Vite_and_its_group_end_after_a_double_kill(below: bool, ci: str, launch: Launch, tmp_path: Path) -> None:
    """With CI=true Vite itself does not watch stdin."""
    with RollCall() as roll:
        project = copy_example(tmp_path / "project", DEAF if below else None)
        sidecar = launch({"web": vite(project)}, prefix=UNHELD, env={**roll.env, "CI": ci, "PYTHONPATH": str(ROOT)})
        pidfd = os.pidfd_open(sidecar.start()["pid"])
        try:
            if below:
                roll.await_living("deaf", 2)
            kill_both(sidecar)
            await_end(pidfd, "Vite")
            roll.await_dead()
        finally:
            send(pidfd, signal.SIGKILL)
            os.close(pidfd)


@from_source
def test_without_the_stdin_guard_Vite_survives_a_double_kill(launch: Launch, tmp_path: Path) -> None:
    """This proves that in the test above nothing else ends Vite."""
    project = copy_example(tmp_path / "project", plugin("setInterval(() => writeFileSync('beat', ''), 5);"))
    service = vite(project, stdinGuard=False)
    sidecar = launch({"web": service}, prefix=UNHELD, env={"CI": "true", "PYTHONPATH": str(ROOT)})
    pidfd = os.pidfd_open(sidecar.start()["pid"])
    try:
        kill_both(sidecar)
        for _turn in range(3):
            (project / "beat").unlink(missing_ok=True)
            until((project / "beat").exists, "Vite's next heartbeat")
        assert lives(pidfd)
    finally:
        send(pidfd, signal.SIGKILL)
        await_end(pidfd, "Vite")
        os.close(pidfd)


HELPERS = plugin(
    """
    writeFileSync("helper.mjs", `
        import { isMainThread, parentPort } from "node:worker_threads";
        const told = JSON.stringify({ execArgv: process.execArgv, thread: !isMainThread });
        if (isMainThread) process.on("message", () => process.send(told));
        else parentPort.on("message", () => parentPort.postMessage(told));
    `);
    const child = fork("./helper.mjs", { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const worker = new Worker("./helper.mjs");
    server.middlewares.use("/helpers", async (_, response) => {
        const heard = [once(child, "message"), once(worker, "message")];
        child.send("?");
        worker.postMessage("?");
        response.end(JSON.stringify((await Promise.all(heard)).map(([it]) => JSON.parse(it))));
    });
    """,
    """
    import { fork } from "node:child_process";
    import { once } from "node:events";
    import { Worker } from "node:worker_threads";
    """,
)


def test_the_stdin_guard_does_not_reach_processes_and_threads_of_Vite(launch: Launch, tmp_path: Path) -> None:
    """A forked process inherits node's options. Its stdin is /dev/null, so the guard would end it at once."""
    project = copy_example(tmp_path / "project", HELPERS)
    ready = launch({"web": vite(project)}).start()
    assert psutil.Process(ready["pid"]).cmdline()[1] == "--require"
    for _turn in range(3):
        child, worker = json.loads(fetch(f"{ready['url']}helpers")[1])
        assert child == {"execArgv": [], "thread": False}
        assert worker["thread"]


def test_a_finished_program_ends_though_its_stdin_stays_open(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project")
    entry = EXAMPLE / "node_modules" / "vite" / "bin" / "vite.js"
    guard = ROOT / "sidecar" / "stdin_guard.cjs"
    service: Message = {"type": "command", "command": ["node", "--require", str(guard), str(entry), "--version"]}
    sidecar = launch({"version": {**service, "cwd": str(project), "restart": {"policy": "never"}}})
    sidecar.call("start", service="version")
    assert sidecar.note("service/exited", service="version")["code"] == 0
