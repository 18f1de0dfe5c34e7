"""``sidecar init`` on projects of every kind: its changes, what it leaves as it is, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.commands.init import binary, command, crate, write
from sidecar.commands.init.command import run
from sidecar.commands.init.edit import json5 as edit_json5
from sidecar.commands.init.found import NotUnderstoodError
from sidecar.commands.init.plan import Edit, Plan, make_plan
from sidecar.errors import ConfigurationError
from sidecar.host import machine
from sidecar.tauri import json5
from tests.commands.init.support import CAPABILITY, CARGO, CONFIG, MAIN, PACKAGE, ROOT, contents, make
from tests.support.command import MODULE

CRATE = str(ROOT / "tauri-integration" / "plugin")

WITH_BACKEND = CONFIG.replace(
    '"app": {',
    '"plugins": { "sidecar": { "services": { "api": { "type": "command", "command": ["api"] } } } },\n  "app": {',
)
"""A release starts a program."""


def native(path: str) -> str:
    """Return the path as this system spells it, which messages show."""
    return str(Path(path))


def plan_of(folder: Path, plugin: str | None = CRATE) -> Plan:
    return make_plan(folder, plugin)


def apply(folder: Path, plugin: str | None = CRATE) -> Plan:
    """Run init; assert that a second run has nothing to do."""
    plan = plan_of(folder, plugin)
    write.write(plan.edits, plan.home)
    before = contents(folder)
    assert plan_of(folder, plugin).edits == []
    assert contents(folder) == before
    return plan


def changed(folder: Path, before: dict[str, bytes]) -> set[str]:
    after = contents(folder)
    assert set(before) <= set(after)
    return {name for name in after if after[name] != before.get(name)}


def reasons(folder: Path) -> str:
    """Return why init refuses; assert that it changes nothing."""
    before = contents(folder)
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(folder)
    assert contents(folder) == before
    assert caught.value.steps
    return "\n".join(caught.value.reasons)


def read(path: Path) -> Any:
    text = path.read_bytes().decode().removeprefix("\ufeff")
    return tomllib.loads(text) if path.suffix == ".toml" else json5.value_of(json5.parse(text))


# ── what it does ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_changes_what_the_plugin_needs_and_nothing_else(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = contents(folder)
    plan = apply(folder)
    program = binary.place_in(folder / "src-tauri", "binaries/test-sidecar").relative_to(folder).as_posix()
    assert changed(folder, before) == {
        "package.json",
        "src-tauri/.gitignore",
        "src-tauri/Cargo.toml",
        "src-tauri/capabilities/default.json",
        "src-tauri/src/main.rs",
        "src-tauri/tauri.conf.json",
        program,
    }
    inner = folder / "src-tauri"
    config = read(inner / "tauri.conf.json")
    assert config["build"] == {"devUrl": "http://localhost:1420", "frontendDist": "../dist"}
    assert config["bundle"] == {"active": True, "icon": ["icons/icon.png"], "externalBin": ["binaries/test-sidecar"]}
    assert config["plugins"]["sidecar"]["services"] == {
        "web": {"type": "vite", "root": "..", "port": {"preferred": 1420}}
    }
    dependencies = read(inner / "Cargo.toml")["dependencies"]
    assert list(dependencies) == ["tauri", "tauri-plugin-sidecar", "serde_json"]
    assert (inner / dependencies["tauri-plugin-sidecar"]["path"]).resolve() == Path(CRATE)
    assert read(inner / "capabilities" / "default.json")["permissions"] == ["core:default", "sidecar:default"]
    assert read(folder / "package.json")["scripts"]["tauri:dev"] == "tauri dev --no-dev-server-wait"
    assert "/binaries/" in (inner / ".gitignore").read_text().splitlines()
    assert (folder / program).read_bytes() == b""
    assert os.access(folder / program, os.X_OK)
    assert plan.start == "npm run tauri:dev"
    assert any("placeholder" in note and "build/dev.py freeze --out" in note for note in plan.notes)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_byte_order_marks_and_tabs_stay(tmp_path: Path, end: str, bom: str) -> None:
    def other(text: str) -> str:
        return bom + text.replace("  ", "\t").replace("\n", end)

    texts = {
        "package.json": other(PACKAGE),
        "src-tauri/Cargo.toml": bom + CARGO.replace("\n", end),
        "src-tauri/capabilities/default.json": other(CAPABILITY),
        "src-tauri/src/main.rs": bom + MAIN.replace("\n", end),
        "src-tauri/tauri.conf.json": other(CONFIG),
        "src-tauri/.gitignore": f"/target{end}",
    }
    folder = make(tmp_path, **texts)
    apply(folder)
    for name in texts:
        text = (folder / name).read_bytes().decode()
        assert text.startswith("\ufeff") == (bool(bom) and not name.endswith("ignore"))
        assert text.count(end) == text.count("\n")
        if name.endswith(".json"):
            assert "\n  " not in text


def test_comments_of_json5_stay_and_what_is_new_is_written_alike(tmp_path: Path) -> None:
    config = """\
// what Tauri reads
{
  identifier: 'dev.sidecar.test', // ours
  build: {
    // the dev server
    beforeDevCommand: 'npm run dev',
    devUrl: 'http://localhost:1420', /* Vite's */
  },
  app: {windows: [{title: 'test'}]},
}
"""
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": None, "src-tauri/tauri.conf.json5": config})
    apply(folder)
    after = (folder / "src-tauri" / "tauri.conf.json5").read_text()
    gone = "    beforeDevCommand: 'npm run dev',\n"
    new = """\
  bundle: {
    externalBin: ['binaries/test-sidecar']
  },
  plugins: {
    sidecar: {
      services: {
        web: {
          type: 'vite',
          root: '..',
          port: {
            preferred: 1420
          }
        }
      }
    }
  },
}
"""
    assert after == config.replace(gone, "").removesuffix("}\n") + new


def test_a_tauri_toml_is_edited_and_its_comments_stay(tmp_path: Path) -> None:
    config = """\
identifier = "dev.sidecar.test" # ours

[build]
beforeDevCommand = { script = "pnpm dev", cwd = "..", wait = false }
devUrl = "http://127.0.0.1:3000"

