"""``sidecar doctor``: its findings, and its advice."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

if sys.platform != "linux":
    pytest.skip("control groups and /proc", allow_module_level=True)

from sidecar.host.linux import layers
from sidecar.protocol.messages import Guarantees
from sidecar.state import run_record
from tests.commands.support import run, told
from tests.faults.cell import ROOT, Cell
from tests.faults.direct import Direct, program
from tests.faults.test_pidns import WITHOUT_NAMESPACES
from tests.faults.test_system_limits import only_root
from tests.faults.test_system_surroundings import can
from tests.support.command import from_source
from tests.support.liveness import control_group
from tests.support.ports import free_port
from tests.support.waiting import until


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return fake_project(tmp_path / "project")


@pytest.fixture
def node(tmp_path: Path) -> str:
    return fake_node(tmp_path)


def fake_project(folder: Path) -> Path:
    """Make a folder that looks like a Vite project with vite installed."""
    package = folder / "node_modules" / "vite"
    (package / "bin").mkdir(parents=True)
    (folder / "package.json").write_text('{"devDependencies": {"vite": "7"}}')
    (package / "package.json").write_text(json.dumps({"version": "7.1.2", "bin": {"vite": "bin/vite.js"}}))
    (package / "bin" / "vite.js").write_text("")
    return folder


def fake_node(folder: Path, script: str = 'echo "v22.12.0"') -> str:
    """Make a folder for PATH with only a node, by default of a suitable version."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    (place / "node").write_text(f"#!/bin/sh\n{script}\n")
    (place / "node").chmod(0o755)
    return str(place)


def finding(report: dict[str, Any], subject: str) -> dict[str, Any]:
    (found,) = (it for it in report["findings"] if it["subject"] == subject)
    assert isinstance(found, dict)
    return found


def test_where_all_is_well_it_says_so_with_code_0(tmp_path: Path, project: Path, node: str) -> None:
    port = free_port()
    with control_group(divisible=True) as group:
        report = told(tmp_path, "doctor", str(project), "--port", str(port), group=group, PATH=node)
    assert report["ok"] is True
    assert {it["verdict"] for it in report["findings"]} == {"ok"}
    assert finding(report, "vite")["found"].startswith("7.1.2, ")
    assert finding(report, "node")["found"] == f"v22.12.0, {node}/node: on PATH"
    assert "free" in finding(report, f"port {port}")["found"]
    assert "proof" not in report


def test_a_missing_node_is_bad_and_the_rest_is_still_looked_at(tmp_path: Path, project: Path) -> None:
    (tmp_path / "empty").mkdir()
    if any(os.access(f"{place}/node", os.X_OK) for place in ("/usr/local/bin", "/opt/homebrew/bin")):
        pytest.skip("node is in a folder that is searched even without PATH")
    home = str(tmp_path / "empty")
    report = told(tmp_path, "doctor", str(project), code=1, PATH=home, HOME=home, SHELL="/nowhere/sh")
    node = finding(report, "node")
    assert node["verdict"] == "bad"
    assert node["found"].startswith("there is no node: not on PATH, not where nvm, fnm, ")
    assert "the login shell /nowhere/sh cannot be run" in node["found"]
    assert node["advice"] == "Install Node.js 20.19 or newer, or name it in the service's node field."
    assert finding(report, "vite")["verdict"] == "ok"
    assert report["ok"] is False


def test_a_node_that_is_not_on_path_is_told_with_the_reason_why_it_is_taken(tmp_path: Path, project: Path) -> None:
    home = tmp_path / "home"
    for version in ("20.19.1", "22.12.0"):
        place = home / f".nvm/versions/node/v{version}"
        place.mkdir(parents=True)
        fake_node(place, f'echo "v{version}"')
    (home / ".nvm/alias").mkdir()
    (home / ".nvm/alias/default").write_text("20")
    path: dict[str, Any] = {"PATH": str(tmp_path / "empty"), "HOME": str(home), "SHELL": "/nowhere/sh"}
    node = finding(told(tmp_path, "doctor", str(project), **path), "node")
    assert node["found"] == f"v20.19.1, {home}/.nvm/versions/node/v20.19.1/bin/node: the default of nvm, not on PATH"
    (project / ".nvmrc").write_text("18")
    node = finding(told(tmp_path, "doctor", str(project), **path), "node")
    assert node["verdict"] == "note"
    assert node["found"].endswith(": the newest of nvm, not on PATH; .nvmrc asks for 18, which is not installed")


