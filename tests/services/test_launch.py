"""From a service to a command line: vite is found where node finds it, and each missing part has its own error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

if sys.platform == "win32":
    pytest.skip("Windows finds programs in another way", allow_module_level=True)

from sidecar.config.services import CommandService, PortConfig, ViteService, parse_service
from sidecar.core.events import Endpoint, Launch
from sidecar.errors import (
    ConfigurationError,
    NodeNotFoundError,
    ProcessSpawnFailedError,
    ProjectNotFoundError,
    ViteNotFoundError,
)
from sidecar.services.environment import from_env_file
from sidecar.services.frameworks import TABLE
from sidecar.services.launch import (
    find_vite,
    keeps_port,
    plan,
    port_config,
    project_key,
    which,
    with_endpoint,
)
from tests.services.support import Machine, machine, program

__all__ = ["machine"]

QUIET = {"BROWSER": "none"}
VITE_OPTIONS = ("--host", "{host}", "--port", "{port}", "--strictPort")


def vite(package: Path, *, bin_field: object = None, entry: str | None = "bin/vite.js", **manifest: object) -> Path:
    """Make a package named vite; return the path of its entry."""
    package.mkdir(parents=True)
    fields = {"name": "vite", "version": "8.0.0", "bin": {"vite": "bin/vite.js"} if bin_field is None else bin_field}
    (package / "package.json").write_text(json.dumps({**fields, **manifest}), encoding="utf-8")
    where = package / (entry or "nowhere.js")
    if entry is not None:
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text("", encoding="utf-8")
    return where


def project(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "package.json").write_text("{}", encoding="utf-8")
    return root


@pytest.fixture
def path(machine: Machine) -> Path:
    """Make a folder with a node the only one on PATH."""
    program(machine.path / "node")
    return machine.path


# ── vite's own entry ──────────────────────────────────────────────────────────────────────────────────────────────────


def npm(top: Path) -> tuple[Path, Path]:
    return project(top / "app"), vite(top / "app/node_modules/vite")


def pnpm(top: Path) -> tuple[Path, Path]:
    root = project(top / "app")
    entry = vite(root / "node_modules/.pnpm/vite@8.0.0/node_modules/vite")
    (root / "node_modules/vite").symlink_to(".pnpm/vite@8.0.0/node_modules/vite")
    return root, entry


def hoisted(top: Path) -> tuple[Path, Path]:
    return project(top / "packages/app"), vite(top / "node_modules/vite")


def nearest_of_two(top: Path) -> tuple[Path, Path]:
    vite(top / "node_modules/vite")
    return project(top / "packages/app"), vite(top / "packages/app/node_modules/vite")


def symlinked_node_modules(top: Path) -> tuple[Path, Path]:
    root = project(top / "app")
    entry = vite(top / "store/node_modules/vite")
    (root / "node_modules").symlink_to(top / "store/node_modules")
    return root, entry


def linked_project(top: Path) -> tuple[Path, Path]:
    project(top / "real/packages/app")
    (top / "elsewhere").mkdir(parents=True)
    (top / "elsewhere/app").symlink_to(top / "real/packages/app")
    return top / "elsewhere/app", vite(top / "real/node_modules/vite")


def linked_project_with_a_vite_beside_the_link(top: Path) -> tuple[Path, Path]:
    project(top / "real/app")
    vite(top / "real/node_modules/vite")
    entry = vite(top / "workspace/node_modules/vite")
    (top / "workspace/app").symlink_to(top / "real/app")
    return top / "workspace/app", entry


def bin_as_text(top: Path) -> tuple[Path, Path]:
    return project(top), vite(top / "node_modules/vite", bin_field="dist/cli.js", entry="dist/cli.js")


def exports_without_bin(top: Path) -> tuple[Path, Path]:
    return project(top), vite(top / "node_modules/vite", bin_field={}, exports={".": "./dist/index.js"})


def other_bins(top: Path) -> tuple[Path, Path]:
    bins = {"vitest": "x.js", "vite": "./bin/openVite.js"}
    return project(top), vite(top / "node_modules/vite", bin_field=bins, entry="bin/openVite.js")


def broken_json_below_a_good_one(top: Path) -> tuple[Path, Path]:
    (top / "packages/app/node_modules/vite").mkdir(parents=True)
    (top / "packages/app/node_modules/vite/package.json").write_text("{", encoding="utf-8")
    return project(top / "packages/app"), vite(top / "node_modules/vite")


def wrong_bin_below_a_good_one(top: Path) -> tuple[Path, Path]:
    vite(top / "packages/app/node_modules/vite", bin_field=7)
    return project(top / "packages/app"), vite(top / "node_modules/vite")


def missing_entry_below_a_good_one(top: Path) -> tuple[Path, Path]:
    vite(top / "packages/app/node_modules/vite", entry=None)
    return project(top / "packages/app"), vite(top / "node_modules/vite")


def dangling_link_below_a_good_one(top: Path) -> tuple[Path, Path]:
    (project(top / "packages/app") / "node_modules").mkdir()
    (top / "packages/app/node_modules/vite").symlink_to(top / "gone")
    return top / "packages/app", vite(top / "node_modules/vite")


def no_package_json_of_its_own(top: Path) -> tuple[Path, Path]:
    (top / "app").mkdir(parents=True)
    return top / "app", vite(top / "node_modules/vite")


Layout = Callable[[Path], tuple[Path, Path]]
AS_NODE: list[Layout] = [npm, pnpm, hoisted, nearest_of_two, symlinked_node_modules, linked_project, bin_as_text]
AS_NODE += [other_bins, no_package_json_of_its_own, dangling_link_below_a_good_one]
OUR_OWN: list[Layout] = [
    linked_project_with_a_vite_beside_the_link,
    exports_without_bin,
    broken_json_below_a_good_one,
    wrong_bin_below_a_good_one,
    missing_entry_below_a_good_one,
]


@pytest.mark.parametrize("layout", [*AS_NODE, *OUR_OWN], ids=lambda layout: layout.__name__)
def test_vites_entry_is_found_in_every_layout(layout: Layout, tmp_path: Path) -> None:
    root, entry = layout(tmp_path / "top")
    assert find_vite(str(root)) == str(entry.resolve())


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to compare with")
def test_vite_is_found_where_nodes_own_require_finds_it(tmp_path: Path) -> None:
    places = [(layout.__name__, *layout(tmp_path / layout.__name__)) for layout in AS_NODE]
    script = (
        "const {createRequire} = require('module'), {realpathSync} = require('fs'); const out = {};"
        "for (const [name, root] of JSON.parse(process.argv[1]))"
        " out[name] = createRequire(realpathSync(root) + '/x.js').resolve('vite/package.json');"
        "console.log(JSON.stringify(out))"
    )
    roots = json.dumps([(name, str(root)) for name, root, _ in places])
    found = json.loads(subprocess.run(["node", "-e", script, roots], capture_output=True, check=True).stdout)
    for name, root, entry in places:
        ours = find_vite(str(root))
        assert ours is not None
        assert ours == str(entry.resolve())
        assert Path(ours).is_relative_to(Path(found[name]).parent), name


@pytest.mark.parametrize("left", ["nothing", "a broken one", "a file"])
def test_where_there_is_no_vite_none_is_found(left: str, tmp_path: Path) -> None:
    root = project(tmp_path / "app")
    if left == "a broken one":
        vite(root / "node_modules/vite", entry=None)
    elif left == "a file":
        (root / "node_modules").write_text("", encoding="utf-8")
    assert find_vite(str(root)) is None


# ── the whole of a vite service ───────────────────────────────────────────────────────────────────────────────────────


def test_vite_is_run_by_node_with_no_shell_and_no_npm_between(path: Path, machine: Machine, tmp_path: Path) -> None:
    root, entry = npm(tmp_path)
    assert plan("web", ViteService(root=str(root), env={"A": "1"})) == Launch(
        (str(path / "node"), "--require", machine.stdin_guard, str(entry), *VITE_OPTIONS),
        str(root),
        {"A": "1"} | QUIET,
        program_words=4,
        port=PortConfig(preferred=5173),
    )


def test_nodes_stdin_is_not_watched_where_the_service_says_no(path: Path, tmp_path: Path) -> None:
    root, entry = npm(tmp_path)
    made = plan("web", ViteService(root=str(root), stdin_guard=False))
    assert made.argv == (str(path / "node"), str(entry), *VITE_OPTIONS)


def test_vite_starts_without_a_stdin_guard_that_the_installation_lacks(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, entry = npm(tmp_path)
    monkeypatch.setattr("sidecar.host.stdin_guard.SCRIPT", b"")
    assert plan("web", ViteService(root=str(root))).argv[1] == str(entry)


def test_vite_starts_without_a_stdin_guard_if_the_state_folder_takes_none(
    path: Path, machine: Machine, tmp_path: Path
) -> None:
    root, entry = npm(tmp_path)
    machine.state.touch()
    warnings: list[str] = []
    assert plan("web", ViteService(root=str(root)), warnings.append).argv[1] == str(entry)
    [warning] = warnings
    assert "cannot be kept in the state folder" in warning
    assert "SIDECAR_STATE_DIR" in warning


def test_mode_configuration_and_arguments_stand_behind_ours(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    made = plan("web", ViteService(root=str(root), mode="test", config_file="c.ts", args=["--force", "--base", "/a/"]))
    assert made.argv[4:] == (*VITE_OPTIONS, "--mode", "test", "--config", "c.ts", "--force", "--base", "/a/")


def test_a_relative_root_is_below_the_working_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, entry = npm(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = plan("web", ViteService(root="app"))
    assert (made.cwd, made.argv[3]) == (str(root), str(entry))


def test_a_project_above_the_working_folder_is_named_without_dots(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "project")
    (root / "src-tauri").mkdir()
    monkeypatch.chdir(root / "src-tauri")
    with pytest.raises(ViteNotFoundError, match=re.escape(f"no vite in {root / 'node_modules'} or above")):
        plan("web", ViteService(root=".."))


def test_a_folder_that_is_missing_or_a_file_is_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for root in (tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(ProjectNotFoundError, match="does not exist") as caught:
            plan("web", ViteService(root=str(root)))
        assert caught.value.data == {"service": "web", "root": str(root), "reason": caught.value.problem}


def test_a_folder_that_holds_no_project_is_not_taken_for_one(path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectNotFoundError, match="is no Vite project"):
        plan("web", ViteService(root=str(tmp_path / "empty")))


@pytest.mark.parametrize("file", ["package.json", "index.html", "vite.config.ts", "vite.config.mjs"])
def test_a_project_without_vite_is_told_to_install_it(file: str, path: Path, tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    (root / file).write_text("{}", encoding="utf-8")
    with pytest.raises(ViteNotFoundError, match="npm install") as caught:
        plan("web", ViteService(root=str(root)))
    assert caught.value.data == {"service": "web", "root": str(root), "reason": caught.value.problem}


def test_a_folder_that_is_named_by_the_way_to_it_is_told_by_its_own_name(tmp_path: Path) -> None:
    """In a Tauri app, paths are relative to src-tauri."""
    (tmp_path / "app" / "src-tauri").mkdir(parents=True)
    (tmp_path / "app" / "package.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ViteNotFoundError) as caught:
        plan("web", ViteService(root=str(tmp_path / "app" / "src-tauri" / "..")))
    assert f"no vite in {tmp_path / 'app' / 'node_modules'} or above" in str(caught.value)


def test_the_folder_above_a_link_s_target_is_not_the_one_above_the_link(path: Path, tmp_path: Path) -> None:
    there = project(tmp_path / "there")
    entry = vite(there / "node_modules" / "vite")
    (there / "src-tauri").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "src-tauri").symlink_to(there / "src-tauri")
    made = plan("web", ViteService(root=str(tmp_path / "here" / "src-tauri" / "..")))
    assert str(entry) in made.argv


@pytest.mark.parametrize("manifest", [".pnp.cjs", ".pnp.js"])
@pytest.mark.parametrize("below", [".", "packages/app"])
def test_plug_n_play_is_entered_through_yarn(manifest: str, below: str, path: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "top" / below)
    (tmp_path / "top" / manifest).write_text("", encoding="utf-8")
    yarn = program(path / "yarn")
    made = plan("web", ViteService(root=str(root), args=["--force"]))
    assert made.argv == (str(yarn), "run", "vite", *VITE_OPTIONS, "--force")
    assert made.cwd == str(root)


def test_plug_n_play_without_yarn_says_how_to_get_it(path: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "app")
    (root / ".pnp.cjs").write_text("", encoding="utf-8")
    with pytest.raises(NodeNotFoundError, match="corepack enable"):
        plan("web", ViteService(root=str(root)))


def test_a_vite_in_node_modules_goes_before_plug_n_play(path: Path, tmp_path: Path) -> None:
    root, entry = npm(tmp_path)
    (root / ".pnp.cjs").write_text("", encoding="utf-8")
    assert plan("web", ViteService(root=str(root))).argv[3] == str(entry)


# ── node ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_node_the_error_says_where_it_was_looked_for(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    (path / "node").unlink()
    with pytest.raises(NodeNotFoundError, match=r"there is no node: not on PATH, .*nvm.*\. Install Node.js"):
        plan("web", ViteService(root=str(root)))


def test_a_node_that_may_not_be_run_is_none(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    (path / "node").chmod(0o644)
    with pytest.raises(NodeNotFoundError):
        plan("web", ViteService(root=str(root)))


def test_a_node_that_is_not_on_path_is_found_by_what_it_starts(machine: Machine, tmp_path: Path) -> None:
    """Otherwise a plugin's ``spawn("node")`` fails with ENOENT."""
    root, entry = npm(tmp_path)
    managed = program(machine.home / ".nvm/versions/node/v22.1.0/bin/node")
    made = plan("web", ViteService(root=str(root)))
    assert (made.argv[0], made.argv[3]) == (str(managed), str(entry))
    assert made.env == {"PATH": f"{managed.parent}:{machine.path}"} | QUIET
    own = plan("web", ViteService(root=str(root), env={"PATH": "/own"}))
    assert own.env["PATH"] == f"{managed.parent}:/own"