[[app.windows]]
label = "main"
"""
    texts = {"src-tauri/tauri.conf.json": None, "src-tauri/Tauri.toml": config, "pnpm-lock.yaml": ""}
    folder = make(tmp_path / "app", **texts)
    plan = apply(folder)
    after = read(folder / "src-tauri" / "Tauri.toml")
    assert after["build"] == {"devUrl": "http://127.0.0.1:3000"}
    assert after["plugins"]["sidecar"]["services"]["web"]["root"] == ".."
    assert after["app"]["windows"] == [{"label": "main"}]
    assert "# ours" in (folder / "src-tauri" / "Tauri.toml").read_text()
    assert plan.start == "pnpm tauri:dev"


@pytest.mark.parametrize(
    ("scripts", "command", "service", "kept"),
    [
        (
            '"dev": "vite --port 3000 --mode staging"',
            "npm run dev",
            {"port": {"preferred": 1420}, "mode": "staging"},
            False,
        ),
        ('"dev": "A=1 vite --force"', "npm run dev", {"args": ["--force"], "env": {"A": "1"}}, False),
        ('"dev": "vite -c other.ts"', "npm run dev", {"configFile": "other.ts"}, False),
        ('"watch": "tsc -w"', "npm run watch", {}, True),
    ],
)
def test_dev_command_becomes_the_service_or_stays_if_it_is_something_else(
    tmp_path: Path, scripts: str, command: str, service: dict[str, Any], kept: bool
) -> None:
    texts = {
        "package.json": PACKAGE.replace('"dev": "vite"', scripts),
        "src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", command),
    }
    folder = make(tmp_path, **texts)
    plan = apply(folder)
    config = read(folder / "src-tauri" / "tauri.conf.json")
    assert ("beforeDevCommand" in config["build"]) == kept
    assert any("beforeDevCommand stays" in note for note in plan.notes) == kept
    wanted = {"type": "vite", "root": "..", "port": {"preferred": 1420}, **service}
    assert config["plugins"]["sidecar"]["services"]["web"] == wanted


def web_of(folder: Path) -> dict[str, Any]:
    service: dict[str, Any] = read(folder / "src-tauri" / "tauri.conf.json")["plugins"]["sidecar"]["services"]["web"]
    return service


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ({"script": "npm run dev", "cwd": ".."}, ".."),
        ({"script": "npm run dev"}, ".."),
        ({"script": "npm run dev", "cwd": "../web"}, "../web"),
        ({"script": "npx vite site", "cwd": "../web"}, "../web/site"),
    ],
)
def test_cwd_is_relative_to_the_configurations_folder_as_for_the_cli(
    tmp_path: Path, given: dict[str, str], root: str
) -> None:
    config = CONFIG.replace('"npm run dev"', json.dumps(given))
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config, "web/package.json": PACKAGE})
    apply(folder)
    assert web_of(folder)["root"] == root
    assert "beforeDevCommand" not in read(folder / "src-tauri" / "tauri.conf.json")["build"]


@pytest.mark.parametrize(
    ("scripts", "command", "service"),
    [
        ('"dev": "svelte-kit sync && vite dev"', "npm run dev", {}),
        ('"dev": "vite", "predev": "tsc"', "npm run dev", {}),
        ('"dev": "vite x -c y"', "npm run dev", {}),
        ('"dev": "vite", "tauri:web": "tsc && vite"', "npm run tauri:web", {"script": "tauri:web"}),
        ('"dev": "vite --force", "app": "vite"', "npm run app", {"args": []}),
        ('"dev": "node dev.js"', "npx vite", {"args": []}),
        ('"dev": "vite", "app": "vite"', "npm run app", {}),
        ('"dev": "node dev.js"', "npm run dev", {"args": []}),
    ],
)
def test_the_service_heeds_the_script_that_was_run_or_none(
    tmp_path: Path, scripts: str, command: str, service: dict[str, Any]
) -> None:
    texts = {
        "package.json": PACKAGE.replace('"dev": "vite"', scripts),
        "dev.js": "require('child_process').exec('npx vite');",
        "src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", command),
    }
    folder = make(tmp_path, **texts)
    apply(folder)
    assert "beforeDevCommand" not in read(folder / "src-tauri" / "tauri.conf.json")["build"]
    assert web_of(folder) == {"type": "vite", "root": "..", "port": {"preferred": 1420}, **service}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("npm run codegen && npm run dev", {"script": "npm run codegen", "wait": True}),
        (
            {"script": "cargo build -p x && npm run dev", "cwd": ".."},
            {"script": "cargo build -p x", "cwd": "..", "wait": True},
        ),
        ("tsc --pretty 'a*' && vite", {"script": "tsc --pretty 'a*'", "wait": True}),
        ("npm run deep", {"script": "npx tsc $A", "wait": True}),
        ("npx concurrently vite 'tsc -w'", "npx tsc -w"),
        ("npm run both", "npm run watch"),
    ],
)
def test_what_is_no_server_stays_before_or_beside_the_service(tmp_path: Path, given: Any, left: Any) -> None:
    scripts = (
        '"dev": "vite", "watch": "tsc -w", "both": "run-p dev watch", "codegen": "node gen.js", '
        '"deep": "tsc $A && node dev.js"'
    )
    texts = {
        "package.json": PACKAGE.replace('"dev": "vite"', scripts),
        "gen.js": "",
        "dev.js": "require('child_process').exec('npx vite');",
        "src-tauri/tauri.conf.json": CONFIG.replace('"npm run dev"', json.dumps(given)),
    }
    folder = make(tmp_path, **texts)
    apply(folder)
    assert read(folder / "src-tauri" / "tauri.conf.json")["build"]["beforeDevCommand"] == left
    assert web_of(folder)["type"] == "vite"


@pytest.mark.parametrize(
    ("dev", "package", "service"),
    [
        ("astro dev", "astro", {"type": "astro"}),
        ("nuxt dev --port 3001", "nuxt", {"type": "nuxt"}),
        ("next dev --turbopack", "next", {"type": "next", "args": ["--turbopack"]}),
        ("ng serve", "@angular/cli", {"type": "angular"}),
        ("react-router dev", "@react-router/dev", {"type": "vite"}),
    ],
)
def test_another_framework_gets_its_own_type(tmp_path: Path, dev: str, package: str, service: dict[str, Any]) -> None:
    text = PACKAGE.replace('"vite": "^8"', f'"{package}": "*"').replace('"dev": "vite"', f'"dev": "{dev}"')
    folder = make(tmp_path, **{"package.json": text})
    apply(folder)
    assert web_of(folder) == {"root": "..", "port": {"preferred": 1420}, **service}


def test_without_a_dev_command_the_framework_of_the_files_is_written(tmp_path: Path) -> None:
    texts = {
        "package.json": PACKAGE.replace('"vite": "^8"', '"astro": "5"').replace('"dev": "vite",', ""),
        "src-tauri/tauri.conf.json": CONFIG.replace('    "beforeDevCommand": "npm run dev",\n', ""),
    }
    folder = make(tmp_path, **texts)
    apply(folder)
    assert web_of(folder)["type"] == "astro"


def test_a_front_end_in_rust_has_no_package_json_and_gets_none(tmp_path: Path) -> None:
    texts = {
        "package.json": None,
        "Trunk.toml": "",
        "src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "trunk serve"),
    }
    folder = make(tmp_path, **texts)
    plan = apply(folder)
    assert web_of(folder) == {"type": "trunk", "root": "..", "port": {"preferred": 1420}}
    assert plan.start == "cargo tauri dev --no-dev-server-wait"
    assert not (folder / "package.json").exists()


def test_the_port_goes_into_the_variables_that_a_script_told_it_by(tmp_path: Path) -> None:
    script = "require('child_process').spawn('npx', ['vite'], { env: { ...process.env, VITE_PORT: port, A: 'b' } });"
    texts = {"package.json": PACKAGE.replace('"dev": "vite"', '"dev": "node dev.js"'), "dev.js": script}
    folder = make(tmp_path, **texts)
    apply(folder)
    assert web_of(folder)["env"] == {"A": "b", "VITE_PORT": "{port}"}


def test_a_command_that_is_waited_for_is_no_server(tmp_path: Path) -> None:
    given = {"script": "make assets", "wait": True}
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace('"npm run dev"', json.dumps(given))})
    plan = apply(folder)
    assert read(folder / "src-tauri" / "tauri.conf.json")["build"]["beforeDevCommand"] == given
    assert any("'make assets' has ended when the app starts" in note for note in plan.notes)


def test_https_dev_url_is_accepted_and_the_certificates_needs_are_said(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace("http://local", "https://local")})
    plan = apply(folder)
    assert web_of(folder)["port"] == {"preferred": 1420}
    assert any("so the certificate has to name 127.0.0.1" in note for note in plan.notes)


def test_a_host_is_not_taken_over_and_that_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"package.json": PACKAGE.replace('"vite"', '"vite --host"', 1)})
    plan = apply(folder)
    assert any("--host is not taken over" in note for note in plan.notes)


def test_without_a_dev_url_the_cli_is_told_to_serve_nothing(tmp_path: Path) -> None:
    folder = make(
        tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace('    "devUrl": "http://localhost:1420",\n', "")}
    )
    apply(folder)
    assert read(folder / "package.json")["scripts"]["tauri:dev"] == "tauri dev --no-dev-server"
    config = read(folder / "src-tauri" / "tauri.conf.json")
    assert config["plugins"]["sidecar"]["services"]["web"] == {"type": "vite", "root": ".."}


def test_a_package_without_scripts_and_without_the_cli_gets_cargo_s(tmp_path: Path) -> None:
    package = '{"devDependencies": {"vite": "8"}}\n'
    config = CONFIG.replace("npm run dev", "npx vite")
    folder = make(tmp_path, **{"package.json": package, "src-tauri/tauri.conf.json": config})
    apply(folder)
    assert read(folder / "package.json")["scripts"] == {"tauri:dev": "cargo tauri dev --no-dev-server-wait"}


def test_a_script_that_is_there_stays_and_its_fault_is_told(tmp_path: Path) -> None:
    package = PACKAGE.replace('"tauri": "tauri"', '"tauri:dev": "tauri dev"')
    folder = make(tmp_path, **{"package.json": package})
    plan = apply(folder)
    assert (folder / "package.json").read_text() == package
    assert any('script "tauri:dev" exists and stays' in note for note in plan.notes)


def test_one_capability_that_may_control_suffices_others_stay_untouched(tmp_path: Path) -> None:
    texts = {
        "src-tauri/capabilities/default.json": None,
        "src-tauri/capabilities/a.json": CAPABILITY.replace('"main"', '"other"').replace("default", "a", 1),
        "src-tauri/capabilities/b.toml": 'identifier = "b"\nwindows = ["ma*"]\npermissions = ["sidecar:control"]\n',
    }
    folder = make(tmp_path, **texts)
    before = contents(folder)
    apply(folder)
    assert not {name for name in changed(folder, before) if "capabilities" in name}


@pytest.mark.parametrize("form", ['{{"capabilities": [{}]}}', "[{}]"])
def test_a_capability_in_a_file_of_several_is_found(tmp_path: Path, form: str) -> None:
    folder = make(tmp_path, **{"src-tauri/capabilities/default.json": form.format(CAPABILITY)})
    apply(folder)
    found = read(folder / "src-tauri" / "capabilities" / "default.json")
    (capability,) = found["capabilities"] if isinstance(found, dict) else found
    assert capability["permissions"] == ["core:default", "sidecar:default"]


def test_an_app_without_a_capability_is_told_of_the_permission(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/capabilities/default.json": None})
    plan = apply(folder)
    assert any('allow it "sidecar:default"' in note for note in plan.notes)


def test_a_section_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    section = '"plugins": { "sidecar": { "services": { "front": { "type": "vite", "root": ".." } } } },\n  "build": {'
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace('"build": {', section)})
    apply(folder)
    config = read(folder / "src-tauri" / "tauri.conf.json")
    assert list(config["plugins"]["sidecar"]["services"]) == ["front"]
    assert "beforeDevCommand" not in config["build"]


def test_project_set_up_by_hand_is_finished_whatever_its_dev_command(tmp_path: Path) -> None:
    service = '{ "type": "command", "command": ["my-server", "{port}"], "port": {} }'
    section = f'"plugins": {{ "sidecar": {{ "page": "web", "services": {{ "web": {service} }} }} }},\n  "build": {{'
    config = CONFIG.replace('"build": {', section).replace("npm run dev", "make assets")
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config, "package.json": '{"scripts": {}}\n'})
    plan = apply(folder)
    assert read(folder / "src-tauri" / "tauri.conf.json")["build"]["beforeDevCommand"] == "make assets"
    assert any("If it starts a dev server, remove it" in note for note in plan.notes)
    assert binary.place_in(folder / "src-tauri", "binaries/test-sidecar").exists()


def test_an_old_tauri_in_the_lock_is_told(tmp_path: Path) -> None:
    lock = '[[package]]\nname = "tauri"\nversion = "2.10.0"\n'
    plan = apply(make(tmp_path, **{"src-tauri/Cargo.lock": lock}))
    assert any("Cargo.lock has tauri 2.10.0" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("plugin", "wanted"),
    [
        ("0.1", "0.1"),
        ("^1.2.3-beta.1", "^1.2.3-beta.1"),
        ("https://example.com/x/y", {"git": "https://example.com/x/y"}),
        ("git@example.com:x/y.git", {"git": "git@example.com:x/y.git"}),
    ],
)
def test_the_crate_comes_from_where_it_is_said(tmp_path: Path, plugin: str, wanted: Any) -> None:
    folder = make(tmp_path)
    plan = plan_of(folder, plugin=plugin)
    write.write(plan.edits, plan.home)
    assert read(folder / "src-tauri" / "Cargo.toml")["dependencies"]["tauri-plugin-sidecar"] == wanted


def test_a_crate_that_a_clone_can_get_brings_the_helper_of_the_build(tmp_path: Path) -> None:
    folder = make(tmp_path)
    plan = plan_of(folder, plugin="0.1.0")
    write.write(plan.edits, plan.home)
    inner = folder / "src-tauri"
    assert read(inner / "Cargo.toml")["build-dependencies"]["tauri-sidecar-build"] == "0.1.0"
    called = "fn main() {\n    tauri_sidecar_build::place_binary();\n    tauri_build::build()\n}\n"
    assert (inner / "build.rs").read_text() == called
    assert plan_of(folder, plugin="0.1.0").edits == []


@pytest.mark.parametrize(
    ("plugin", "wanted"),
    [("a.git", {"git": "a.git"}), (CRATE, None)],
)
def test_the_helper_comes_from_where_the_plugin_comes_from(tmp_path: Path, plugin: str, wanted: Any) -> None:
    folder = make(tmp_path)
    plan = plan_of(folder, plugin=plugin)
    write.write(plan.edits, plan.home)
    assert read(folder / "src-tauri" / "Cargo.toml")["build-dependencies"].get("tauri-sidecar-build") == wanted
    assert ("place_binary" in (folder / "src-tauri" / "build.rs").read_text()) == (wanted is not None)


@pytest.mark.parametrize("script", ["fn main() { tauri_build::build() }\n", 'include!("other.rs");\n'])
def test_a_build_script_of_another_shape_stays_and_is_named(tmp_path: Path, script: str) -> None:
    folder = make(tmp_path, **{"src-tauri/build.rs": script})
    plan = plan_of(folder, plugin="0.1.0")
    write.write(plan.edits, plan.home)
    assert (folder / "src-tauri" / "build.rs").read_text() == script
    assert "tauri-sidecar-build" not in (folder / "src-tauri" / "Cargo.toml").read_text()
    assert any("build.rs is left as it is" in note for note in plan.notes)


@pytest.mark.parametrize("plugin", ["../plugin", "https://example.com/plugin.git"])
def test_an_app_whose_plugin_has_no_version_gets_no_package(tmp_path: Path, plugin: str) -> None:
    crate = '[package]\nname = "tauri-plugin-sidecar"\n'
    folder = make(tmp_path / "app", **{"../plugin/Cargo.toml": crate})
    apply(folder, plugin=plugin if "://" in plugin else str(tmp_path / "plugin"))
    assert "tauri-sidecar" not in read(folder / "package.json")["devDependencies"]


def test_an_app_whose_plugin_has_a_version_gets_the_npm_package(tmp_path: Path) -> None:
    folder = make(tmp_path)
    apply(folder, plugin="0.1.0")
    assert read(folder / "package.json")["devDependencies"]["tauri-sidecar"] == f"^{__version__}"
    assert apply(folder).edits == [], "the second run reads the version in Cargo.toml"


def test_a_plugin_with_a_version_and_features_is_published_too(tmp_path: Path) -> None:
    cargo = CARGO.replace(
        "[dependencies]\n", '[dependencies]\ntauri-plugin-sidecar = { version = "0.1", features = [] }\n'
    )
    folder = make(tmp_path, **{"src-tauri/Cargo.toml": cargo})
    apply(folder)
    assert "tauri-sidecar" in read(folder / "package.json")["devDependencies"]


def test_a_front_end_beside_the_app_gets_the_npm_package(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"package.json": None, "ui/package.json": PACKAGE})
    plan = apply(folder, plugin="0.1.0")
    assert read(folder / "ui" / "package.json")["devDependencies"]["tauri-sidecar"] == f"^{__version__}"
    assert f"Run npm install: {Path('ui', 'package.json')} has tauri-sidecar now." in plan.notes


RUST_FRONT_END = {
    "package.json": None,
    "src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "trunk serve"),
}


def test_without_npm_a_python_project_gets_the_package_of_pypi(tmp_path: Path) -> None:
    project = '[project]\nname = "app"\nversion = "1"\n\n[dependency-groups]\ndev = ["ruff"]\n'
    folder = make(tmp_path, **RUST_FRONT_END, **{"pyproject.toml": project})
    plan = apply(folder, plugin="0.1.0")
    wanted = f"tauri-sidecar~={__version__}"
    assert (folder / "pyproject.toml").read_text() == project.replace('"ruff"', f'"ruff", "{wanted}"')
    assert "Run uv sync: pyproject.toml has tauri-sidecar now, in the group dev." in plan.notes
    assert apply(folder).edits == []


def test_without_npm_and_python_init_says_what_a_clone_runs(tmp_path: Path) -> None:
    plan = apply(make(tmp_path, **RUST_FRONT_END), plugin="0.1.0")
    assert "In a clone of this project, get the binary with: uvx tauri-sidecar init" in plan.notes


@pytest.mark.parametrize("kind", ["dependencies", "devDependencies"])
def test_an_app_that_has_the_npm_package_keeps_its_version(tmp_path: Path, kind: str) -> None:
    package = json.loads(PACKAGE)
    package.setdefault(kind, {})["tauri-sidecar"] = "9.9.9"
    folder = make(tmp_path, **{"package.json": json.dumps(package, indent=2)})
    apply(folder, plugin="0.1.0")
    after = read(folder / "package.json")
    assert after[kind]["tauri-sidecar"] == "9.9.9"
    assert sum("tauri-sidecar" in after.get(each, {}) for each in ("dependencies", "devDependencies")) == 1


def test_the_steps_by_hand_have_the_helper(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/src/main.rs": "fn main() {}\n"})
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(folder, plugin="0.1.0")
    steps = "\n".join(caught.value.steps)
    assert 'tauri-sidecar-build = "0.1.0"' in steps
    assert "tauri_sidecar_build::place_binary();" in steps
    assert "npm install --save-dev tauri-sidecar" in steps
    assert "externalBin" not in steps, "a release starts no dev server"


def test_the_steps_by_hand_ship_the_sidecar_where_a_release_starts_a_program(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/src/main.rs": "fn main() {}\n", "src-tauri/tauri.conf.json": WITH_BACKEND})
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(folder, plugin="0.1.0")
    steps = "\n".join(caught.value.steps)
    assert '"binaries/test-sidecar"' in steps
    assert '"Resources/sidecar": "binaries/sidecar-folder"' in steps


@pytest.mark.parametrize(
    ("written", "plugin", "wanted"),
    [
        ('tauri-plugin-sidecar = { path = "../gone" }', "0.1.0", {"version": "0.1.0"}),
        ('tauri-plugin-sidecar = { path = "../gone", optional = true }', "0.2", {"version": "0.2", "optional": True}),
        (
            '[dependencies.tauri-plugin-sidecar]\npath = "../gone"\nfeatures = ["x"]',
            "1",
            {"version": "1", "features": ["x"]},
        ),
        ('tauri-plugin-sidecar = { path = "/gone" }', "a.git", {"git": "a.git"}),
        ('tauri-plugin-sidecar = { path = "../gone" }', CRATE, {"path": CRATE}),
    ],
)
def test_a_crate_at_a_path_that_is_gone_gets_another_source(
    tmp_path: Path, written: str, plugin: str, wanted: Any
) -> None:
    cargo = CARGO.replace("# the framework\n", f'# the framework\nserde_json = "1"\n{written}\n')
    folder = make(tmp_path, **{"src-tauri/Cargo.toml": cargo})
    plan = plan_of(folder, plugin=plugin)
    assert any("named the crate tauri-plugin-sidecar at" in note for note in plan.notes)
    write.write(plan.edits, plan.home)
    found = read(folder / "src-tauri" / "Cargo.toml")["dependencies"]["tauri-plugin-sidecar"]
    if "path" in found:
        found["path"] = str((folder / "src-tauri" / found["path"]).resolve())
    assert found == wanted
    assert plan_of(folder, plugin=plugin).edits == []


def test_a_crate_at_a_path_that_is_there_stays(tmp_path: Path) -> None:
    cargo = CARGO.replace("# the framework\n", f'# the framework\ntauri-plugin-sidecar = {{ path = "{CRATE}" }}\n')
    folder = make(tmp_path, **{"src-tauri/Cargo.toml": cargo})
    apply_plan = plan_of(folder, plugin="0.1")
    write.write(apply_plan.edits, apply_plan.home)
    assert read(folder / "src-tauri" / "Cargo.toml")["dependencies"]["tauri-plugin-sidecar"] == {"path": CRATE}


def test_outside_of_a_checkout_the_crate_is_the_one_of_our_own_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crate, "checkout", lambda: None)
    plan = plan_of(make(tmp_path), plugin=None)
    assert any(f"takes tauri-plugin-sidecar {__version__} from crates.io" in note for note in plan.notes)
    write.write(plan.edits, plan.home)
    assert read(tmp_path / "src-tauri" / "Cargo.toml")["dependencies"]["tauri-plugin-sidecar"] == __version__


def test_the_installed_binary_is_put_into_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "tauri_sidecar_bin"
    package.mkdir(parents=True)
    (package / f"sidecar{machine.EXECUTABLE_SUFFIX}").write_bytes(b"the binary")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(binary, "checkout", lambda: None)
    folder = make(tmp_path / "app")
    plan = plan_of(folder)
    write.write(plan.edits, plan.home)
    place = binary.place_in(folder / "src-tauri", "binaries/test-sidecar")
    assert place.read_bytes() == b"the binary"
    assert os.name == "nt" or os.access(place, os.X_OK)
    assert plan_of(folder).edits == []


def test_without_the_installed_binary_the_placeholder_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "checkout", lambda: None)
    plan = plan_of(make(tmp_path))
    [note] = [note for note in plan.notes if "placeholder" in note]
    assert f"in the package tauri-sidecar-bin {__version__}, which is not installed" in note
    assert "build/dev.py freeze --out" in note


# ── phones ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def for_phones(port: int = 1420) -> dict[str, Any]:
    script = f"{binary.command_in_folder('binaries/test-sidecar')} dev --port {port} --strict-port"
    return {
        "build": {"beforeDevCommand": {"script": script, "cwd": "."}},
        "bundle": {"externalBin": []},
        "plugins": {"sidecar": None},
    }


@pytest.mark.parametrize(("target", "name"), [("gen/android", "android"), ("gen/apple", "ios")])
def test_a_phone_s_dev_server_is_sidecar_dev_on_the_port_of_dev_url(tmp_path: Path, target: str, name: str) -> None:
    folder = make(tmp_path, **{f"src-tauri/{target}/file": ""})
    plan = apply(folder)
    assert read(folder / "src-tauri" / f"tauri.{name}.conf.json") == for_phones()
    assert not list((folder / "src-tauri").glob("tauri.*.conf.json5"))
    assert len(list((folder / "src-tauri").glob("tauri.*.conf.json"))) == 1
    assert not any("For phones" in note for note in plan.notes)


def test_a_project_without_phones_gets_no_file_for_them_and_is_told_how(tmp_path: Path) -> None:
    folder = make(tmp_path)
    plan = apply(folder)
    assert not list((folder / "src-tauri").glob("tauri.*.conf.json"))
    assert any("run sidecar init again after tauri android init" in note for note in plan.notes)


def test_a_phone_s_own_configuration_keeps_what_it_has(tmp_path: Path) -> None:
    own = "{\n  // ours\n  build: { beforeDevCommand: 'npm run phone' },\n  identifier: 'dev.x'\n}\n"
    folder = make(tmp_path, **{"src-tauri/tauri.android.conf.json5": own})
    plan = apply(folder)
    file = folder / "src-tauri" / "tauri.android.conf.json5"
    assert "// ours" in file.read_text()
    wanted = {**for_phones(), "build": {"beforeDevCommand": "npm run phone"}, "identifier": "dev.x"}
    assert read(file) == wanted
    assert any("has a beforeDevCommand of its own, which stays" in note for note in plan.notes)


def test_a_phone_s_toml_and_a_project_without_dev_url_are_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "toml", **{"src-tauri/Tauri.ios.toml": "identifier = 'x'\n"})
    assert any("Make it JSON first" in note for note in apply(folder).notes)
    config = CONFIG.replace('    "devUrl": "http://localhost:1420",\n', "")
    folder = make(tmp_path / "url", **{"src-tauri/gen/apple/file": "", "src-tauri/tauri.conf.json": config})
    assert any("Phones need a devUrl with a port" in note for note in apply(folder).notes)
    assert not (folder / "src-tauri" / "tauri.ios.conf.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' shell is another one")
def test_the_command_of_a_phone_runs_in_the_shell_of_the_cli(tmp_path: Path) -> None:
    folder = make(tmp_path)
    place = binary.place_in(folder / "src-tauri", "binaries/test-sidecar")
    place.parent.mkdir()
    place.write_text('#!/bin/sh\necho "told: $*"\n')
    place.chmod(0o755)
    given = for_phones()["build"]["beforeDevCommand"]
    told = subprocess.run(
        ["sh", "-c", given["script"]], cwd=folder / "src-tauri", capture_output=True, text=True, check=True
    )
    assert told.stdout == "told: dev --port 1420 --strict-port\n"


# ── what it does not touch ────────────────────────────────────────────────────────────────────────────────────────────


TAURI_3 = MAIN.replace("::default()", "::default()\n        .runtime(tauri_runtime_wry::Wry::default())", 1)
"""An app of Tauri 3 names its runtime."""
FROM_GIT = CARGO.replace('version = "2"', 'git = "https://example.com/tauri"')


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (
            {
                "src-tauri/Cargo.toml": CARGO.replace('"2", features', '"3.0.0-alpha.5", features'),
                "src-tauri/src/main.rs": TAURI_3,
            },
            3,
        ),
        ({"src-tauri/Cargo.toml": CARGO.replace('{ version = "2", features = [] }', '"^4"')}, 4),
        ({"src-tauri/Cargo.toml": CARGO.replace('"2", features', '">=3.0.0-alpha, <4", features')}, 3),
        (
            {
                "src-tauri/Cargo.toml": FROM_GIT,
                "src-tauri/Cargo.lock": '[[package]]\nname = "tauri"\nversion = "3.0.0-alpha.5"\n',
            },
            3,
        ),
        ({"src-tauri/Cargo.toml": FROM_GIT, "src-tauri/src/main.rs": TAURI_3}, 3),
    ],
    ids=["alpha", "a later one", "a range", "by the lock", "by its runtime"],
)
def test_an_app_of_a_later_tauri_is_refused_by_its_name(
    tmp_path: Path, texts: dict[str, str | None], number: int
) -> None:
    """The plugin would bring a second Tauri into the app, and not compile."""
    assert reasons(make(tmp_path, **texts)) == f"this is an app of Tauri {number}, and the plugin is for Tauri 2"


def mac_files(folder: Path) -> object:
    return read(folder / "src-tauri" / "tauri.conf.json")["bundle"].get("macOS", {}).get("files")


def external_bin(folder: Path) -> object:
    return read(folder / "src-tauri" / "tauri.conf.json")["bundle"].get("externalBin")


def test_app_whose_release_starts_a_program_ships_the_sidecar_on_macos(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": WITH_BACKEND})
    plan = apply(folder, "0.1.0")
    assert mac_files(folder) == {"Resources/sidecar": "binaries/sidecar-folder"}
    assert external_bin(folder) == ["binaries/test-sidecar"]
    assert not any("ships no sidecar" in note for note in plan.notes)


def test_app_ships_no_sidecar_until_its_release_starts_a_program(tmp_path: Path) -> None:
    folder = make(tmp_path)
    plan = apply(folder, "0.1.0")
    assert external_bin(folder) is None
    assert mac_files(folder) is None
    assert any("ships no sidecar" in note for note in plan.notes)
    assert binary.place_in(folder / "src-tauri", "binaries/test-sidecar").exists(), "a build for development takes it"
    file = folder / "src-tauri" / "tauri.conf.json"
    place = ("plugins", "sidecar", "services", "api")
    file.write_text(edit_json5.set_member(file.read_text(), place, {"type": "command", "command": ["api"]}))
    apply(folder, "0.1.0")
    assert external_bin(folder) == ["binaries/test-sidecar"]


@pytest.mark.parametrize(
    ("service", "ships"),
    [
        ({"type": "vite"}, False),
        ({"type": "vite", "release": None}, False),
        ({"type": "vite", "release": {"type": "command", "command": ["serve"]}}, True),
        ({"type": "task", "command": ["migrate"]}, True),
        ({"type": "command", "command": ["api"], "release": False}, False),
        ({"type": "command", "command": ["api"], "release": {"cwd": "."}}, True),
    ],
)
def test_what_a_release_starts_decides_whether_it_ships_the_sidecar(
    tmp_path: Path, service: object, ships: bool
) -> None:
    section = {"services": {"it": service}}
    config = CONFIG.replace('"app": {', f'"plugins": {{ "sidecar": {json.dumps(section)} }}, "app": {{')
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config})
    apply(folder, "0.1.0")
    assert (external_bin(folder) is not None) == ships


def test_an_entry_that_is_there_stays_though_a_release_starts_nothing(tmp_path: Path) -> None:
    config = CONFIG.replace('"bundle": {', '"bundle": { "externalBin": ["binaries/own-sidecar"],')
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config})
    apply(folder, "0.1.0")
    assert external_bin(folder) == ["binaries/own-sidecar"]


def test_without_the_build_helper_the_configuration_names_the_sidecar(tmp_path: Path) -> None:
    folder = make(tmp_path)
    apply(folder, CRATE)
    assert external_bin(folder) == ["binaries/test-sidecar"]


def test_without_the_build_helper_there_is_no_folder_to_ship(tmp_path: Path) -> None:
    """Tauri would not find the file to copy."""
    for name, build, plugin in (("path", None, CRATE), ("shape", 'include!("other.rs");\n', "0.1.0")):
        folder = make(tmp_path / name, **({} if build is None else {"src-tauri/build.rs": build}))
        apply(folder, plugin)
        assert mac_files(folder) is None, name


def test_another_folder_at_that_place_of_the_app_stays(tmp_path: Path) -> None:
    files = '"macOS": { "files": { "Resources/sidecar": "own", "SharedSupport/a": "b" } }'
    config = CONFIG.replace('"bundle": {', f'"bundle": {{ {files},')
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config})
    apply(folder, "0.1.0")
    assert mac_files(folder) == {"Resources/sidecar": "own", "SharedSupport/a": "b"}


def test_a_runtime_in_a_comment_makes_no_app_of_tauri_3(tmp_path: Path) -> None:
    main = MAIN.replace("// The app.", "// Later: .runtime(tauri_runtime_wry::Wry::default())")
    apply(make(tmp_path, **{"src-tauri/Cargo.toml": FROM_GIT, "src-tauri/src/main.rs": main}))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"src-tauri/tauri.conf.json": None}, "there is no Tauri project in"),
        ({"src-tauri/tauri.conf.json": '{"tauri": {}}'}, "an app of Tauri 1"),
        ({"src-tauri/Cargo.toml": CARGO.replace('"2", features', '"1", features')}, "an app of Tauri 1"),
        ({"src-tauri/Cargo.toml": CARGO.replace("[dependencies]", "[dev-dependencies]")}, "not have tauri in"),
        ({"src-tauri/Cargo.toml": None}, "there is no Cargo.toml"),
        ({"package.json": '{"devDependencies": {"webpack": "5"}}'}, "is not a project of Vite"),
        ({"package.json": None}, "is not a project of Vite"),
        (
            {"package.json": PACKAGE.replace('"dev": "vite"', '"dev": "vite & node x"')},
            "there might be two dev servers",
        ),
        ({"src-tauri/src/main.rs": MAIN.replace("generate_context", "other")}, "called 0 times"),
        ({"src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "make dev")}, "what the Makefile says"),
        (
            {"src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "concurrently vite 'tsc -w' 'sass -w a'")},
            "more than one program beside",
        ),
        ({"src-tauri/tauri.linux.conf.json": '{"bundle": {"externalBin": []}}'}, "has bundle.externalBin of its own"),
        ({"src-tauri/Tauri.macos.toml": "[plugins.sidecar]"}, "has plugins.sidecar of its own"),
        ({"src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "npx vite x -c y")}, "with a root and a config"),
        (
            {"src-tauri/tauri.conf.json": CONFIG.replace('"bundle": {', '"bundle": 1, "x": {')},
            "a value of the wrong type",
        ),
    ],
)
def test_unknown_project_stays_untouched_with_reasons_and_steps(
    tmp_path: Path, texts: dict[str, str | None], reason: str
) -> None:
    assert reason in reasons(make(tmp_path, **texts))


def test_the_steps_to_do_by_hand_name_this_project_s_own_files(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/src/main.rs": "fn main() {}\n", "bun.lock": ""})
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(folder)
    steps = "\n".join(caught.value.steps)
    for words in (
        native("src-tauri/Cargo.toml"),
        "tauri-plugin-sidecar = { path = ",
        native("src-tauri/src/main.rs"),
        "tauri_plugin_sidecar::init(&mut context)",
        '"preferred": 1420',
        "bun run tauri:dev",
    ):
        assert words in steps


@pytest.mark.parametrize(
    ("package", "kind", "title"),
    [
        ("astro", "astro", "Astro"),
        ("nuxt", "nuxt", "Nuxt"),
        ("next", "next", "Next.js"),
        ("@angular/cli", "angular", "Angular"),
        ("@sveltejs/kit", "vite", "SvelteKit"),
    ],
)
def test_the_steps_to_do_by_hand_fit_the_framework(tmp_path: Path, package: str, kind: str, title: str) -> None:
    texts = {
        "package.json": PACKAGE.replace('"vite": "^8"', f'"{package}": "*"').replace(
            '"dev": "vite"', '"dev": "make dev"'
        )
    }
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(make(tmp_path, **texts))
    steps = "\n".join(caught.value.steps)
    assert f'"type": "{kind}"' in steps
    assert f"without a beforeDevCommand that starts {title}" in steps
    assert '"page"' not in steps  # the only dev server is the page
    assert not any("no Vite project" in reason for reason in caught.value.reasons)


def test_steps_for_an_unknown_server_name_the_place_of_its_program(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(make(tmp_path, **{"package.json": '{"scripts": {"dev": "my-server"}}'}))
    steps = "\n".join(caught.value.steps)
    assert '"type": "command"' in steps
    assert '"page": "web"' in steps
    assert '"{port}"' in steps


def test_the_steps_for_a_front_end_without_package_json_name_none(tmp_path: Path) -> None:
    texts = {"package.json": None, "src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "make dev")}
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(make(tmp_path, **texts))
    assert not any("package.json" in step for step in caught.value.steps)
    assert caught.value.steps[-1] == "Start the app: cargo tauri dev --no-dev-server-wait"


def test_the_app_s_folder_is_named_where_another_one_was_given(tmp_path: Path) -> None:
    make(tmp_path / "tauri")
    with pytest.raises(NotUnderstoodError) as caught:
        plan_of(tmp_path)
    assert caught.value.steps == [f"There is one in {tmp_path / 'tauri'}: sidecar init {tmp_path / 'tauri'}"]


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_cannot_be_put_in_place_takes_all_others_back(tmp_path: Path) -> None:
    folder = make(tmp_path / "app")
    plan = plan_of(folder)
    last = plan.edits[-1].path
    last.mkdir(parents=True)  # put a folder in the binary's place
    before = contents(folder)
    with pytest.raises(ConfigurationError, match="all files are as they were"):
        write.write(plan.edits, plan.home)
    assert contents(folder) == before
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_folders_that_were_made_are_taken_back_and_others_stay(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    edits = [
        Edit(kept / "new.txt", None, b"1"),
        Edit(tmp_path / "made" / "deep" / "new.txt", None, b"2"),
        Edit(tmp_path / "old.txt", b"not this", b"3"),
    ]
    (tmp_path / "old.txt").write_bytes(b"this")
    with pytest.raises(ConfigurationError, match="was changed meanwhile; nothing was written"):
        write.write(edits, tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "old.txt"]
    assert (tmp_path / "old.txt").read_bytes() == b"this"


def test_an_interrupt_takes_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.write_bytes(b"old")
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if target.name == "b":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write.write([Edit(file, b"old", b"new") for file in files], tmp_path)
    assert contents(tmp_path) == {"a": b"old", "b": b"old", "c": b"old"}


def test_a_file_that_is_read_only_is_left_alone(tmp_path: Path) -> None:
    folder = make(tmp_path)
    plan = plan_of(folder)
    (folder / "package.json").chmod(0o444)
    before = contents(folder)
    with pytest.raises(ConfigurationError, match=r"package\.json is read-only; nothing was written"):
        write.write(plan.edits, plan.home)
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes, and links are for the few")
def test_modes_stay_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_bytes(b"old")
    real.chmod(0o666)
    (tmp_path / "link").symlink_to("real")
    write.write([Edit(tmp_path / "link", b"old", b"new")], tmp_path)
    assert (tmp_path / "link").is_symlink()
    assert (real.read_bytes(), real.stat().st_mode & 0o777) == (b"new", 0o666)


@pytest.mark.skipif(sys.platform == "win32", reason="links are for the few there")
@pytest.mark.parametrize("name", ["src-tauri/.gitignore", "package.json", "src-tauri/capabilities/default.json"])
def test_a_link_out_of_the_project_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "app")
    mine = tmp_path / "mine"
    here = folder / name
    mine.write_bytes(here.read_bytes() if here.is_file() else b"export MINE=1\n")
    here.unlink(missing_ok=True)
    here.symlink_to(mine)
    assert f"{name} leads out of the project, to {mine}" in reasons(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="links are for the few there")
def test_a_binary_that_is_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "app")
    place = binary.place_in(folder / "src-tauri", "binaries/test-sidecar")
    place.parent.mkdir()
    place.symlink_to(tmp_path / "tool")
    assert f"leads out of the project, to {tmp_path / 'tool'}" in reasons(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="links are for the few there")
def test_a_tauri_folder_that_is_another_app_s_is_refused(tmp_path: Path) -> None:
    other, folder = make(tmp_path / "other"), tmp_path / "app"
    folder.mkdir()
    (folder / "src-tauri").symlink_to(other / "src-tauri")
    before = contents(other)
    assert f"is a link to {other / 'src-tauri'}, which is not part of this project" in reasons(folder)
    assert contents(other) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links are for the few there")
def test_a_link_that_comes_after_the_plan_is_not_followed(tmp_path: Path) -> None:
    folder = make(tmp_path / "app")
    plan = plan_of(folder)
    (folder / "src-tauri" / ".gitignore").symlink_to(tmp_path / "new")
    before = contents(folder)
    with pytest.raises(ConfigurationError, match=r"now leads out of .*; nothing was written"):
        write.write(plan.edits, plan.home)
    assert not (tmp_path / "new").exists()
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="there a program is no script")
def test_rustc_of_the_project_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``rustup`` chooses the toolchain by its working folder and RUSTUP_TOOLCHAIN."""
    folder, tools = make(tmp_path / "app"), tmp_path / "tools"
    tools.mkdir()
    for place, line in (
        (folder / "rustc", "touch ../ran; echo of-the-project"),
        (tools / "rustc", 'test "$PWD$RUSTUP_TOOLCHAIN" = / && echo some-other-machine'),
    ):
        place.write_text(f"#!/bin/sh\n{line}\n")
        place.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RUSTUP_TOOLCHAIN", ".tc")
    monkeypatch.setenv("PATH", f":.:./node_modules/.bin:{tools}:/usr/bin:/bin")
    assert binary.host_tuple() == "some-other-machine"
    monkeypatch.setenv("PATH", ":.:/nowhere")
    assert binary.host_tuple().count("-") >= 2
    assert not (tmp_path / "ran").exists()


