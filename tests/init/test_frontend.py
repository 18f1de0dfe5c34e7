from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.init.frontend import LOCKS, ViteStart, find_manager, has_vite, run_words, understand

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
}


@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("vite", ViteStart()),
        ("npm run dev", ViteStart()),
        ("npm start", ViteStart()),
        ("npm run start", ViteStart()),
        ("pnpm dev", ViteStart()),
        ("pnpm run dev", ViteStart()),
        ("yarn dev", ViteStart()),
        ("bun run dev", ViteStart()),
        ("deno task dev", ViteStart()),
        ("npx vite dev", ViteStart()),
        ("pnpm exec vite", ViteStart()),
        ("yarn vite", ViteStart()),
        ("npm run staging", ViteStart(mode="staging", port=3000, config="vite.staging.ts")),
        ("npm run dev -- --mode test", ViteStart(mode="test")),
        ("pnpm dev --host 0.0.0.0", ViteStart(host=True)),
        ("vite --host --force --strictPort --open", ViteStart(host=True, args=["--force"])),
        ("vite front --base /x --logLevel=info", ViteStart(root="front", args=["--base", "/x", "--logLevel=info"])),
        ("cross-env A=1 B='c d' vite -m x", ViteStart(env={"A": "1", "B": "c d"}, mode="x")),
    ],
)
def test_a_command_that_starts_vite_and_nothing_else_is_understood(command: str, start: ViteStart) -> None:
    assert understand(command, SCRIPTS) == start


@pytest.mark.parametrize(
    "command",
    [
        "npm run both",
        "npm run all",
        "npm run hooked",
        "vite & node api.js",
        "vite | tee log",
        "npm run codegen && vite",
        "bunx --bun vite",
        "deno run -A npm:vite",
        "node node_modules/vite/bin/vite.js",
        "npm --prefix front run dev",
        "vite build --watch",
        "vite $FLAGS",
        "vite --port",
        "vite --port many",
        "vite --mode",
        "vite a b",
        "vite 'never closed",
    ],
)
def test_vite_beside_something_else_or_started_in_another_way_is_told_apart(command: str) -> None:
    assert understand(command, SCRIPTS) == "mixed"


@pytest.mark.parametrize(
    "command", ["npm run codegen", "node api.js", "npm run round", "npm run nothing", "make", "npx"]
)
def test_what_starts_no_vite_is_somebody_else_s(command: str) -> None:
    assert understand(command, SCRIPTS) == "other"


@pytest.mark.parametrize(("lock", "manager"), LOCKS.items())
def test_the_lock_file_tells_the_package_manager(tmp_path: Path, lock: str, manager: str) -> None:
    (tmp_path / lock).touch()
    front = tmp_path / "apps" / "front"
    front.mkdir(parents=True)
    assert find_manager(tmp_path, {}, None) == manager
    assert find_manager(front, {}, None) == manager


def test_a_lock_file_above_the_repository_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "yarn.lock").touch()
    (tmp_path / "app" / ".git").mkdir(parents=True)
    assert find_manager(tmp_path / "app", {}, None) == "npm"


def test_the_package_manager_field_is_heard_first_and_the_command_last(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert find_manager(tmp_path, {}, "pnpm dev") == "pnpm"
    (tmp_path / "yarn.lock").touch()
    assert find_manager(tmp_path, {}, "pnpm dev") == "yarn"
    assert find_manager(tmp_path, {"packageManager": "bun@1.2.3"}, "pnpm dev") == "bun"


def test_each_manager_has_its_words_to_run_a_script() -> None:
    words = [run_words(manager, "x") for manager in ("npm", "pnpm", "yarn", "bun", "deno")]
    assert words == ["npm run x", "pnpm x", "yarn x", "bun run x", "deno task x"]


def test_a_vite_project_asks_for_vite_or_configures_it(tmp_path: Path) -> None:
    assert has_vite(tmp_path, {"devDependencies": {"vite": "8"}})
    assert has_vite(tmp_path, {"dependencies": {"vite": "8"}})
    assert not has_vite(tmp_path, {"devDependencies": {"webpack": "5"}})
    (tmp_path / "vite.config.mts").touch()
    assert has_vite(tmp_path, {})