def test_the_doctor_runs_no_node_of_the_project(tmp_path: Path, project: Path, node: str) -> None:
    """A relative entry of PATH, which some people have, means a folder of the examined project."""
    bin_folder = project / "node_modules" / ".bin"
    bin_folder.mkdir()
    (bin_folder / "node").write_text(f"#!/bin/sh\n: > {tmp_path}/ran\necho v22.12.0\n")
    (bin_folder / "node").chmod(0o755)
    report = told(tmp_path, "doctor", str(project), PATH=f"./node_modules/.bin:node_modules/.bin:{node}")
    assert finding(report, "node")["found"] == f"v22.12.0, {node}/node: on PATH"
    assert not (tmp_path / "ran").exists()


def test_a_bun_is_no_node_and_good_enough(tmp_path: Path, project: Path, node: str) -> None:
    (Path(node) / "node").rename(Path(node) / "bun")
    (Path(node) / "bun").write_text("#!/bin/sh\necho 1.2.3\n")
    path: dict[str, Any] = {"PATH": node, "HOME": str(tmp_path), "SHELL": "/nowhere/sh"}
    found = finding(told(tmp_path, "doctor", str(project), **path), "node")
    assert (found["verdict"], found["found"]) == ("ok", f"1.2.3, {node}/bun: bun runs it, as there is no node")


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ('echo "v20.19.0"', "ok"),
        ('echo "v24.0.1"', "ok"),
        ('echo "v18.20.4"', "note"),
        ('echo "v22.11.0"', "note"),
        ("echo broken >&2; exit 127", "bad"),
        ("kill -9 $$", "bad"),
    ],
)
def test_a_node_is_asked_for_its_version(tmp_path: Path, project: Path, script: str, verdict: str) -> None:
    path = f"{fake_node(tmp_path, script)}:/usr/bin:/bin"
    report = told(tmp_path, "doctor", str(project), code=verdict == "bad", PATH=path)
    found = finding(report, "node")
    assert found["verdict"] == verdict
    assert bool(found["advice"]) == (verdict != "ok")


def test_a_missing_vite_is_bad_and_says_how_to_get_it(tmp_path: Path, project: Path, node: str) -> None:
    shutil.rmtree(project / "node_modules")
    report = told(tmp_path, "doctor", str(project), code=1, PATH=node)
    assert finding(report, "project")["verdict"] == "ok"
    assert finding(report, "vite")["verdict"] == "bad"
    assert "npm install" in finding(report, "vite")["advice"]


def test_a_missing_yarn_is_bad_and_says_how_to_get_it(tmp_path: Path, project: Path, node: str) -> None:
    shutil.rmtree(project / "node_modules")
    (project / ".pnp.cjs").touch()
    found = finding(told(tmp_path, "doctor", str(project), code=1, PATH=node), "vite")
    assert (found["verdict"], found["advice"]) == ("bad", "Run 'corepack enable'.")
    assert found["found"] == f"{project} uses Yarn Plug'n'Play, but there is no yarn on PATH"


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_a_project_is_bad(tmp_path: Path, node: str, name: str) -> None:
    (tmp_path / "empty").mkdir()
    report = told(tmp_path, "doctor", str(tmp_path / name), code=1, PATH=node)
    assert finding(report, "project")["verdict"] == "bad"
    assert "Correct root." in finding(report, "project")["advice"]
    shown = run(tmp_path, "doctor", str(tmp_path / name), PATH=node).stdout
    assert re.fullmatch("Docs: .*troubleshooting.*", shown.splitlines()[-1], re.IGNORECASE)