# ── fronts of other shapes ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_front_end_below_the_app_is_found_as_tauri_finds_it(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"package.json": None, "ui/package.json": PACKAGE})
    before = contents(folder)
    plan = apply(folder)
    assert web_of(folder)["root"] == "../ui"
    assert "ui/package.json" not in changed(folder, before)  # from there Tauri's CLI does not find the app
    assert plan.start == "cargo tauri dev --no-dev-server-wait"


def test_the_front_end_is_the_same_from_within_src_tauri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path, **{"package.json": None, "ui/package.json": PACKAGE})
    monkeypatch.chdir(folder / "src-tauri")
    apply(Path())
    assert web_of(folder)["root"] == "../ui"


def test_of_two_front_ends_below_the_app_none_is_taken(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"package.json": None, "ui/package.json": PACKAGE, "api/package.json": PACKAGE})
    assert f"there is no package.json in {folder}" in reasons(folder)


def test_a_script_that_no_service_could_run_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"package.json": PACKAGE.replace('"vite"', '"tsc ; vite"', 1)})
    assert "only a shell understands its ;" in reasons(folder)


def test_the_dev_script_of_another_server_is_not_heeded(tmp_path: Path) -> None:
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", "trunk serve")})
    apply(folder)
    assert web_of(folder) == {"type": "trunk", "root": "..", "port": {"preferred": 1420}, "args": []}


