"""How a folder is started: by ``sidecar dev``, and by a service that names only its type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows finds programs in another way", allow_module_level=True)

from sidecar.commands.dev.serve import choose_services
from sidecar.config.services import (
    SERVICE_TYPES,
    CommandService,
    DevServer,
    PortConfig,
    Service,
    TcpReady,
    ViteService,
    parse_service,
)
from sidecar.core.events import Launch
from sidecar.errors import ConfigurationError, ProjectNotFoundError, ViteNotFoundError
from sidecar.files import FILE_BYTES_MOST
from sidecar.services.dev_script import Step
from sidecar.services.frameworks import TABLE, VITE, Framework
from sidecar.services.launch import find_program, plan, port_config, project_key, step_launch

ROWS = {row.name: row for row in TABLE}
WITH_PACKAGE = [row for row in TABLE if row.package and (row is VITE or not row.vite)]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install node as the only program on PATH."""
    place = tmp_path / "on path" / "node"
    place.parent.mkdir()
    place.write_text("#!/bin/sh\n", encoding="utf-8")
    place.chmod(0o755)
    monkeypatch.setenv("PATH", str(place.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return str(place)


def stdin_guard(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "stdin_guard.cjs")


def project(folder: Path, dev: str | None = None, **package: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    own = {"scripts": {"dev": dev}} if dev else {}
    (folder / "package.json").write_text(json.dumps({**own, **package}), encoding="utf-8")
    return str(folder)


def install(folder: str, row: Framework) -> str:
    """Install the framework's program, with its package's manifest."""
    package = Path(folder, "node_modules", *row.package.split("/"))
    package.mkdir(parents=True)
    entry = package / "dist" / "cli.mjs"
    entry.parent.mkdir()
    entry.touch()
    manifest = {"version": "1.2.3", "bin": {"other": "x.js", row.program: "./dist/cli.mjs"}}
    (package / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
    return str(entry)


def chosen(folder: str | None, *program: str, host: str | None = None, port: int | None = None) -> tuple[str, Service]:
    page, services = choose_services(folder, list(program), host, port, colour=False)
    return page, services[page]


def named(type_: str, root: str, **more: object) -> Service:
    return parse_service({"type": type_, "root": root, **more}, "$")


# ── the launch ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", WITH_PACKAGE, ids=lambda row: row.name)
def test_a_framework_is_run_by_node_from_its_own_package(row: Framework, node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", devDependencies=dict.fromkeys(row.depends, "1"))
    entry = install(folder, row)
    made = plan("web", named(row.type, folder))
    assert made.argv == (node, "--require", stdin_guard(tmp_path), entry, *row.verb, *row.listen)
    assert made.cwd == folder
    assert dict(row.env).items() <= made.env.items()


def test_a_program_without_a_package_is_found_on_path(node: str, tmp_path: Path) -> None:
    (tmp_path / "Trunk.toml").touch()
    service = named("trunk", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no trunk on PATH"):
        plan("web", service)
    trunk = Path(node).with_name("trunk")
    trunk.symlink_to(node)
    assert plan("web", service).argv == (str(trunk), "serve", "--address", "{host}", "--port", "{port}")


def test_a_bare_type_is_started_as_the_dev_script_says(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", "cross-env A=1 B=2 vite web --mode staging --config dev.js --force --port 3100")
    entry = install(folder, VITE)
    made = plan("web", ViteService(root=folder, env={"B": "own"}))
    own = ("--mode", "staging", "--config", "dev.js", "--force")
    assert made.argv == (node, "--require", stdin_guard(tmp_path), entry, "web", *VITE.listen, *own)
    assert (made.env["A"], made.env["B"]) == ("1", "own")
    wish = port_config(ViteService(root=folder))
    assert wish is not None
    assert wish.preferred == 3100
    assert made.port == wish


@pytest.mark.parametrize("own", [{"args": []}, {"mode": "x"}, {"configFile": "x.js"}], ids=str)
def test_a_service_that_says_how_is_started_so(own: dict[str, object], node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", "A=1 vite web --force --port 3100")
    install(folder, VITE)
    service = named("vite", folder, **own)
    made = plan("web", service)
    assert "A" not in made.env
    assert not {"web", "--force"} & set(made.argv)
    wish = port_config(service)
    assert wish is not None
    assert wish.preferred == 5173
    assert made.port == wish


def test_what_a_script_does_before_it_becomes_steps(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", scripts={"predev": "make x", "dev": "A=1 svelte-kit sync && A=1 vite dev"})
    install(folder, VITE)
    made = plan("web", ViteService(root=folder, env={"B": "2"}))
    assert [(it.argv[-1], it.cwd, it.env["B"]) for it in made.before] == [
        ("make x", folder, "2"),
        ("A=1 svelte-kit sync", folder, "2"),
    ]


def test_a_step_is_run_with_the_project_s_programs_on_path(tmp_path: Path) -> None:
    folder = tmp_path / "apps" / "web"
    for place, said in ((tmp_path, "far"), (folder, "near")):
        program = place / "node_modules" / ".bin" / "told"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {said} $A $B", encoding="utf-8")
        program.chmod(0o755)
    made: Launch = step_launch(Step("told && true", {"A": "1"}), str(folder), {"B": "'2'"})
    done = subprocess.run(
        made.argv, cwd=made.cwd, env=os.environ | made.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "near 1 '2'\n"


def test_a_service_of_the_wrong_type_is_told_the_right_one(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", "astro dev")
    install(folder, VITE)
    with pytest.raises(ConfigurationError, match=r'starts Astro, which has the type "astro"\. Correct type or root'):
        plan("web", ViteService(root=folder))
    (tmp_path / "app" / "vite.config.ts").touch()
    told: list[str] = []
    assert plan("web", ViteService(root=folder), told.append).argv[3].endswith("cli.mjs")
    assert "Astro" in told[0]


def test_a_workspace_s_root_is_no_service(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "all", workspaces=["apps/*"])
    project(tmp_path / "all" / "apps" / "web", "vite")
    install(folder, VITE)
    with pytest.raises(ConfigurationError, match="its apps are apps/web"):
        plan("web", ViteService(root=folder))


@pytest.mark.parametrize(("lock", "advice"), [("pnpm-lock.yaml", "pnpm install"), ("package-lock.json", "npm install")])
def test_what_is_not_installed_is_said_with_how(node: str, tmp_path: Path, lock: str, advice: str) -> None:
    folder = project(tmp_path / "app", "next dev")
    (tmp_path / "app" / lock).touch()
    with pytest.raises(ConfigurationError, match=f"no next in .*{advice}") as caught:
        plan("web", named("next", folder))
    assert not isinstance(caught.value, ViteNotFoundError)


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("vite", "is no Vite project: it has no package.json, index.html or vite.config. Correct root."),
        ("astro", "is no Astro project: it has no package.json or astro.config. Correct root."),
        ("trunk", "is no Trunk project: it has no Trunk.toml. Correct root."),
    ],
)
def test_a_folder_that_is_no_project_of_the_type_is_named(node: str, tmp_path: Path, type_: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectNotFoundError, match=re.escape(said)):
        plan("web", named(type_, str(tmp_path / "empty")))


def test_a_literal_port_of_the_vite_config_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "vite.config.ts").write_text("export default { server: { port: 1420, strictPort: true } }")
    root = str(tmp_path)
    assert port_config(ViteService(root=root)) == PortConfig(preferred=1420, strict=True)
    asked = PortConfig(preferred=7)
    assert port_config(ViteService(root=root, port=asked)) == asked


def test_each_framework_s_own_port_is_tried_first(tmp_path: Path) -> None:
    for row in WITH_PACKAGE:
        wish = port_config(named(row.type, str(tmp_path)))
        assert wish is not None
        assert wish.preferred == row.port


def test_a_framework_s_remembered_port_belongs_to_its_root(tmp_path: Path) -> None:
    service = named("astro", str(tmp_path))
    assert project_key("web", service) == project_key("web", ViteService(root=str(tmp_path)))
    assert find_program(str(tmp_path), ROWS["trunk"]) is None


# ── sidecar dev ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_dev_starts_the_framework_of_the_folder(row: Framework, node: str, tmp_path: Path) -> None:
    names = row.depends or (row.package,)
    folder = project(tmp_path / "app", row.called[0] if row.called else None, devDependencies=dict.fromkeys(names, "1"))
    name, service = chosen(folder, host="::1", port=4000)
    assert isinstance(service, DevServer)
    assert (name, type(service)) == (row.name, SERVICE_TYPES[row.type])
    assert (service.root, service.port.host, service.port.preferred) == (folder, "::1", 4000)


def test_dev_runs_a_script_that_reads_port_with_its_port(node: str, tmp_path: Path) -> None:
    name, service = chosen(project(tmp_path / "app", "A=1 serve -l $PORT"), port=4000)
    assert isinstance(service, CommandService)
    assert (name, service.command[-1], service.ready) == ("dev", "A=1 serve -l $PORT", TcpReady())
    assert service.port == PortConfig(preferred=4000, env="PORT")
    assert service.env["HOST"] == "{host}"


def test_dev_names_the_apps_of_a_workspace(node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path / "all", "turbo dev", workspaces=["apps/*"], devDependencies={"vite": "8"})
    for app in ("web", "admin"):
        project(tmp_path / "all" / "apps" / app, "vite")
    monkeypatch.chdir(tmp_path / "all")
    with pytest.raises(ConfigurationError, match=r"workspace .* Use: sidecar dev apps/admin or sidecar dev apps/web"):
        chosen(None)


def test_dev_names_the_projects_of_a_folder_that_is_none(node: str, tmp_path: Path) -> None:
    project(tmp_path / "all" / "web", "vite")
    with pytest.raises(ConfigurationError, match=r"has no dev server of its own. Use: sidecar dev .*/all/web$"):
        chosen(str(tmp_path / "all"))


def test_dev_says_where_a_program_goes_that_is_named_as_the_project(tmp_path: Path) -> None:
    server = tmp_path / "server.js"
    server.touch()
    with pytest.raises(ConfigurationError, match=r"is a file, .* sidecar dev -- node /.*/server.js"):
        chosen(str(server))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("env PORT={port} node server.js", "node"),
        ("cross-env NODE_ENV=development /usr/bin/node server.js", "node"),
        ("env -u HOME node server.js", "env"),
        ("env", "env"),
    ],
)
def test_a_program_behind_variables_is_named_after_itself(words: str, name: str) -> None:
    assert choose_services(None, words.split(), None, None, colour=False)[0] == name


def test_dev_says_what_to_use_for_a_script_that_it_does_not_understand(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", "concurrently vite 'node api.js'")
    with pytest.raises(ConfigurationError) as caught:
        chosen(folder)
    assert caught.value.message == (
        f"{folder}/package.json: the script dev is not understood: the sidecar does not know concurrently. "
        f"Start as it is: sidecar dev {folder} -- npm run dev, or Vite alone: sidecar dev {folder} -- vite"
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dotenv -e .env -- vite", "sidecar dev -- npm run dev -- --host {host} --port {port} --strictPort"),
        ("node gen.js; next dev", "sidecar dev -- npm run dev -- --hostname {host} --port {port}"),
        ("tsc -w & astro dev", "sidecar dev -- npm run dev -- --host {host} --port {port}"),
        ("env-cmd react-scripts start", "sidecar dev --port 3000 -- npm run dev"),
        ("vite & tsc -w", "sidecar dev -- npm run dev,"),
        ("vite | cat", "sidecar dev -- npm run dev,"),
        ("run-p vite", "sidecar dev -- npm run dev,"),
        ("sh -c 'vite'", "sidecar dev -- npm run dev,"),
        ("make dev", "sidecar dev -- npm run dev, or what is in web: sidecar dev web"),
        ("npm run dev -w web", "sidecar dev -- npm run dev, or what is in web: sidecar dev web"),
        ("cd web && npm run dev", "sidecar dev -- npm run dev, or what is in web: sidecar dev web"),
    ],
)
def test_command_for_an_unknown_script_gets_our_port_where_possible(
    node: str, tmp_path: Path, line: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project(tmp_path / "app", line))
    project(tmp_path / "app" / "web", "vite")
    with pytest.raises(ConfigurationError) as caught:
        chosen(".")
    assert f"as it is: {wanted}" in caught.value.message


def test_webpacks_server_is_told_to_open_no_browser(node: str, tmp_path: Path) -> None:
    """If its configuration says open, it asks the desktop, which ignores BROWSER on macOS and Windows."""
    folder = project(tmp_path / "app", "webpack serve --open")
    install(folder, ROWS["webpack"])
    words = plan("web", parse_service({"type": "webpack", "root": folder}, "$")).argv
    assert ("--no-open" in words, "--open" in words) == (True, False)


def test_a_configuration_can_read_what_npm_tells_of_the_package(node: str, tmp_path: Path) -> None:
    """Many configurations have ``define: {__VERSION__: JSON.stringify(process.env.npm_package_version)}``."""
    folder = project(tmp_path / "app", "node gen.js && vite", name="x", version="1.2.3")
    install(folder, VITE)
    made = plan("web", ViteService(root=folder, env={"npm_package_name": "own"}))
    for each in (made, *made.before):
        assert (each.env["npm_package_name"], each.env["npm_package_version"]) == ("own", "1.2.3")
    project(tmp_path / "app", "vite", name=1, version="1\0")
    assert not any(name.startswith("npm_") for name in plan("web", ViteService(root=folder)).env)


@pytest.mark.parametrize(("name", "field"), [("PORT", "port.preferred"), ("HOST", "port.host")])
def test_a_variable_that_we_set_ourselves_names_the_field_to_use(
    node: str, tmp_path: Path, name: str, field: str
) -> None:
    folder = project(tmp_path / "app", "react-scripts start")
    install(folder, ROWS["react-scripts"])
    service = parse_service({"type": "react-scripts", "root": folder, "env": {name: "1"}}, "$")
    with pytest.raises(ConfigurationError, match=f"the sidecar sets {name} itself.*use {field}"):
        plan("web", service)


def test_a_server_without_a_type_is_a_command_on_a_port_of_ours(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", "vitepress dev docs")
    name, service = chosen(folder)
    assert isinstance(service, CommandService)
    assert service.command[-1] == "vitepress dev docs --host {host} --port {port} --strictPort"
    assert (name, service.ready) == ("vitepress", TcpReady())
    assert service.port == PortConfig(preferred=5173)
    assert chosen(project(tmp_path / "other", "storybook dev -p 7"))[1].port == PortConfig(preferred=7)


def test_a_folder_with_a_space_is_quoted_in_the_command_to_use(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "an app", "make")
    with pytest.raises(ConfigurationError, match=f'sidecar dev "{folder}" -- npm run dev$'):
        chosen(folder)


def test_the_port_of_a_variable_is_ours_to_prefer(node: str, tmp_path: Path) -> None:
    """The script's PORT would override the port that was chosen, and the server would never be ready."""
    folder = project(tmp_path / "app", "PORT=3001 HOST=0.0.0.0 react-scripts start")
    install(folder, ROWS["react-scripts"])
    _, service = chosen(folder)
    made = plan("web", service)
    assert (made.env["PORT"], made.env["HOST"]) == ("{port}", "{host}")
    wish = port_config(service)
    assert wish is not None
    assert wish.preferred == 3001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"scripts": {"dev": "vite",}}', "package.json cannot be understood: JSON is malformed: .*. Correct it."),
        ("[]", "package.json cannot be understood: it is no object. Correct it."),
        (" " * FILE_BYTES_MOST + "{}", "package.json cannot be understood: it is too large. Correct it."),
    ],
    ids=["broken", "list", "huge"],
)
def test_a_package_json_that_is_broken_is_said_to_be(node: str, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "package.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        chosen(str(tmp_path))


def test_dev_names_the_scripts_of_other_names(node: str, tmp_path: Path) -> None:
    scripts = {
        "build": "nest build",
        "start:dev": "nest start --watch",
        "prestart:dev": "x",
        "web-dev": "y",
        "dev": "tauri dev",
    }
    folder = project(tmp_path / "app", scripts=scripts)
    wanted = f"Use: sidecar dev {folder} -- npm run start:dev or sidecar dev {folder} -- npm run web-dev$"
    with pytest.raises(ConfigurationError, match=wanted):
        chosen(folder)


def test_dev_says_what_it_looked_for_where_it_recognises_nothing(node: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", name="x")
    install(folder, VITE)  # it belongs to another tool, and Vite would find no pages
    with pytest.raises(ConfigurationError, match="no dev server is recognised"):
        chosen(folder)
    (tmp_path / "app" / "index.html").touch()
    assert chosen(folder)[0] == "vite"


@pytest.mark.parametrize(
    ("words", "type_", "args"),
    [
        ("vite", "vite", []),
        ("vite web --force", "vite", ["web", "--force"]),
        ("npx vite --force", "vite", ["--force"]),
        ("astro dev --verbose", "astro", ["--verbose"]),
        ("next dev web --turbopack", "next", ["web", "--turbopack"]),
        ("ng serve --configuration de", "angular", ["--configuration", "de"]),
    ],
)
def test_a_known_program_after_dashes_gets_its_port_by_itself(words: str, type_: str, args: list[str]) -> None:
    name, service = chosen("here", *words.split(), port=4000)
    assert isinstance(service, DevServer)
    assert (name, type(service), service.args) == (type_, SERVICE_TYPES[type_], args)
    assert (service.root, service.port.preferred) == ("here", 4000)


def test_its_own_flags_are_heeded_after_dashes() -> None:
    words = ["vite", "--mode", "staging", "-c", "x.ts", "--port", "3100", "--host", "--strictPort"]
    service = chosen(None, "env", "A=1", *words)[1]
    port = PortConfig(preferred=3100, host="0.0.0.0", strict=True)
    assert service == ViteService(args=[], mode="staging", config_file="x.ts", port=port, env={"A": "1"})


@pytest.mark.parametrize(
    "words",
    [["vite", "build"], ["next", "start"], ["npm", "run", "dev"], ["vite", "--port", "{port}"], ["node", "x.js"]],
)
def test_any_other_program_after_dashes_is_run_as_it_is(words: list[str]) -> None:
    service = chosen(None, *words)[1]
    assert isinstance(service, CommandService)
    assert service.command == words


def test_what_dev_passes_over_is_said(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = project(tmp_path / "app", "vite --host 0.0.0.0")
    (tmp_path / "app" / "vite.config.js").write_text("export default { server: { port } }", encoding="utf-8")
    assert chosen(folder)[1].port == PortConfig()
    assert "--host of the dev script is ignored" in capfd.readouterr().err
    chosen(folder, host="0.0.0.0", port=3)
    assert capfd.readouterr().err == ""


def test_a_port_of_vites_that_only_vite_can_read_is_passed_over_aloud(node: str, tmp_path: Path) -> None:
    """So does a service in an app, unless the service or Tauri's devUrl asks for another port."""
    folder = project(tmp_path / "app")
    install(folder, VITE)
    (tmp_path / "app" / "vite.config.js").write_text("export default { server: { port } }", encoding="utf-8")
    told: list[str] = []
    plan("web", ViteService(root=folder), told.append)
    [said] = told
    assert said.startswith("web: server.port of the vite.config is ignored, as it is no plain number. Name it")
    plan("web", ViteService(root=folder, port=PortConfig(preferred=3)), told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("url", "script", "port"),
    [
        ("http://localhost:1420", "vite", 1420),
        ("http://[::1]:1421/app", "vite", 1421),
        ("http://localhost:1420", "vite --port 3000", None),
        ("http://example.org:1420", "vite", None),
        (None, "vite", None),
    ],
)
def test_tauris_dev_url_names_the_port(url: str | None, script: str, port: int | None, tmp_path: Path) -> None:
    folder = project(tmp_path / "app", script)
    (tmp_path / "app" / "src-tauri").mkdir()
    config: dict[str, object] = {"build": {"devUrl": url}} if url else {}
    file = tmp_path / "app" / "src-tauri" / "tauri.conf.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert chosen(folder)[1].port == PortConfig(preferred=port)
    assert chosen(folder, port=7)[1].port == PortConfig(preferred=7)
    services = {"web": {"type": "vite", "root": ".."}}
    file.write_text(json.dumps(config | {"plugins": {"sidecar": {"services": services}}}), encoding="utf-8")
    assert chosen(folder)[1].port == PortConfig(preferred=port)
