"""How ``init`` understands a ``beforeDevCommand``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.init.dev_command.meaning import Quiet, Start, Unclear
from sidecar.commands.init.dev_command.understand import PARTS_MOST, understand
from sidecar.commands.init.dev_command.workspace import Package, package_at
from sidecar.services.dev_script import COMMAND_MOST

SCRIPTS = {
    "dev": "vite",
    "start": "npm run dev",
    "staging": "vite serve --mode staging --port=3000 -c vite.staging.ts",
    "both": "concurrently vite 'node api.js'",
    "codegen": "node codegen.js",
    "watch": "tsc -w",
    "all": "npm run codegen && npm run dev",
    "round": "npm run round",
    "hooked": "vite",
    "prehooked": "node prepare.js",
    "posted": "vite",
    "postposted": "echo over",
    "checked": "concurrently -k -n web,types 'npm:dev' 'npm:watch'",
    "parallel": "run-p dev watch",
    "serial": "run-s codegen dev",
    "synced": "svelte-kit sync && vite dev",
    "astro": "astro dev --port 4000 --root web",
    "elsewhere": "vite web --config vite.dev.config.js",
    "twice": "tsc && vite",
    "pretwice": "tsc",
}
FILES = {
    "api.js": "require('http').createServer(() => {}).listen(3000);",
    "codegen.js": "import fs from 'node:fs'; fs.writeFileSync('src/made.ts', 'export {}');",
    "prepare.js": "console.log('ready');",
    "bad.js": "import { createServer } from 'vite'; createServer({ mode: 'a' }); createServer({ mode: 'b' });",
    "codevite.ts": "import { createServer } from 'vite'; await createServer();",
}


def make(folder: Path, files: dict[str, str], scripts: dict[str, str] | None = None, **more: Any) -> Package:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "package.json").write_text(json.dumps({"scripts": scripts or {}, **more}))
    return package_at(folder, folder)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return make(tmp_path, FILES, SCRIPTS)


@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("vite", Start()),
        ("npm run dev", Start()),
        ("npm start", Start()),
        ("npm run start", Start()),
        ("npm run --silent dev", Start()),
        ("pnpm dev", Start()),
        ("pnpm run dev", Start()),
        ("yarn dev", Start()),
        ("bun run dev", Start()),
        ("bun dev", Start()),
        ("deno task dev", Start()),
        ("npm run dev web", Start(root="web")),
        ("./node_modules/.bin/vite --port 3000", Start(port=3000)),
        ("node_modules\\.bin\\vite", Start()),
        ("node --run dev", Start()),
        ("npx vite dev", Start()),
        ("npx --yes vite@8.3.8", Start()),
        ("pnpm exec vite", Start()),
        ("npm exec -- vite", Start()),
        ("yarn vite", Start()),
        ("bunx vite", Start()),
        ("bun x vite", Start()),
        ("node node_modules/vite/bin/vite.js --mode x", Start(mode="x")),
        ("npm run staging", Start(mode="staging", port=3000, config="vite.staging.ts")),
        ("npm run dev -- --mode test", Start(mode="test")),
        ("npm-run-all -p dev watch", Start(beside=["npm run watch"])),
        ("npm-run-all --parallel --race 'dev' 'wat*'", Start(beside=["npm run watch"])),
        ("concurrently 'npm:wat*' 'pnpm:dev'", Start(beside=["npm run watch"])),
        ("node --import tsx codevite.ts", Start()),
        ("pnpm dev --host 0.0.0.0", Start(host=True)),
        ("vite --host --force --strictPort --open", Start(host=True, args=["--force"])),
        ("vite front --base /x --logLevel=info", Start(root="front", args=["--base", "/x", "--logLevel=info"])),
        ("cross-env A=1 B='c d' vite -m x", Start(env={"A": "1", "B": "c d"}, mode="x")),
        ("A=1 npm run dev", Start(env={"A": "1"})),
        ("react-router dev --port 3000", Start(port=3000)),
        ("npm run astro", Start(type="astro", port=4000, args=["--root", "web"])),
        ("next dev -p 4000 -H 0.0.0.0 --turbopack", Start(type="next", port=4000, host=True, args=["--turbopack"])),
        ("npx ng serve --configuration test", Start(type="angular", args=["--configuration", "test"])),
        ("npm run checked", Start(beside=["npm run watch"])),
        ("npm run parallel", Start(beside=["npm run watch"])),
        ("npm run elsewhere", Start(script="elsewhere")),
    ],
)
def test_a_command_that_starts_one_dev_server_is_understood(package: Package, command: str, start: Start) -> None:
    meaning = understand(command, package)
    assert isinstance(meaning, Start), meaning
    meaning.readings = []
    assert meaning == start


@pytest.mark.parametrize(
    ("command", "steps", "script"),
    [
        ("npm run synced", ["svelte-kit sync"], "synced"),
        ("pnpm synced", ["svelte-kit sync"], "synced"),
        ("svelte-kit sync && vite dev", ["svelte-kit sync"], None),
        ("npm run codegen && npm run dev", ["npm run codegen"], None),
        ("npm run all", ["npm run codegen"], "all"),
        ("npm run serial", ["npm run codegen"], "serial"),
        ("npm run hooked", ["npm run prehooked"], "hooked"),
        ("docker compose up -d && vite", ["docker compose up -d"], None),
        ('echo "$HOME/*" > file && vite', ['echo "$HOME/*" > file'], None),
        ("echo 'a && b' 2>&1; vite", ["echo 'a && b' 2>&1"], None),
    ],
)
def test_what_runs_to_its_end_before_vite_is_a_step(
    package: Package, command: str, steps: list[str], script: str | None
) -> None:
    assert understand(command, package) == Start(steps=steps, script=script)


@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("export A=1 && vite", Start(env={"A": "1"})),
        ("set A=1&& npm run dev", Start(env={"A": "1"})),
        ("npm run moved", Start(folder=Path("web"))),
        ("cd web && vite --mode x", Start(mode="x", folder=Path("web"))),
        ("cd web && npm run dev", Start(folder=Path())),  # npm goes up to the package
        ("cd 'web' && cd .. && vite", Start()),
    ],
)
def test_variables_and_folders_before_the_server_are_its_own(tmp_path: Path, command: str, start: Start) -> None:
    (tmp_path / "web").mkdir()
    package = make(tmp_path, FILES, {**SCRIPTS, "moved": "cd web && vite"})
    if start.folder is not None:
        start.folder = tmp_path / start.folder
    assert understand(command, package) == start


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("cd $X && vite", "a folder that only the shell knows"),
        ("cd web && tsc && vite", "has steps, and changes the folder"),
        ("tsc && npm run synced", "steps within steps"),
        ("npm run both", "api.js is not understood: it uses http.createServer"),
        ("vite & node api.js", "it uses http.createServer"),
        ("vite & tsc -w", "starts 'tsc -w' beside the dev server"),
        ("vite | tee log", "needs a shell for |"),
        ("vite && echo over", "something follows it"),
        ("vite & vite", "two dev servers"),
        ("bunx --bun vite", "not understood"),
        ("deno run -A npm:vite", "is not understood"),
        ("vite build --watch", "is no dev server"),
        ("vite preview", "is no dev server"),
        ("vite $FLAGS", "has a variable in it"),
        ("vite --port", "--port has no number"),
        ("vite --port many", "--port has no number"),
        ("vite --mode", "--mode has no value"),
        ("vite a b", "two root folders"),
        ("vite 'never closed", "never closed"),
        ("npm run posted", "postposted"),
        ("npm run synced -- --mode x", "gets arguments"),
        ("npm run round", "goes through more than"),
        ("npm run nothing", "there is no script nothing in"),
        ("npm run", "names no script"),
        ("npm", "is not understood"),
        ("deno dev", "is not understood"),
        ("deno task nothing", "runs what deno.json says"),
        ("./test", "may start a server"),
        ("npm run dev --workspaces", "npm keeps --workspaces for itself"),
        ("npm run dev -w", "lacks a value at its end"),
        (" && ", "runs nothing"),
        ("vite \\", "never closed"),
        ("A=1 npm run synced", "variables for more than one step"),
        ("npm run twice", "steps within steps"),
        ("npm-run-all a -p b", "has groups"),
        ("run-p --aggregate-output a", "run-p is given --aggregate-output"),
        ("run-p", "names no script"),
        ("concurrently --restart-tries 3 vite", "concurrently is given --restart-tries"),
        ("node bad.js", "starts Vite in more than one way"),
        ("npx", "is not understood"),
        ("make dev", "what the Makefile says"),
        ("turbo dev", "turbo.json"),
        ("nx run web:serve", "runs a target"),
        ("vp dev", "may start a server"),
        ("cargo run -p api", "may start a server"),
        ("prisma studio", "may start a server"),
        ("git instaweb", "may start a server"),
        ("start-server-and-test dev 5173 test", "starts a server and waits"),
        ("node api.js", "it uses http.createServer"),
        ("node gone.js", "there is no"),
        ("node -e 'x'", "is not understood"),
        ("tsx watch codegen.js", "is not understood"),
        ("pnpm --filter web dev", "names a package that cannot be found for certain"),
        ("python -m http.server", "may start a server"),
        ("npm run dev\nnode api.js", "more than one line"),
    ],
)
def test_what_may_start_a_server_is_told_with_its_reason(package: Package, command: str, reason: str) -> None:
    meaning = understand(command, package)
    assert isinstance(meaning, Unclear), meaning
    assert reason in meaning.reason


@pytest.mark.parametrize(
    "command",
    [
        "npm run codegen",
        "npm run watch",
        "node codegen.js",
        "tsx codegen.js",
        "node --no-warnings ./codegen.js",
        "node codegen",
        "echo hello && cargo build",
        "tsc -w & npm run codegen",
        "wasm-pack build --target web",
        "rimraf dist && mkdir -p dist && cp a b",
        "npx prisma generate",
        "A=1",
        "echo $HOME",
    ],
)
def test_what_surely_starts_no_server_is_told_apart(package: Package, command: str) -> None:
    assert understand(command, package) == Quiet()


# ── workspaces ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def workspace(tmp_path: Path) -> Package:
    (tmp_path / "web").mkdir()
    make(tmp_path / "web", {}, {"dev": "vite --mode web"}, name="@app/web")
    (tmp_path / "packages" / "api").mkdir(parents=True)
    make(tmp_path / "packages" / "api", {}, {"dev": "node api.js"}, name="api")
    return make(tmp_path, {}, {"dev": "pnpm --filter @app/web dev"}, workspaces=["web", "packages/*"])


@pytest.mark.parametrize(
    "command",
    [
        "npm run dev",
        "npm run dev -w web",
        "npm run dev --workspace=@app/web",
        "npm --workspace @app/web run dev",
        "npm --prefix web run dev",
        "pnpm --filter @app/web dev",
        "pnpm --filter ./web run dev",
        "pnpm -F @app/web dev",
        "pnpm -C web dev",
        "yarn workspace @app/web dev",
        "yarn workspace @app/web run dev",
        "yarn --cwd web dev",
        "bun --filter @app/web dev",
        "bun run --cwd web dev",
        "pnpm --dir web exec vite --mode web",
    ],
)
def test_a_command_is_followed_into_a_package_of_the_workspace(workspace: Package, command: str) -> None:
    assert understand(command, workspace) == Start(mode="web", folder=workspace.folder / "web")


def test_a_pnpm_workspace_has_its_packages_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "apps" / "web").mkdir(parents=True)
    make(tmp_path / "apps" / "web", {}, {"dev": "vite"}, name="web")
    package = make(
        tmp_path, {"pnpm-workspace.yaml": "# ours\npackages:\n  - 'apps/*' # all\n  - \"!x\"\ncatalog:\n  - y\n"}
    )
    assert understand("pnpm --filter web dev", package) == Start(folder=tmp_path / "apps" / "web")


def test_a_workspace_may_say_its_packages_in_a_table_and_none_elsewhere(tmp_path: Path) -> None:
    for name in ("web", "x/node_modules/y"):
        (tmp_path / name).mkdir(parents=True)
        make(tmp_path / name, {}, {"dev": "vite"}, name=name.rpartition("/")[2])
    package = make(tmp_path, {}, workspaces={"packages": ["./web/", "x/**", "../out", "!no", ""]})
    assert understand("pnpm --filter web dev", package) == Start(folder=tmp_path / "web")
    assert isinstance(understand("pnpm --filter y dev", package), Unclear)


@pytest.mark.parametrize("name", ["web...", "./x", "*", "@app/*", "api", "nothing"])
def test_a_filter_that_may_name_more_than_one_package_is_not_followed(workspace: Package, name: str) -> None:
    assert isinstance(understand(f"pnpm --filter {name} dev", workspace), Unclear)


def test_a_folder_whose_name_is_too_long_has_no_package(tmp_path: Path) -> None:
    """Path.is_file raises there."""
    package = make(tmp_path, {})
    long = "x" * 300
    assert isinstance(understand(f"npm --prefix {long} run dev", package), Unclear)
    assert isinstance(understand(f"node {long}.js", package), Unclear)
    assert understand(f"cd {long} && vite", package) == Start(folder=tmp_path / long)


def test_scripts_that_run_each_other_in_every_order_are_given_up_soon(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(30)]
    for operator in (" && ", " & "):
        package = make(tmp_path, {name: operator.join(f"npm run {each}" for each in names) for name in names})
        assert isinstance(understand("npm run s0", package), Unclear)


@pytest.mark.parametrize("command", ["npm run round", "npm run once", "run-s round"])
def test_scripts_that_run_each_other_in_turn_end(tmp_path: Path, command: str) -> None:
    """``run-s`` and ``npm run`` each add one level. The bound must hold whichever comes last."""
    package = make(tmp_path, {}, {"round": "run-s round", "once": "npm run round"})
    meaning = understand(command, package)
    assert isinstance(meaning, Unclear)
    assert "goes through more than 8 scripts" in meaning.reason


def test_a_command_that_nobody_wrote_is_not_followed(tmp_path: Path) -> None:
    package = make(tmp_path, {})
    for command in ("tsc " + "x" * COMMAND_MOST, "tsc && " * (PARTS_MOST + 1) + "vite"):
        meaning = understand(command, package)
        assert isinstance(meaning, Unclear)
        assert len(meaning.reason) < 200