def test_a_script_outside_of_its_cwd_is_read(tmp_path: Path) -> None:
    command = '{ "script": "node ../dev.cjs", "cwd": "." }'
    script = "require('child_process').spawn('npx', ['vite'], { cwd: __dirname });"
    texts = {"src-tauri/tauri.conf.json": CONFIG.replace('"npm run dev"', command), "dev.cjs": script}
    folder = make(tmp_path, **texts)
    apply(folder)
    assert web_of(folder)["root"] == ".."


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"npm run dev"', '["npm", "run", "dev"]', "beforeDevCommand is neither a string nor an object with a script"),
        ('"npm run dev"', '{ "script": "npm run dev", "cwd": "../no" }', "has the cwd ../no, and there is no folder"),
    ],
)
def test_a_command_that_tauri_cannot_run_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert reason in reasons(make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace(old, new)}))


def test_an_app_without_a_dev_server_is_told_so(tmp_path: Path) -> None:
    config = CONFIG.replace('"beforeDevCommand": "npm run dev",', "").replace('"devUrl": "http://localhost:1420",', "")
    package = PACKAGE.replace('"vite": "^8"', '"left": "1"')
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": config, "package.json": package})
    assert "the app has no dev server: tauri.conf.json has neither a beforeDevCommand nor a devUrl" in reasons(folder)


