"""A dev script is understood, or the reason why not is given. A folder's other files complete the picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.services.dev_script import (
    COMMAND_MOST,
    NotUnderstood,
    Start,
    Step,
    understand,
    understand_script,
    understand_words,
)
from sidecar.services.frameworks import SCRIPT, SCRIPTED, TABLE, VITE
from sidecar.services.package_json import LOCKS, find_manager, package_fault, read_package
from sidecar.services.project import heed, look, wanted_port
from sidecar.services.vite_config import ServerPort

ROWS = {row.name: row for row in TABLE}

SCRIPTS = {
    "dev": "vite",
    "start": "npm run dev",
    "staging": "vite serve --mode staging --port=3000 -c vite.staging.ts",
    "both": "concurrently vite 'node api.js'",
    "codegen": "node codegen.js",
    "all": "npm run codegen && npm run dev",
    "build": "vite build",
    "round": "npm run round",
    "hooked": "vite",
    "prehooked": "node prepare.js",
    "posthooked": "node tidy.js",
    "deep": "cross-env A=1 npm run hooked -- --mode test",
    "kit": "svelte-kit sync && vite dev",
    "docs": "astro dev --port 4000 --root docs",
    "web": "next dev web --turbopack -p 3001 -H 0.0.0.0",
}


def started(**fields: Any) -> Start:
    return Start(VITE, **fields)


@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("vite", started()),
        ("npm run dev", started()),
        ("npm start", started()),
        ("npm run -s dev", started()),
        ("SET A=b&& vite", started(env={"A": "b"})),
        ("node node_modules/vite/bin/vite.js --port 3000", started(port=3000)),
        (
            "node --inspect --max-old-space-size=8192 ./node_modules/.bin/vite",
            started(env={"NODE_OPTIONS": "--inspect --max-old-space-size=8192"}),
        ),
        ("PORT=3000 vite", started(env={"PORT": "3000"})),
        ("PORT=3000 next dev", Start(ROWS["next"], port=3000)),
        ("cross-env PORT=3000 next dev -p 4000", Start(ROWS["next"], port=4000)),
        ("npm run start", started()),
        ("pnpm dev", started()),
        ("pnpm run dev", started()),
        ("yarn dev", started()),
        ("bun run dev", started()),
        ("bun dev", started()),
        ("deno task dev", started()),
        ("npx vite dev", started()),
        ("npx --yes vite", started()),
        ("bunx vite", started()),
        ("pnpm exec vite", started()),
        ("yarn vite", started()),
        ("./node_modules/.bin/vite", started()),
        ("npm run staging", started(mode="staging", port=3000, config="vite.staging.ts")),
        ("npm run dev -- --mode test", started(mode="test")),
        ("npm run dev -- --mode 'a b'", started(mode="a b")),
        ("pnpm dev --host 0.0.0.0", started(host="0.0.0.0")),
        ("vite --host --force --strictPort --open", started(host="0.0.0.0", args=("--force",), strict=True)),
        ("vite --open /app --host=::1", started(host="::1")),
        ("vite front --base /x --logLevel=info", started(root="front", args=("--base", "/x", "--logLevel=info"))),
        (
            "vite web --mode staging --config vite.dev.config.js --port 3100",
            started(root="web", mode="staging", config="vite.dev.config.js", port=3100),
        ),
        ("cross-env A=1 B='c d' vite -m x", started(env={"A": "1", "B": "c d"}, mode="x")),
        ("A=1 vite", started(env={"A": "1"})),
        ("env A=1 vite", started(env={"A": "1"})),
        ("set A=1&& vite", started(env={"A": "1"})),
        ("export A='1' && vite", started(env={"A": "1"})),
        ("npm run all", started(steps=(Step("npm run codegen"),))),
        ("npm run codegen && vite", started(steps=(Step("npm run codegen"),))),
        ("npm run kit", started(steps=(Step("svelte-kit sync"),))),
        ("npm run hooked", started(steps=(Step("node prepare.js"),))),
        ("a 'x && y' && b; c > d 2>&1 && vite", started(steps=(Step("a 'x && y'"), Step("b; c > d 2>&1")))),
        ("npm run deep", started(mode="test", env={"A": "1"}, steps=(Step("node prepare.js", {"A": "1"}),))),
        ("npm run docs", Start(ROWS["astro"], port=4000, args=("--root", "docs"))),
        ("npm run web", Start(ROWS["next"], port=3001, host="0.0.0.0", args=("web", "--turbopack"))),
        ("react-router dev --mode x", Start(ROWS["react-router"], mode="x")),
        ("remix vite:dev", Start(ROWS["remix"])),
        ("remix dev", Start(ROWS["remix-classic"])),
        ("ng serve shop --configuration=de -o", Start(ROWS["angular"], args=("shop", "--configuration=de"))),
        ("A=1 parcel src/x.html", Start(ROWS["parcel"], args=("src/x.html",), env={"A": "1"})),
    ],
)  # fmt: skip
def test_a_command_that_starts_one_dev_server_is_understood(command: str, start: Start) -> None:
    assert understand(command, SCRIPTS) == start


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("npm run both", "the sidecar does not know concurrently"),
        ("vite & node api.js", "it starts something in the background"),
        ("node api.js & vite", "it starts something in the background"),
        ("vite | tee log", "only a shell understands its |"),
        ("vite || exit 1", "only a shell understands its |"),
        ("vite > log", "only a shell understands its >"),
        ("(vite)", "only a shell understands its ("),
        ('vite --mode "$(cat mode)"', "only a shell understands its $"),
        ("cd web && vite", "it changes the folder (cd web)"),
        ("bunx --bun vite", "bunx gets the option --bun"),
        ("npm --prefix front run vite", "the sidecar does not know npm"),
        ("pnpm --filter vite dev", "pnpm gets the option --filter"),
        ("deno run -A npm:vite", "the sidecar does not know deno"),
        ("A=$npm_package_version vite", "it uses variables"),
        ("set A=%B%&& vite", "it uses variables"),
        ("npm run dev -w web", "it runs a script of another package (dev -w web)"),
        ("npm run dev --workspace=web", "it runs a script of another package (dev --workspace=web)"),
        ("vite build --watch", "vite build is no dev server"),
        ("next start", "next start is no dev server"),
        ("ng build", "ng build is no dev server"),
        ("vite $FLAGS", "it uses variables"),
        ("vite %FLAGS%", "it uses variables"),
        ("echo $npm_package_version && vite", "it uses variables that npm sets"),
        ("echo %npm_package_version%&& vite", "it uses variables that npm sets"),
        ("vite --port", "--port has no number"),
        ("vite --port many", "--port has no number"),
        ("vite --mode", "--mode has no value"),
        ("vite --base", "--base has no value"),
        ("vite a b", "it has two root folders"),
        ("vite 'never closed", "a quote in it is never closed"),
        ("vite &&", "a command is missing in it"),
    ],
)
def test_a_dev_server_in_something_else_is_not_understood_and_named(command: str, reason: str) -> None:
    found = understand(command, SCRIPTS)
    assert isinstance(found, NotUnderstood)
    assert found.reason == reason
    assert found.server is not None


@pytest.mark.parametrize(
    "command", ["npm run codegen", "node api.js", "npm run round", "npm run nothing", "make", "npx", ""]
)
def test_what_has_no_dev_server_in_it_names_none(command: str) -> None:
    found = understand(command, SCRIPTS)
    assert isinstance(found, NotUnderstood)
    assert found.server is None


def test_scripts_that_run_each_other_come_to_an_end() -> None:
    scripts = {"a": "npm run b", "b": "npm run a", "prea": "npm run b"}
    found = understand_script("a", scripts)
    assert isinstance(found, NotUnderstood)
    assert found.reason == "its scripts run each other"


def test_words_of_a_command_line_need_no_shell() -> None:
    assert understand_words(["vite", "--mode", "a b"]) == started(mode="a b")
    assert isinstance(understand_words(["npm", "run", "dev"]), NotUnderstood)


# ── a folder ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def project(folder: Path, *files: str, **package: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    if package:
        (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return str(folder)


def test_the_dev_script_says_how_and_the_dependencies_name_it(tmp_path: Path) -> None:
    folder = project(
        tmp_path, scripts={"dev": "vite dev --mode x"}, devDependencies={"@sveltejs/kit": "3", "vite": "8"}
    )
    assert look(folder).start == Start(ROWS["sveltekit"], mode="x")


@pytest.mark.parametrize("name", ["start", "serve", "develop"])
def test_without_a_dev_script_another_one_that_starts_a_server_is_taken(tmp_path: Path, name: str) -> None:
    found = look(project(tmp_path, scripts={"build": "vite build", name: "ng serve x"}))
    assert (found.start, found.script) == (Start(ROWS["angular"], args=("x",)), name)


def test_a_start_script_for_production_does_not_hide_the_framework(tmp_path: Path) -> None:
    folder = project(tmp_path, scripts={"start": "next start"}, dependencies={"next": "16"})
    assert look(folder).start == Start(ROWS["next"])


@pytest.mark.parametrize(
    "line", ["tauri dev", "npm run tauri dev", "cargo tauri dev", "sidecar dev", "npx sidecar dev"]
)
def test_a_script_that_comes_back_to_us_says_nothing_of_the_server(tmp_path: Path, line: str) -> None:
    assert look(project(tmp_path, "vite.config.ts", scripts={"dev": line})).start == started()


def test_what_is_not_understood_comes_with_the_command_that_runs_it(tmp_path: Path) -> None:
    found = look(project(tmp_path, "pnpm-lock.yaml", "vite.config.js", scripts={"dev": "concurrently vite 'x'"}))
    assert found.start is None
    assert found.problem == NotUnderstood("the sidecar does not know concurrently", VITE)
    assert found.instead == ("", "pnpm dev")


@pytest.mark.parametrize("line", ["serve -l $PORT", "http-server -p ${PORT:-3000}", "py -m http.server %PORT%"])
def test_a_script_that_names_port_is_run_as_it_is(tmp_path: Path, line: str) -> None:
    assert look(project(tmp_path, scripts={"dev": line})).start == Start(SCRIPT, args=(line,))


@pytest.mark.parametrize("line", ["node server.js", "nodemon --watch src server.js", "A=1 tsx watch server.js"])
def test_a_script_whose_program_reads_port_is_run_as_it_is(tmp_path: Path, line: str) -> None:
    folder = project(tmp_path, scripts={"dev": line, "predev": "make"}, devDependencies={"vite": "8"})
    (tmp_path / "server.js").write_text("app.listen(process.env.PORT || 3000)", encoding="utf-8")
    assert look(folder).start == Start(SCRIPT, args=(f"make && {line}",))
    (tmp_path / "server.js").write_text("app.listen(3000) // no IMPORT", encoding="utf-8")
    assert look(folder).start is None


@pytest.mark.parametrize(
    ("name", "line", "row", "wanted", "said"),
    [
        ("docs:dev", "vitepress dev docs", "vitepress", "vitepress dev docs {}", {}),
        ("dev", "vitepress", "vitepress", "vitepress {}", {}),
        ("dev", "storybook dev -p 6007", "storybook", "storybook dev {}", {"port": 6007}),
        ("storybook", "storybook dev", "storybook", "storybook dev {}", {}),
        (
            "start",
            "node a.js && A=1 npx @11ty/eleventy --serve",
            "eleventy",
            "{0}A=1 npx @11ty/eleventy --serve {1}",
            {},
        ),
        ("start", "docusaurus start --host 0.0.0.0 --open", "docusaurus", "docusaurus start {}", {"host": "0.0.0.0"}),
        ("dev", "rspack serve -c x", "rspack", "rspack serve -c x {}", {}),
        ("start", "http-server dist -o -a :: -p=9", "http-server", "http-server dist {}", {"port": 9, "host": "::"}),
    ],
)
def test_a_server_whose_words_are_known_is_told_its_port_behind_its_script(
    tmp_path: Path, name: str, line: str, row: str, wanted: str, said: dict[str, Any]
) -> None:
    known = next(each for each in SCRIPTED if each.name == row)
    words = " ".join(known.listen)
    line_of_ours = wanted.format("node a.js && ", words) if "{0}" in wanted else wanted.format(words)
    found = look(project(tmp_path, scripts={name: line}))
    assert found.start == Start(known, args=(line_of_ours,), **said)


@pytest.mark.parametrize(
    "line", ["vitepress build", "vitepress & node x.js", "run-p vitepress", "vitepress | cat", "sh -c 'vitepress'"]
)
def test_arguments_that_would_not_reach_the_server_are_not_added(tmp_path: Path, line: str) -> None:
    assert look(project(tmp_path, scripts={"dev": line})).start is None


@pytest.mark.parametrize(
    "line", ["vitepress dev --port abc", "tsc && storybook dev -p 99999999", "docusaurus start --port"]
)
def test_a_port_that_is_none_behind_a_script_is_not_understood(tmp_path: Path, line: str) -> None:
    assert look(project(tmp_path, scripts={"dev": line})).start is None


def test_a_script_for_something_beside_the_app_does_not_hide_it(tmp_path: Path) -> None:
    scripts = {"docs:dev": "vitepress", "storybook": "storybook dev"}
    assert look(project(tmp_path, scripts=scripts, devDependencies={"vite": "8"})).start == started()


def test_a_script_that_only_npm_can_run_is_not_run_as_it_is(tmp_path: Path) -> None:
    found = look(project(tmp_path, scripts={"dev": "serve -l $PORT --name ${npm_package_name}"}))
    assert found.start is None
    assert found.instead == ("", "npm run dev")


@pytest.mark.parametrize(
    "line", ["node server.js & vite", "node server.js && vite build", "node server.js & node x.js"]
)
def test_a_program_that_reads_port_beside_another_is_not_taken_for_the_page(tmp_path: Path, line: str) -> None:
    (tmp_path / "server.js").write_text("listen(process.env.PORT)", encoding="utf-8")
    assert look(project(tmp_path, scripts={"dev": line})).start is None


def test_a_start_script_that_reads_port_counts_only_without_a_framework(tmp_path: Path) -> None:
    (tmp_path / "server.js").write_text("listen(process.env.PORT)", encoding="utf-8")
    scripts = {"start": "node server.js"}
    assert look(project(tmp_path, scripts=scripts)).start == Start(SCRIPT, args=("node server.js",))
    assert look(project(tmp_path, scripts=scripts, devDependencies={"vite": "8"})).start == started()


def test_a_folder_without_anything_says_nothing(tmp_path: Path) -> None:
    assert look(str(tmp_path)).start is None
    assert look(str(tmp_path / "nowhere")).start is None


@pytest.mark.parametrize("text", ["{", "[]", "\xff", '{"scripts": []}', '{"scripts": {"dev": 1}, "dependencies": []}'])
def test_a_package_json_of_another_shape_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text, encoding="latin-1")
    assert look(str(tmp_path)).start is None


@pytest.mark.skipif(sys.platform == "win32", reason="no fifo, no /dev/zero")
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_a_package_json_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "package.json"
    if kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif sys.platform != "win32":
        os.mkfifo(file)
    assert look(str(tmp_path)).start is None


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"scripts": {"dev": "vite"}}', encoding="utf-8-sig")
    assert look(str(tmp_path)).start == started()


# ── workspaces ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "end"), [("npm", ""), ("yarn", ""), ("pnpm", "\n"), ("pnpm", "\r\n")])
def test_a_workspaces_root_names_its_apps(tmp_path: Path, kind: str, end: str) -> None:
    patterns = ["apps/*", "docs", "!apps/old", "../out", "packages/*"]
    own: dict[str, object] = {"workspaces": {"npm": patterns, "yarn": {"packages": patterns}, "pnpm": None}[kind]}
    root = project(tmp_path, scripts={"dev": "turbo dev"}, devDependencies={"vite": "8"}, **own)
    if kind == "pnpm":
        lines = "".join(f"  - '{it}'  # x\n" for it in patterns)
        text = f"# y\npackages:\n{lines}\ncatalog:\n  - z\n"
        (tmp_path / "pnpm-workspace.yaml").write_text(text, encoding="utf-8", newline=end)
    project(tmp_path / "apps/web", scripts={"dev": "vite"})
    project(tmp_path / "apps/admin", "next.config.mjs", dependencies={"next": "16"})
    project(tmp_path / "packages/lib", scripts={"dev": "tsc --watch"})
    project(tmp_path / "docs", "astro.config.mjs", name="docs")
    assert look(root).apps == ("apps/admin", "apps/web", "docs")
    assert look(root).start is None


def test_a_workspaces_root_with_a_server_of_its_own_is_that_server(tmp_path: Path) -> None:
    root = project(tmp_path, "index.html", workspaces=["apps/*"], devDependencies={"vite": "8"})
    project(tmp_path / "apps/web", scripts={"dev": "vite"})
    assert look(root).start == started()


# ── a service ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_service_heeds_the_script_of_its_own_framework(tmp_path: Path) -> None:
    folder = project(tmp_path, scripts={"dev": "vite web --mode x"})
    assert heed(folder, VITE) == started(root="web", mode="x")


def test_a_service_of_another_framework_is_told_the_right_type(tmp_path: Path) -> None:
    folder = project(tmp_path, scripts={"dev": "astro dev"})
    found = heed(folder, VITE)
    assert found == NotUnderstood(f'the script dev of {folder} starts Astro, which has the type "astro"', ROWS["astro"])
    assert heed(folder, ROWS["astro"]) == Start(ROWS["astro"])


def test_a_service_whose_script_is_not_understood_says_so(tmp_path: Path) -> None:
    folder = project(tmp_path, "vite.config.js", scripts={"dev": "concurrently vite x"})
    found = heed(folder, VITE)
    assert isinstance(found, NotUnderstood)
    assert "does not know concurrently" in found.reason
    assert found.server is VITE


def test_a_server_around_vite_does_not_hinder_a_vite_that_was_asked_for(tmp_path: Path) -> None:
    assert heed(project(tmp_path, "vite.config.js", scripts={"dev": "serve -l $PORT"}), VITE) == started()
    assert heed(project(tmp_path, "vite.config.js", scripts={"dev": "make"}), VITE) == started()


def test_the_script_s_port_goes_before_the_configurations(tmp_path: Path) -> None:
    (tmp_path / "vite.config.ts").write_text("export default { server: { port: 1420, strictPort: true } }")
    (tmp_path / "other.ts").write_text("export default { server: { port: 7 } }")
    assert wanted_port(str(tmp_path), started(), VITE) == ServerPort(1420, strict=True)
    assert wanted_port(str(tmp_path), started(config="other.ts"), VITE) == ServerPort(7)
    assert wanted_port(str(tmp_path), started(port=3), VITE) == ServerPort(3)
    assert wanted_port(str(tmp_path), Start(ROWS["astro"]), ROWS["astro"]) == ServerPort()
    assert wanted_port(str(tmp_path.parent), started(root=tmp_path.name), VITE) == ServerPort(1420, strict=True)
    assert wanted_port(str(tmp_path / "nowhere"), started(), VITE) == ServerPort()


def test_tauris_template_is_strict_for_a_window_that_we_tell_the_port(tmp_path: Path) -> None:
    (tmp_path / "vite.config.ts").write_text("export default { server: { port: 1420, strictPort: true } }")
    (tmp_path / "src-tauri").mkdir()
    assert wanted_port(str(tmp_path), started(), VITE) == ServerPort(1420)


def test_reading_a_script_imports_nothing_dear() -> None:
    code = (
        "import sidecar.services.project, sys; print([it for it in ('shlex', 'json', 'pathlib') if it in sys.modules])"
    )
    made = subprocess.run([sys.executable, "-S", "-E", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert made.stdout.strip() == "[]"


# ── package managers ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("lock", "manager"), LOCKS.items())
def test_the_lock_file_tells_the_package_manager(tmp_path: Path, lock: str, manager: str) -> None:
    (tmp_path / lock).touch()
    front = tmp_path / "apps" / "front"
    front.mkdir(parents=True)
    assert find_manager(str(tmp_path), {}) == manager
    assert find_manager(str(front), {}) == manager


def test_a_lock_file_above_the_repository_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "yarn.lock").touch()
    (tmp_path / "app" / ".git").mkdir(parents=True)
    assert find_manager(str(tmp_path / "app"), {}) == "npm"


@pytest.mark.parametrize("number", ["70000", "9" * 5_000, "99999"])
@pytest.mark.parametrize("command", ["vite --port {}", "vite --port={}", "PORT={} next dev"])
def test_a_number_that_is_no_port_is_not_understood(command: str, number: str) -> None:
    found = understand(command.format(number), {})
    assert isinstance(found, NotUnderstood)
    assert "port" in found.reason


def test_scripts_that_name_each_other_are_searched_once() -> None:
    names = [f"s{number}" for number in range(40)]
    scripts = {name: f"run {' '.join(names)} |" for name in names}
    found = understand("s0 |", scripts)
    assert isinstance(found, NotUnderstood)
    assert found.server is None
    scripts["s39"] = "vite |"
    found = understand("s0 |", scripts)
    assert isinstance(found, NotUnderstood)
    assert found.server is VITE


def test_a_command_that_nobody_wrote_is_not_understood() -> None:
    found = understand("vite " + "x" * COMMAND_MOST, {})
    assert isinstance(found, NotUnderstood)
    assert "longer than" in found.reason


def test_a_manifest_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert read_package(str(tmp_path)) == {}
    assert "nested too deeply" in package_fault(str(tmp_path))


@pytest.mark.parametrize("members", ['["."]', '["./"]', '["**"]', '[".", "packages/*"]'])
def test_a_workspace_may_list_its_own_root(tmp_path: Path, members: str) -> None:
    """Otherwise the search for members would recurse into the members for ever."""
    (tmp_path / "package.json").write_text(f'{{"workspaces": {members}, "scripts": {{"build": "tsc"}}}}')
    (tmp_path / "packages" / "web").mkdir(parents=True)
    (tmp_path / "packages" / "web" / "package.json").write_text('{"scripts": {"dev": "vite"}}')
    found = look(str(tmp_path))
    assert found.start is None
    assert found.apps == (() if "/*" not in members and "**" not in members else ("packages/web",))


def test_scripts_that_all_name_each_other_are_looked_at_once(tmp_path: Path) -> None:
    """Trying each path through them would take 60 to the power of 5 steps. pytest's timeout ends a test that hangs."""
    every = " & ".join(f"npm run s{number}" for number in range(60))
    scripts = {**{f"s{number}": every for number in range(60)}, "dev": every}
    (tmp_path / "package.json").write_text(json.dumps({"scripts": scripts}))
    assert look(str(tmp_path)).problem is not None


@pytest.mark.parametrize(
    "line", ["vite \\", "vite --port 65536", f"vite --port {'9' * 5_000}", f"PORT={'9' * 5_000} next"]
)
def test_a_line_that_python_itself_refuses_is_not_understood(line: str) -> None:
    assert isinstance(understand(line, {}), NotUnderstood)
