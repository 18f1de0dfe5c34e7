from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.support import (
    CONT,
    KILL,
    QUICK_RESTART,
    STOP,
    Sidecar,
    children_of,
    connects,
    copy_example,
    fd_count,
    hit,
    plugin,
    until,
    vite,
)
from tests.support.command import Message, Refused
from tests.support.page import PageError, fetch

pytestmark = pytest.mark.vite

DAY_MS = 86_400_000


def refusal(sidecar: Sidecar) -> Refused:
    """Start the service, which must fail at once, without a restart or a process left; return the error."""
    with pytest.raises(Refused) as refused:
        sidecar.call("start", service="web")
    status = sidecar.status()
    assert status["state"] == "failed"
    assert status["error"]["message"] == refused.value.message
    assert sidecar.notes("service/restarting") == []
    assert sidecar.notes("service/ready") == []
    assert len(sidecar.notes("service/exited")) <= 1
    assert sidecar.states()[-1] == "failed"
    assert children_of(sidecar.pid) == []
    return refused.value


def test_config_syntax_error_is_one_clear_error_with_vites_last_lines(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project")
    (project / "vite.config.ts").write_text("export default {\n  plugins: [[,\n")
    error = refusal(launch({"web": vite(project)}))
    assert (error.code, error.kind) == (-32030, "ServiceFailed")
    assert "configuration" in error.message
    assert "vite.config.ts" in error.lines


def test_a_config_that_throws_is_one_clear_error(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", "throw new Error('I do not want to')")
    error = refusal(launch({"web": vite(project)}))
    assert "configuration" in error.message
    assert "I do not want to" in error.lines


def test_a_package_that_the_config_needs_and_is_missing_is_named(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", 'import "no-such-plugin"; export default {};')
    error = refusal(launch({"web": vite(project)}))
    assert error.kind == "ServiceFailed"
    assert "no-such-plugin" in error.lines


def test_a_flag_that_Vite_does_not_know_is_not_tried_again(launch: Launch, project: Path) -> None:
    error = refusal(launch({"web": vite(project, args=["--bogus-flag"])}))
    assert "argument" in error.message
    assert "Unknown option `--bogusFlag`" in error.lines


def test_a_NODE_OPTIONS_that_node_does_not_take_is_not_tried_again(launch: Launch, project: Path) -> None:
    error = refusal(launch({"web": vite(project, env={"NODE_OPTIONS": "--no-such-option"})}))
    assert "--no-such-option" in error.lines


def test_a_project_without_vite_is_ViteNotFound(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project")
    (project / "node_modules").unlink()
    error = refusal(launch({"web": vite(project)}))
    assert (error.code, error.kind) == (-32023, "ViteNotFound")
    assert str(project / "node_modules") in error.message
    assert "npm install" in error.message


@pytest.mark.parametrize("root", ["absent", "empty", "file"])
def test_a_root_that_is_no_project_is_ProjectNotFound(root: str, launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    error = refusal(launch({"web": vite(tmp_path / root)}))
    assert (error.code, error.kind) == (-32021, "ProjectNotFound")
    assert str(tmp_path / root) in error.message


def test_a_node_that_is_not_there_is_NodeNotFound(launch: Launch, project: Path) -> None:
    error = refusal(launch({"web": vite(project, node="/no/such/node")}))
    assert (error.code, error.kind) == (-32022, "NodeNotFound")
    assert "/no/such/node" in error.message


def test_a_PATH_without_node_is_NodeNotFound(launch: Launch, project: Path, tmp_path: Path) -> None:
    if any((place / "node").exists() for place in (Path("/usr/local/bin"), Path("/opt/homebrew/bin"))):
        pytest.skip("node is in a folder that is searched even without PATH")
    empty = tmp_path / "empty"
    empty.mkdir()
    error = refusal(
        launch({"web": vite(project)}, env={"PATH": str(empty), "HOME": str(empty), "SHELL": "/nowhere/sh"})
    )
    assert (error.code, error.kind) == (-32022, "NodeNotFound")


def test_a_broken_node_is_tried_only_within_its_budget(launch: Launch, project: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/no/such/interpreter\n")
    node.chmod(0o755)
    error = refusal(launch({"web": vite(project, node=str(node))}))
    assert error.kind == "ProcessSpawnFailed"
    assert str(node) in error.message


def test_a_config_mended_after_its_error_starts(launch: Launch, tmp_path: Path) -> None:
    project = copy_example(tmp_path / "project", "nonsense(")
    sidecar = launch({"web": vite(project)})
    refusal(sidecar)
    (project / "vite.config.mjs").write_text("export default {};")
    sidecar.start()


# ── crashes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_Vite_that_is_killed_comes_back_on_the_same_port(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project)})
    first = sidecar.start()
    mark = sidecar.mark()
    hit(first["pid"], KILL, sidecar)
    assert sidecar.note("service/exited", since=mark)["signal"] == "SIGKILL"
    restarting = sidecar.note("service/restarting", since=mark)
    assert restarting["attempt"] == 1
    assert "SIGKILL" in restarting["reason"]
    second = sidecar.note("service/ready", since=mark)
    assert second["port"] == first["port"]
    assert second["pid"] != first["pid"]
    assert sidecar.states(since=mark) == ["backingOff", "starting", "starting", "starting", "ready"]
    assert sidecar.status()["restarts"] == 1


def test_a_Vite_that_keeps_dying_fails_after_its_budget_with_its_last_lines(launch: Launch, tmp_path: Path) -> None:
    dies = """server.middlewares.use((request, _, next) => {
        if (!request.url.startsWith("/enough")) return next();
        console.error("I have had enough");
        process.exit(7);
    });"""
    project = copy_example(tmp_path / "project", plugin(dies))
    restart = {"limit": 2, "windowMs": DAY_MS, "resetAfterMs": DAY_MS, **QUICK_RESTART}
    sidecar = launch({"web": vite(project, restart=restart)})
    sidecar.send("start", service="web")
    mark = 0
    for _ in range(3):
        ready = sidecar.note("service/ready", since=mark)
        mark = sidecar.mark()
        with pytest.raises(PageError):
            fetch(f"{ready['url']}enough")
    failed: Message = sidecar.note("service/state", state="failed")
    assert [note["attempt"] for note in sidecar.notes("service/restarting")] == [1, 2]
    assert [note["code"] for note in sidecar.notes("service/exited")] == [7, 7, 7]
    assert "given up" in failed["error"]["message"]
    assert "I have had enough" in failed["error"]["data"]["lines"]
    assert children_of(sidecar.pid) == []
    assert sidecar.status()["error"] == failed["error"]


def test_the_policy_never_fails_at_the_first_crash(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project, restart={"policy": "never"})})
    hit(sidecar.start()["pid"], KILL, sidecar)
    sidecar.note("service/state", state="failed")
    assert sidecar.notes("service/restarting") == []


def test_what_Vite_left_behind_is_gone_before_it_is_started_again(launch: Launch, tmp_path: Path) -> None:
    child = 'spawn("sleep", ["1000"], { detached: true, stdio: "ignore" }).unref();'
    project = copy_example(tmp_path / "project", plugin(child, 'import { spawn } from "node:child_process";'))
    sidecar = launch({"web": vite(project, restart=QUICK_RESTART)})
    first = sidecar.start()
    before = children_of(sidecar.pid)
    assert len(before) == 2
    mark = sidecar.mark()
    hit(first["pid"], KILL, sidecar)
    sidecar.note("service/ready", since=mark)
    after = children_of(sidecar.pid)
    assert len(after) == 2
    assert {it.pid for it in before}.isdisjoint(it.pid for it in after)


# ── health ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def hang(pid: int, sidecar: Sidecar) -> Message:
    """Stop the process, and wait until the service is unhealthy; return the last notification of that.

    On a busy machine it may have been unhealthy before, so ask for the state.
    """
    hit(pid, STOP, sidecar)
    until(lambda: sidecar.status()["state"] == "unhealthy", "a missed health check")
    return next(note for note in reversed(sidecar.notes("service/state")) if note["state"] == "unhealthy")


def test_a_Vite_that_hangs_is_told_of_and_left_alone(launch: Launch, project: Path) -> None:
    sidecar = launch({"web": vite(project, health={"intervalMs": 50, "timeoutMs": 100, "failures": 1})})
    first = sidecar.start()
    told = hang(first["pid"], sidecar)
    assert told["detail"] == "it takes connections, but has not answered for 0.1 s"
    before = connects(sidecar.pid)
    until(lambda: connects(sidecar.pid) >= before + 20, "ten more checks, each with two connections")
    # an answer that it gave before it was stopped may have healed it for a moment
    until(lambda: sidecar.status()["state"] == "unhealthy", "the next missed check")
    assert sidecar.status()["pid"] == first["pid"]


def test_health_restart_restarts_a_hung_vite_on_the_same_port(launch: Launch, project: Path) -> None:
    # two seconds are enough for a healthy Vite, even on a busy machine
    health = {"intervalMs": 100, "timeoutMs": 2_000, "failures": 2, "restart": True}
    sidecar = launch({"web": vite(project, health=health, restart=QUICK_RESTART)})
    first = sidecar.start()
    mark = sidecar.mark()
    hit(first["pid"], STOP, sidecar)
    sidecar.note("service/state", state="unhealthy", since=mark)
    assert "health" in sidecar.note("service/restarting", since=mark)["reason"]
    second = sidecar.note("service/ready", since=mark)
    assert second["port"] == first["port"]
    assert second["pid"] != first["pid"]


def test_a_Vite_that_hangs_for_a_moment_heals(launch: Launch, project: Path) -> None:
    health = {"intervalMs": 100, "timeoutMs": 300, "failures": 1000}
    sidecar = launch({"web": vite(project, health=health)})
    first = sidecar.start()
    hang(first["pid"], sidecar)
    mark = sidecar.mark()
    hit(first["pid"], CONT, sidecar)
    sidecar.note("service/state", state="ready", since=mark)
    assert sidecar.status()["pid"] == first["pid"]
    assert sidecar.notes("service/restarting") == []


def test_health_checks_leave_no_descriptors_behind(launch: Launch, tmp_path: Path) -> None:
    pings = 'server.httpServer.on("clientError", () => console.log(`ping ${++globalThis.pings}`));'
    project = copy_example(tmp_path / "project", plugin(pings, "globalThis.pings = 0;"))
    sidecar = launch({"web": vite(project, health={"intervalMs": 10})})
    sidecar.start()
    sidecar.printed("ping 10")
    before = fd_count(sidecar.pid)
    sidecar.printed("ping 60")
    # a running check has a connection, and the log file is open at times
    until(lambda: fd_count(sidecar.pid) <= before + 2, "no more descriptors than 50 checks before")
    assert set(sidecar.states()[-1:]) == {"ready"}