@pytest.mark.parametrize("url", ["http://localhost:abc", "http://[::1", "http://localhost:99999"])
def test_an_address_that_is_none_ends_nothing(tmp_path: Path, url: str) -> None:
    folder = make(tmp_path, **{"src-tauri/tauri.conf.json": CONFIG.replace("http://localhost:1420", url)})
    apply(folder)
    assert "port" not in web_of(folder)


@pytest.mark.parametrize("step", ["kill-port 1420", "npx kill-port 1420", "npm run stop"])
def test_a_step_that_only_ends_old_servers_is_left_out(tmp_path: Path, step: str) -> None:
    command = f"{step} && npx vite"
    package = PACKAGE.replace('"dev":', '"stop": "taskkill /F /IM node.exe || exit 0", "dev":')
    texts = {"src-tauri/tauri.conf.json": CONFIG.replace("npm run dev", command), "package.json": package}
    folder = make(tmp_path, **texts)
    plan = apply(folder)
    assert "beforeDevCommand" not in read(folder / "src-tauri" / "tauri.conf.json")["build"]
    assert any(note.startswith(f"{step!r} is removed: it ends what an earlier run left") for note in plan.notes)


@pytest.mark.parametrize(
    ("file", "line", "name"),
    [
        ("stop.ps1", "Get-Process node | Stop-Process", "Stop-Process"),
        ("Makefile", "stop: ; pkill -f vite", "pkill"),
        ("src-tauri/src/stop.rs", 'Command::new("npx").args(["kill-port", "1420"])', "kill-port"),
        ("stop.sh", "fuser 1420/tcp -k", "fuser"),
    ],
)
def test_what_ends_other_people_s_programs_is_named_with_its_line(
    tmp_path: Path, file: str, line: str, name: str
) -> None:
    plan = apply(make(tmp_path, **{file: f"\n{line}\n"}))
    assert any(note.startswith(f"{native(file)}:2: remove {name}: it ends ") for note in plan.notes)


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def init(folder: Path, *words: str, stdin: int | None = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *MODULE, "init", str(folder), *words],
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_a_dry_run_shows_the_diff_and_changes_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = contents(folder)
    done = init(folder, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(folder) == before
    lines = done.stdout.splitlines()
    assert f"--- {native('src-tauri/tauri.conf.json')}" in lines
    assert '-    "beforeDevCommand": "npm run dev",' in lines
    assert "+        .plugin(tauri_plugin_sidecar::init(&mut context))" in lines
    assert "\x1b" not in done.stdout


def test_yes_changes_it_without_a_question_and_then_nothing_is_left_to_do(tmp_path: Path) -> None:
    """A checkout has no binary to copy, so both runs say that. With a binary they would not."""
    folder = make(tmp_path)
    done = init(folder, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("Done, but the binary is missing (see the note).")
    before = contents(folder)
    again = init(folder, "--yes")
    assert again.returncode == 0
    assert again.stdout.startswith("Nothing to change: ")
    assert contents(folder) == before
    binary.place_in(folder / "src-tauri", "binaries/test-sidecar").write_bytes(b"the binary")
    complete = init(folder, "--yes")
    assert complete.stdout.startswith("Nothing to do: ")


def test_where_nobody_can_be_asked_it_asks_for_a_word(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = contents(folder)
    done = init(folder)
    assert done.returncode == 2
    assert "init can ask only at a terminal: add --dry-run to see the changes, or --yes" in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("yes", True), ("n", False), ("", False)])
def test_it_asks_and_takes_only_a_yes_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answer: str, agreed: bool
) -> None:
    folder = make(tmp_path)
    before = contents(folder)
    asked: list[str] = []
    monkeypatch.setattr(command, "is_terminal", lambda fd: fd == 0)

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    assert run(str(folder), plugin=CRATE, dry_run=False, yes=False) == 0
    assert asked == ["Change these files? [y/N] "]
    assert (contents(folder) != before) == agreed
    assert ("\nDone" in capfd.readouterr().out) == agreed