def test_the_framework_and_its_command_are_named(tmp_path: Path, project: Path, node: str) -> None:
    scripts = {"dev": "svelte-kit sync && vite dev --mode x --port 4100", "predev": f"touch {tmp_path}/ran"}
    manifest = {"scripts": scripts, "devDependencies": {"@sveltejs/kit": "3"}}
    (project / "package.json").write_text(json.dumps(manifest))
    report = told(tmp_path, "doctor", str(project), PATH=node)
    assert finding(report, "project")["found"] == f"{project}: SvelteKit (Vite)"
    assert finding(report, "command")["found"] == "vite --host {host} --port {port} --strictPort --mode x"
    steps = [it["found"] for it in report["findings"] if it["subject"] == "step"]
    assert steps == [scripts["predev"], "svelte-kit sync"]
    assert "tried first" in finding(report, "port 4100")["found"]
    assert not (tmp_path / "ran").exists(), "nothing of the project is run"


def test_a_framework_that_is_not_installed_is_bad(tmp_path: Path, project: Path, node: str) -> None:
    (project / "package.json").write_text(json.dumps({"dependencies": {"next": "16"}, "packageManager": "pnpm@10"}))
    report = told(tmp_path, "doctor", str(project), code=1, PATH=node)
    assert finding(report, "project")["found"] == f"{project}: Next.js"
    assert finding(report, "next")["verdict"] == "bad"
    assert "pnpm install" in finding(report, "next")["advice"]


def test_a_workspace_s_root_is_bad_and_names_its_apps(tmp_path: Path, project: Path, node: str) -> None:
    (project / "package.json").write_text(json.dumps({"workspaces": ["apps/*"]}))
    (project / "apps" / "web").mkdir(parents=True)
    (project / "apps" / "web" / "package.json").write_text(json.dumps({"scripts": {"dev": "astro dev"}}))
    report = told(tmp_path, "doctor", str(project), code=1, PATH=node)
    assert "root of a workspace" in finding(report, "project")["found"]
    assert finding(report, "project")["advice"] == f"Use: sidecar dev {project}/apps/web"


def test_a_port_that_only_running_the_configuration_would_tell_is_noted(
    tmp_path: Path, project: Path, node: str
) -> None:
    (project / "vite.config.js").write_text("export default { server: { port: Number(process.env.X) } }")
    report = told(tmp_path, "doctor", str(project), PATH=node)
    assert finding(report, "port")["verdict"] == "note"
    assert "--port" in finding(report, "port")["advice"]


