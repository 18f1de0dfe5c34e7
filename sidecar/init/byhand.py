"""What a person does where ``sidecar init`` would not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidecar.init import binary, jsontext, rust, tomltext
from sidecar.init.crate import CRATE
from sidecar.init.found import Found
from sidecar.services.project import RUN

_EARLY = """\
let mut context = tauri::generate_context!();
tauri::Builder::default()
    // ... what is there
    .plugin(tauri_plugin_sidecar::launch(&mut context))
    .run(context)"""

_SETUP = """\
tauri::Builder::default()
    // ... what is there
    .plugin(tauri_plugin_sidecar::init())
    .run(tauri::generate_context!())"""

_BUILD = """\
let manifest = tauri_build::AppManifest::new().commands(&["greet"]);
let attributes = tauri_build::Attributes::new().app_manifest(manifest);
tauri_build::try_build(attributes).expect("tauri-build failed");"""


def by_hand(found: Found, mode: rust.Mode, requirement: str | dict[str, Any]) -> list[str]:
    """The steps, each with what to write and where."""
    dependency = tomltext.set_member("", (CRATE,), requirement, inline=True).strip()
    wait = "--no-dev-server-wait" if found.dev_url else "--no-dev-server"
    service = found.service if found.service["type"] != "command" else _program(found)
    section = {"services": {"web": service}, **({"page": "web"} if service["type"] == "command" else {})}
    config = {"bundle": {"externalBin": ["binaries/sidecar"]}, "plugins": {"sidecar": section}}
    steps = [
        _step("In", found, "Cargo.toml", "below [dependencies]:", f'{dependency}\nserde_json = "1"'),
        _step("In", found, f"src/{found.source.name}:", "", _EARLY if mode == "early" else _SETUP),
    ]
    if mode == "setup":
        steps.append(_step("In", found, "build.rs", "with the names of the app's own commands:", _BUILD))
    steps += [
        _step("In", found, found.config_file.name, _config_words(found, mode), jsontext.set_member("{}", (), config)),
        _step("In", found, "capabilities/default.json", 'to "permissions":', '"sidecar:default"' + _allow(mode)),
        *([f'In package.json, to "scripts":\n"tauri:dev": "{found.cli} dev {wait}"'] if found.has_package else []),
        _step("In", found, ".gitignore:", "", "/binaries/"),
        f"Put the sidecar's binary there: {_name(found, binary.place_in(found.folder))} (build/dev.py freeze).",
        f"Start the app: {f'{RUN[found.manager]} tauri:dev' if found.has_package else f'{found.cli} dev {wait}'}",
    ]
    return steps


def _config_words(found: Found, mode: rust.Mode) -> str:
    words = f"without a beforeDevCommand that starts {found.title}, and with:"
    return words if mode == "early" else f'the window "main" with "create": false, {words}'


def _allow(mode: rust.Mode) -> str:
    if mode == "early":
        return ""
    return ', "allow-greet"\n(and all of these in plugins.sidecar.permissions, beside "core:default")'


def _program(found: Found) -> dict[str, Any]:
    """A dev server that is not known: the person names it."""
    return {
        "type": "command",
        "command": ["the program that serves the page", "--port", "{port}"],
        "cwd": found.service["root"],
        "port": found.service.get("port", {}),
        "ready": {"type": "tcp"},
    }


def _step(word: str, found: Found, name: str, more: str, text: str) -> str:
    return f"{word} {_name(found, found.folder / name)} {more}".rstrip() + f"\n{text}"


def _name(found: Found, path: Path) -> str:
    return os.path.relpath(path, found.root)


def numbered(steps: Sequence[str]) -> list[str]:
    """Lines, with the text of each step below its number."""
    lines: list[str] = []
    for number, step in enumerate(steps, 1):
        first, *rest = step.split("\n")
        lines += [f"{number}. {first}", *(f"       {line}" for line in rest)]
    return lines