def test_a_refusal_says_why_and_what_to_do_and_is_exit_code_1(tmp_path: Path) -> None:
    done = init(make(tmp_path, **{"src-tauri/src/main.rs": "fn main() {}\n"}), "--yes")
    assert done.returncode == 1
    assert "Nothing was changed" in done.stdout
    assert (
        f"  - {native('src-tauri/src/main.rs')}: generate_context!() is called 0 times instead of once" in done.stdout
    )
    assert f"1. In {native('src-tauri/Cargo.toml')} below [dependencies]:" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Docs: ")


def test_a_bad_file_is_told_with_its_place_and_is_exit_code_1(tmp_path: Path) -> None:
    done = init(make(tmp_path, **{"src-tauri/tauri.conf.json": '{\n  "a":\n}'}), "--yes")
    assert done.returncode == 1
    assert "tauri.conf.json:3:1: a value is missing. Correct the file there and try again." in done.stderr


def test_a_crate_that_is_nowhere_is_told(tmp_path: Path) -> None:
    done = init(make(tmp_path), "--yes", "--plugin", "no/such/folder")
    assert done.returncode == 1
    assert "no/such/folder: this is not a folder with tauri-plugin-sidecar, a URL or a version." in done.stderr


def test_json_is_valid_json_after_all(tmp_path: Path) -> None:
    folder = make(tmp_path)
    apply(folder)
    for name in ("package.json", "src-tauri/tauri.conf.json", "src-tauri/capabilities/default.json"):
        json.loads((folder / name).read_text())