def test_a_held_port_is_noted_with_its_holder(tmp_path: Path, project: Path, node: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        report = told(tmp_path, "doctor", str(project), "--port", str(port), PATH=node)
    found = finding(report, f"port {port}")
    assert found["verdict"] == "note"
    assert f"pid {os.getpid()}" in found["found"]
    assert report["ok"] is True, "a service takes another port"


def test_a_port_that_a_sidecars_service_holds_is_told_as_such(tmp_path: Path, project: Path, node: str) -> None:
    service = program("listen:127.0.0.1={port}", "hold", port={"sticky": False}, ready={"type": "tcp"})
    with Direct(tmp_path) as sidecar:
        port = sidecar.serve({"web": service}).client.status("web")["port"]
        report = told(tmp_path, "doctor", str(project), "--port", str(port), PATH=node)
        assert "started by a sidecar" in finding(report, f"port {port}")["found"]
        assert "sidecar ps" in finding(report, f"port {port}")["advice"]
        assert finding(report, "runs")["found"].startswith("1 sidecar running")


def test_last_good_ports_of_services_with_any_name_are_checked(tmp_path: Path, project: Path, node: str) -> None:
    """Two sidecars found their ports taken, and remembered others."""
    remembered = {}
    ports = tmp_path / "state" / "ports.json"
    for name, folder in {"web": project, "api": project, "other": tmp_path}.items():
        with socket.create_server(("127.0.0.1", 0)) as holder, Direct(tmp_path) as sidecar:
            wish = {"preferred": holder.getsockname()[1]}
            script = program("listen:127.0.0.1={port}", "hold", port=wish, ready={"type": "tcp"}, cwd=str(folder))
            remembered[name] = sidecar.serve({name: script}).client.status(name)["port"]
            # a thread writes it, and the sidecar's end does not wait for that
            until(lambda: ports.exists() and f'::{name}"' in ports.read_text(), "the port's file")  # noqa: B023  at once
    # ports of the system's own choice may have been given to other programs meanwhile
    fresh = {name: free_port() for name in remembered}
    for name, port in remembered.items():
        ports.write_text(re.sub(rf"\b{port}\b", str(fresh[name]), ports.read_text()))
    remembered = fresh
    with socket.create_server(("127.0.0.1", remembered["web"])):
        report = told(tmp_path, "doctor", str(project), PATH=node)
    web, api = (finding(report, f"port {remembered[name]}") for name in ("web", "api"))
    assert "the last good port of web" in web["found"]
    assert f"pid {os.getpid()}" in web["found"]
    assert api["found"] == "free (the last good port of api)"
    assert f"port {remembered['other']}" not in {it["subject"] for it in report["findings"]}


def test_a_state_folder_that_cannot_be_used_is_bad(tmp_path: Path, project: Path, node: str) -> None:
    (tmp_path / "state").write_text("a file")
    report = told(tmp_path, "doctor", str(project), code=1, PATH=node)
    found = finding(report, "state folder")
    assert found["verdict"] == "bad"
    assert run_record.STATE_DIR in found["advice"]


def test_what_dead_runs_left_is_noted_and_not_touched(tmp_path: Path, project: Path, node: str) -> None:
    from tests.commands.test_clean import KILLED_WHOLE

    with control_group(divisible=True) as group, Cell(tmp_path, ("daemon",), group=group) as cell:
        cell.grow()
        cell.strike(*KILLED_WHOLE)
        cell.await_ours_gone()
        report = told(tmp_path, "doctor", str(project), group=group, PATH=node)
        found = finding(report, "runs")
        assert (found["verdict"], report["ok"]) == ("note", True)
        assert "1 processes" in found["found"] or "2 processes" in found["found"]
        assert "sidecar clean" in found["advice"]
        assert cell.roll.living("daemon")
        assert len(list((tmp_path / "state" / "runs").glob("*.json"))) == 1


# ── the layers ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_guarantee_that_initialize_can_give_is_a_layer_with_a_meaning() -> None:
    claimable = {field.encode_name for field in msgspec.structs.fields(Guarantees)} - {"platform", "jobObject"}
    assert set(layers.LAYERS) == claimable


@pytest.mark.parametrize("divisible", [True, False])
def test_the_layers_are_those_that_a_sidecar_claims_here(tmp_path: Path, project: Path, divisible: bool) -> None:
    """The bystander has the same control group and parent."""
    with control_group(divisible=divisible) as group, Cell(tmp_path, (), group=group) as cell:
        claimed = cell.hello["guarantees"]
        report = told(tmp_path, "doctor", str(project), group=group)
        holds = {it["name"]: it["holds"] for it in report["layers"] if it["name"] != layers.ISOLATION}
        assert holds == {name: claimed[name] not in {False, "none"} for name in layers.LAYERS}
        for layer in report["layers"]:
            assert layer["means"]
            assert bool(layer["advice"]) != layer["holds"]
        left = [] if group is None else [it for it in os.listdir(group) if os.path.isdir(f"{group}/{it}")]
        assert len(left) == cell.contained, "only the sidecar's own group"


@from_source
def test_a_stdin_guard_that_is_gone_is_neither_a_layer_nor_claimed(tmp_path: Path, project: Path, node: str) -> None:
    place = tmp_path / "without"
    place.mkdir()
    (place / "sitecustomize.py").write_text("from sidecar.host import stdin_guard\nstdin_guard.SCRIPT = b''\n")
    path = f"{place}:{ROOT}"
    report = told(tmp_path, "doctor", str(project), PATH=node, PYTHONPATH=path)
    (layer,) = (it for it in report["layers"] if it["name"] == "stdinGuard")
    assert not layer["holds"]
    assert "stdin_guard.cjs is missing" in layer["advice"]
    with Direct(tmp_path, prefix=("env", f"PYTHONPATH={path}")) as sidecar:
        assert sidecar.client.hello({})["guarantees"]["stdinGuard"] is False


def isolation_of(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = (it for it in report["layers"] if it["name"] == "pidNamespace")
    assert isinstance(found, dict)
    return found


@pytest.mark.skipif(
    not (can("--pid", "--fork") or can("--user", "--pid", "--fork")), reason="a pid namespace cannot be made here"
)
def test_that_a_service_can_have_a_pid_namespace_is_told(tmp_path: Path, project: Path) -> None:
    report = told(tmp_path, "doctor", str(project))
    assert isolation_of(report)["holds"]
    assert isolation_of(report)["advice"] == ""


@only_root
@pytest.mark.skipif(not can("--user", "--pid", "--fork"), reason="user namespaces are off here")
def test_that_no_service_can_have_one_is_told_with_the_reason_and_what_to_do(tmp_path: Path, project: Path) -> None:
    report = told(tmp_path, "doctor", str(project), prefix=WITHOUT_NAMESPACES)
    assert not isolation_of(report)["holds"]
    for words in ("unshare: No space left on device", "user.max_user_namespaces", "without isolation"):
        assert words in isolation_of(report)["advice"]
    text = run(tmp_path, "doctor", str(project), prefix=WITHOUT_NAMESPACES).stdout
    assert "absent  pidNamespace" in text
    assert "unshare: No space left on device" in text


def test_what_is_absent_is_explained_at_length_in_the_table(tmp_path: Path, project: Path) -> None:
    with control_group(divisible=False) as group:
        if group is None:
            pytest.skip("no delegated control group here")
        text = run(tmp_path, "doctor", str(project), group=group).stdout
    assert "absent  controlGroup" in text
    assert "cgroup.max.descendants" in text
    assert "\x1b" not in text


def test_terminal_gets_our_colours_and_no_sequences_of_other_programs(tmp_path: Path, project: Path) -> None:
    script = r"printf 'no \033[2J version'"
    path = f"{fake_node(tmp_path, script)}:/usr/bin:/bin"
    master, slave = os.openpty()
    env = {**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state"), "TERM": "xterm-256color", "PATH": path}
    env.pop("NO_COLOR", None)
    seen = b""
    command = [sys.executable, "-m", "sidecar", "doctor", str(project)]
    with subprocess.Popen(command, env=env, stdin=slave, stdout=slave) as child:
        os.close(slave)
        try:
            while data := os.read(master, 65_536):
                seen += data
        except OSError:
            pass  # EIO: no process has the terminal any more
        finally:
            os.close(master)
        assert child.wait() == 1
    assert b"\x1b[1;31mbad" in seen
    assert b"\x1b[2J" not in seen


def test_node_is_asked_for_its_version_outside_of_the_project(tmp_path: Path, project: Path) -> None:
    """A version manager's shim runs the version that its working folder asks for."""
    place = fake_node(tmp_path, f'pwd > "{tmp_path}/asked"; echo v22.12.0')
    report = json.loads(
        run(
            tmp_path,
            "doctor",
            str(project),
            "--json",
            prefix=["env", "-C", str(project)],
            PATH=place + ":/bin:/usr/bin",
        ).stdout
    )
    assert finding(report, "node")["verdict"] == "ok"
    assert (tmp_path / "asked").read_text() == "/\n"


@pytest.mark.parametrize(("script", "verdict"), [("echo v22.12.0", "ok"), ("echo none is set >&2; exit 126", "note")])
def test_a_version_managers_shim_is_named_as_one(tmp_path: Path, project: Path, script: str, verdict: str) -> None:
    shims = tmp_path / "asdf" / "shims"
    shims.mkdir(parents=True)
    (shims / "node").write_text(f"#!/bin/sh\n{script}\n")
    (shims / "node").chmod(0o755)
    report = json.loads(
        run(tmp_path, "doctor", str(project), "--json", PATH=str(shims), ASDF_DATA_DIR=str(tmp_path / "asdf")).stdout
    )
    found = finding(report, "node")
    assert found["verdict"] == verdict
    assert "a shim of asdf" in found["found"]


def test_a_package_that_is_linked_from_elsewhere_is_named_and_not_looked_at(
    tmp_path: Path, project: Path, node: str
) -> None:
    (project / "node_modules" / "vite").rename(tmp_path / "vite")
    (project / "node_modules" / "vite").symlink_to(tmp_path / "vite")
    report = told(tmp_path, "doctor", str(project), "--port", str(free_port()), PATH=node)
    found = finding(report, "vite")
    assert found["verdict"] == "note"
    assert "not checked: a link there leads out of the project" in found["found"]
    assert "7.1.2" not in str(report["findings"])