def test_a_path_with_node_is_left_as_it_is(path: Path, machine: Machine, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    program(machine.home / ".nvm/versions/node/v22.1.0/bin/node")
    assert "PATH" not in plan("web", ViteService(root=str(root))).env


def test_a_node_that_a_service_names_is_found_by_what_it_starts(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    wanted = program(root / "tools/node")
    made = plan("web", ViteService(root=str(root), node=str(wanted)))
    assert made.env["PATH"] == f"{wanted.parent}:{path}"
    beside = program(path / "node22")
    assert "PATH" not in plan("web", ViteService(root=str(root), node=str(beside))).env


def test_without_node_bun_runs_vites_entry(machine: Machine, tmp_path: Path) -> None:
    root, entry = npm(tmp_path)
    bun = program(machine.home / ".bun/bin/bun")
    made = plan("web", ViteService(root=str(root)))
    assert made.argv == (str(bun), "--require", machine.stdin_guard, str(entry), *VITE_OPTIONS)


def test_a_version_that_is_asked_for_in_vain_is_told(machine: Machine, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    (root / ".nvmrc").write_text("16")
    managed = program(machine.home / ".nvm/versions/node/v22.1.0/bin/node")
    npm_program = program(managed.parent / "npm")
    problem = ".nvmrc asks for 16, which is not installed"
    for config, taken in (
        (ViteService(root=str(root)), managed),
        (CommandService(command=["npm", "start"], cwd=str(root)), npm_program),
    ):
        told: list[str] = []
        assert plan("web", config, told.append).argv[0] == str(taken)
        assert told == [f"web: {problem}: {managed} is used (the newest of nvm, not on PATH)"]


def test_named_node_is_not_looked_for_in_relative_entries_of_the_path(machine: Machine, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    program(root / "bin/node22")
    with pytest.raises(NodeNotFoundError, match="node22 is not there"):
        plan("web", ViteService(root=str(root), node="node22", env={"PATH": "bin"}))


def test_the_node_that_was_asked_for_is_the_only_one_taken(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    wanted = program(root / "tools/node")
    program(path / "node22")
    for node, found in (
        (str(wanted), wanted),
        ("tools/node", wanted),
        ("./tools/node", wanted),
        ("node22", path / "node22"),
    ):
        made = plan("web", ViteService(root=str(root), node=node)).argv[0]
        assert Path(made).resolve() == found
    for node in ("/nowhere/node", "tools", "node18"):
        with pytest.raises(NodeNotFoundError, match=f"{node} is not there"):
            plan("web", ViteService(root=str(root), node=node))


def test_the_services_own_path_is_the_one_that_is_searched(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    own = program(tmp_path / "own/node")
    made = plan("web", ViteService(root=str(root), env={"PATH": f"/nowhere:{own.parent}"}))
    assert made.argv[0] == str(own)


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_found_on_the_path_and_run_in_its_folder(path: Path, tmp_path: Path) -> None:
    program(path / "serve")
    made = plan("api", CommandService(command=["serve", "--port", "{port}"], cwd=str(tmp_path), env={"A": "1"}))
    assert made == Launch((str(path / "serve"), "--port", "{port}"), str(tmp_path), {"A": "1"} | QUIET, program_words=1)


def test_a_command_with_a_slash_is_found_from_its_folder(path: Path, tmp_path: Path) -> None:
    serve = program(tmp_path / "bin/serve")
    for word in ("bin/serve", "./bin/serve", str(serve)):
        assert Path(plan("api", CommandService(command=[word], cwd=str(tmp_path))).argv[0]).samefile(serve)


@pytest.mark.parametrize("word", ["serve", "./serve", "/nowhere/serve", "."])
def test_a_program_that_is_not_there_is_named(word: str, path: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessSpawnFailedError, match="there is no program") as caught:
        plan("api", CommandService(command=[word], cwd=str(tmp_path)))
    assert caught.value.data == {"service": "api", "program": word, "reason": caught.value.problem}


def test_a_program_of_node_modules_is_said_to_need_npx(path: Path, tmp_path: Path) -> None:
    there = program(tmp_path / "node_modules/.bin/vite")
    (tmp_path / "web").mkdir()
    with pytest.raises(ProcessSpawnFailedError, match=f"But {there} exists: put npx before the command."):
        plan("api", CommandService(command=["vite", "--port", "{port}"], cwd=str(tmp_path / "web")))


def test_a_commands_folder_that_is_missing_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError, match="Correct cwd"):
        plan("api", CommandService(command=["node"], cwd=str(tmp_path / "gone")))


def test_a_folder_or_a_plain_file_of_that_name_is_no_program(path: Path, tmp_path: Path) -> None:
    (path / "serve").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "second/serve").write_text("", encoding="utf-8")
    third = program(tmp_path / "third/serve")
    search = os.pathsep.join(map(str, (path, tmp_path / "second", third.parent)))
    assert which("serve", str(tmp_path), search) == str(third)
    assert which("serve", str(tmp_path), str(path)) is None


def test_an_empty_or_relative_entry_of_the_path_is_the_services_folder(path: Path, tmp_path: Path) -> None:
    here, below = program(tmp_path / "here"), program(tmp_path / "sub/below")
    assert which("here", str(tmp_path), ":/nowhere") == str(here)
    assert which("below", str(tmp_path), "/nowhere:sub") == str(below)


@pytest.mark.parametrize("word", ["node", "npm", "npx", "pnpm", "a-tool"])
def test_a_command_that_came_with_a_node_off_path_is_found_and_finds_it(
    word: str, machine: Machine, tmp_path: Path
) -> None:
    beside = machine.home / ".nvm/versions/node/v22.1.0/bin"
    program(beside / "node")
    wanted = program(beside / word)
    made = plan("api", CommandService(command=[word, "start"], cwd=str(tmp_path)))
    assert made == Launch(
        (str(wanted), "start"), str(tmp_path), {"PATH": f"{beside}:{machine.path}"} | QUIET, program_words=1
    )


def test_a_command_that_only_a_terminal_would_find_is_found(path: Path, machine: Machine, tmp_path: Path) -> None:
    uv = program(machine.home / ".local/bin/uv")
    machine.shell(f'PATH={uv.parent}:/usr/bin:/bin; eval "$2"')
    made = plan("api", CommandService(command=["uv", "run"], cwd=str(tmp_path)))
    assert made == Launch((str(uv), "run"), str(tmp_path), {"PATH": f"{uv.parent}:{path}"} | QUIET, program_words=1)


def test_a_command_that_only_a_terminal_would_find_finds_a_node_off_path(machine: Machine, tmp_path: Path) -> None:
    """A yarn that was installed without node is a script that needs node on PATH."""
    node = program(machine.home / ".nvm/versions/node/v22.1.0/bin/node")
    yarn = program(machine.home / ".yarn/bin/yarn")
    machine.shell(f'PATH={yarn.parent}:/usr/bin:/bin; eval "$2"')
    made = plan("api", CommandService(command=["yarn"], cwd=str(tmp_path)))
    assert (made.argv, made.env["PATH"]) == ((str(yarn),), f"{yarn.parent}:{node.parent}:{machine.path}")


def test_a_command_on_path_asks_no_shell(path: Path, machine: Machine, tmp_path: Path) -> None:
    asked = machine.home / "asked"
    machine.shell(f": > {asked}")
    plan("api", CommandService(command=["node"], cwd=str(tmp_path)))
    plan("web", ViteService(root=str(npm(tmp_path)[0])))
    assert not asked.exists()


def test_yarn_that_came_with_a_node_off_path_finds_it(machine: Machine, tmp_path: Path) -> None:
    root = project(tmp_path / "app")
    (root / ".pnp.cjs").write_text("", encoding="utf-8")
    beside = machine.home / ".nvm/versions/node/v22.1.0/bin"
    program(beside / "node")
    yarn = program(beside / "yarn")
    made = plan("web", ViteService(root=str(root)))
    assert (made.argv[0], made.env["PATH"]) == (str(yarn), f"{beside}:{machine.path}")


def test_no_service_opens_a_browser_unless_it_says_so(path: Path, tmp_path: Path) -> None:
    root, _ = npm(tmp_path)
    for env, wanted in (({}, "none"), ({"BROWSER": "firefox"}, "firefox")):
        assert plan("web", ViteService(root=str(root), env=env)).env["BROWSER"] == wanted
        assert plan("api", CommandService(command=["node"], cwd=str(tmp_path), env=env)).env["BROWSER"] == wanted


# ── ports ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

HERE = Endpoint("127.0.0.1", 41_997)


def test_the_port_is_filled_into_words_and_variables() -> None:
    config = CommandService(command=["serve"], port=PortConfig(env="PORT"))
    launch = Launch(("serve", "--at={host}:{port}", "{url}x", "{other}"), "/", {"URL": "{url}", "PLAIN": "x"})
    assert with_endpoint(launch, config, HERE) == Launch(
        ("serve", "--at=127.0.0.1:41997", "http://127.0.0.1:41997/x", "{other}"),
        "/",
        {"URL": "http://127.0.0.1:41997/", "PLAIN": "x", "PORT": "41997"},
    )


def test_nothing_is_filled_into_the_name_of_a_folder(path: Path, tmp_path: Path) -> None:
    """Fill in only texts of the configuration: folders of the program and of PATH may have any names."""
    root, entry = npm(tmp_path / "a {port}")
    launch = with_endpoint(plan("web", ViteService(root=str(root), args=["{port}"])), ViteService(), HERE)
    assert (launch.argv[3], launch.argv[-1]) == (str(entry), "41997")
    serve = program(tmp_path / "{host}" / "bin" / "serve")
    config = CommandService(
        command=["bin/serve"], cwd=str(tmp_path / "{host}"), env={"PATH": "/{port}", "A": "{port}"}, port=PortConfig()
    )
    made = with_endpoint(plan("api", config), config, HERE)
    assert (made.argv, made.env["PATH"], made.env["A"]) == ((str(serve),), "/{port}", "41997")


def test_a_command_is_told_its_port_by_PORT_unless_it_says_otherwise() -> None:
    config = CommandService(command=["serve"], port=PortConfig())
    assert with_endpoint(Launch(("serve",), "/"), config, HERE).env == {"PORT": "41997"}
    assert with_endpoint(Launch(("serve",), "/", {"PORT": "1"}), config, HERE).env == {"PORT": "1"}
    assert "PORT" not in with_endpoint(Launch(("node",), "/"), ViteService(), HERE).env


def test_isolation_is_in_the_launch_with_and_without_a_port(path: Path, tmp_path: Path) -> None:
    program(path / "serve")
    for isolation, wanted in (("none", False), ("pidNamespace", True)):
        service = {"type": "command", "command": ["serve"], "cwd": str(tmp_path), "isolation": isolation}
        config = parse_service(service, "$")
        made = plan("api", config)
        assert made.pid_namespace is wanted
        assert with_endpoint(made, config, Endpoint("127.0.0.1", 1)).pid_namespace is wanted


def test_without_a_port_nothing_of_it_is_filled_in() -> None:
    launch = Launch(("serve", "{port}"), "/", {"URL": "{url}"})
    assert with_endpoint(launch, CommandService(command=["serve"]), None) == launch


def test_a_file_s_variables_stand_below_env_and_nothing_is_filled_in_in_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A={port}\nB=file\nPORT=1\nPATH={port}\n", encoding="utf-8")
    config = CommandService(
        command=[sys.executable], env={"B": "{port}"}, env_file=str(tmp_path / ".env"), cwd=str(tmp_path)
    )
    config = msgspec.structs.replace(config, port=PortConfig())
    env = with_endpoint(plan("api", config), config, HERE).env
    assert (env["A"], env["B"]) == ("{port}", "41997")
    assert env["PORT"] == "41997", "the sidecar chooses"
    assert env["PATH"] == "{port}"
    (tmp_path / ".env").write_text("A=2", encoding="utf-8")
    assert plan("api", config).env["A"] == "2", "it is read anew"
    (tmp_path / ".env").unlink()
    with pytest.raises(ConfigurationError, match="does not exist"):
        plan("api", config)


def test_a_file_does_not_decide_how_a_dev_server_is_told_its_port(path: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "app")
    (root / "vue.config.js").write_text("", encoding="utf-8")
    row = next(row for row in TABLE if row.env)
    (tmp_path / ".env").write_text("".join(f"{name}=1\n" for name, _ in row.env), encoding="utf-8")
    config = parse_service({"type": row.type, "root": str(root), "envFile": str(tmp_path / ".env")}, "$")
    assert from_env_file("web", config) == {}


def test_what_is_known_of_other_services_is_filled_in_also_without_a_port() -> None:
    key = "services.api.origin"
    step = Launch(("sh", "-c", "build {services.api.origin}"), "/", {"API": "{services.api.origin}"})
    launch = Launch(("{services.api.origin}", "{services.api.origin}"), "/", {"A": "{token}", "B": "{{port}}"})
    launch = msgspec.structs.replace(launch, before=(step,), program_words=1)
    made = with_endpoint(launch, CommandService(command=["x"]), None, {key: "http://[::1]:1", "token": "secret"})
    assert made.argv == ("{services.api.origin}", "http://[::1]:1"), "a folder may be called anything"
    assert made.env == {"A": "secret", "B": "{port}"}
    assert made.before[0].env == {"API": "http://[::1]:1"}, "a step is a part of the service"
    assert made.before[0].argv == step.argv, "and its line is the project's"


def test_vite_is_told_its_port_by_a_variable_that_the_user_may_set() -> None:
    launch = Launch(("node", "{port}"), "/", {})
    assert with_endpoint(launch, ViteService(), HERE).env == {"VITE_DEV_PORT": "41997"}
    own = Launch(("node",), "/", {"VITE_DEV_PORT": "{port}0"})
    assert with_endpoint(own, ViteService(port=PortConfig(env="P")), HERE).env == {
        "VITE_DEV_PORT": "419970",
        "P": "41997",
    }


def test_a_bracketed_url_is_filled_in_for_ipv6() -> None:
    made = with_endpoint(Launch(("{host}", "{url}"), "/", {}), ViteService(), Endpoint("::1", 80))
    assert made.argv == ("::1", "http://[::1]:80/")


def test_vite_would_like_5173_and_a_command_has_no_wish_of_its_own() -> None:
    vite_wish = port_config(ViteService(port=PortConfig(host="::1", sticky=False)))
    assert vite_wish == PortConfig(preferred=5173, host="::1", sticky=False)
    assert port_config(ViteService(port=PortConfig(preferred=3000))) == PortConfig(preferred=3000)
    assert port_config(CommandService(command=["serve"])) is None
    assert port_config(CommandService(command=["serve"], port=PortConfig())) == PortConfig(preferred=None)


def test_only_a_program_that_shares_its_address_has_its_port_held_for_it() -> None:
    assert keeps_port(ViteService())
    assert not keeps_port(CommandService(command=["serve"], port=PortConfig()))


def test_remembered_port_belongs_to_a_folder_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "link").symlink_to("app")
    monkeypatch.chdir(tmp_path / "app")
    roots = (".", str(tmp_path / "app"), str(tmp_path / "link"), "../app/")
    keys = {project_key("web", ViteService(root=root)) for root in roots}
    assert len(keys) == 1
    assert project_key("api", CommandService(command=["x"], cwd=".")) not in keys
    assert project_key("web", CommandService(command=["x"], cwd=".")) in keys
    assert project_key("web", parse_service({"type": "vite", "root": ".."}, "$")) not in keys


# ── what the file system refuses ─────────────────────────────────────────────────────────────────────────────────────


def test_names_too_long_for_the_system_are_configuration_errors(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessSpawnFailedError, match="no program"):
        plan("web", CommandService(command=["x" * 300], cwd=str(tmp_path)))
    with pytest.raises(ProjectNotFoundError, match="does not exist"):
        plan("web", ViteService(root="x" * 5_000))
    with pytest.raises(ProjectNotFoundError, match="does not exist"):
        plan("web", CommandService(command=["node"], cwd="x" * 5_000))


def test_a_bin_that_is_not_text_is_no_vite(tmp_path: Path) -> None:
    package = project(tmp_path) / "node_modules" / "vite"
    package.mkdir(parents=True, exist_ok=True)
    (package / "package.json").write_bytes(b'{"bin": {"vite": "\xff\xfe"}}')
    assert find_vite(str(tmp_path)) is None


def test_the_key_of_a_folder_that_is_not_text_can_be_written_down(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    key = project_key("web", ViteService(root=os.fsdecode(folder)))
    assert json.loads(json.dumps(key).encode()) == f"{tmp_path}/\\xff::web"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot remove a process's working folder")
def test_without_a_working_folder_only_relative_paths_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ProjectNotFoundError, match="has been removed"):
        plan("web", CommandService(command=["true"]))
    assert plan("web", CommandService(command=["true"], cwd=str(tmp_path))).cwd == str(tmp_path)
