"""The steps to do by hand, if ``sidecar init`` does not edit the project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidecar.commands.init import binary, crate
from sidecar.commands.init.edit import json5, rust, toml
from sidecar.commands.init.found import Found
from sidecar.services.package_json import RUN

_SOURCE = """\
let mut context = tauri::generate_context!();
tauri::Builder::default()
    // ... as it is
    .plugin(tauri_plugin_sidecar::init(&mut context))
    .run(context)"""


def by_hand(found: Found, requirement: str | dict[str, Any]) -> list[str]:
    """Return the steps. Each says what to write, and where."""
    dependency = toml.set_member("", (crate.CRATE,), requirement, inline=True).strip()
    wait = "--no-dev-server-wait" if found.dev_url else "--no-dev-server"
    service = found.service if found.service["type"] != "command" else _program(found)
    section = {"services": {"web": service}, **({"page": "web"} if service["type"] == "command" else {})}
    helper = crate.helper(requirement)
    bundle: dict[str, Any] = {}
    if found.released or helper is None:
        bundle["externalBin"] = [found.external_bin]
    if found.released and helper is not None:
        bundle["macOS"] = {"files": {crate.MAC_PLACE: crate.MAC_FOLDER}}
    config = {**({"bundle": bundle} if bundle else {}), "plugins": {"sidecar": section}}
    without = f"without a beforeDevCommand that starts {found.title}, and with:"
    place = binary.place_in(found.folder, found.external_bin)
    steps = [
        _step("In", found, "Cargo.toml", "below [dependencies]:", f'{dependency}\nserde_json = "1"'),
        _step("In", found, f"src/{found.source.name}:", "", _SOURCE),
    ]
    if helper is not None:
        dependency = toml.set_member("", (crate.HELPER,), helper, inline=True).strip()
        steps.append(_step("In", found, "Cargo.toml", "below [build-dependencies]:", dependency))
        steps.append(_step("In", found, "build.rs", "as the first line of main:", rust.PLACE_BINARY))
    steps += [
        _step("In", found, found.config_file.name, without, json5.set_member("{}", (), config)),
        _step("In", found, "capabilities/default.json", 'to "permissions":', '"sidecar:default"'),
        *([f'In package.json, to "scripts":\n"tauri:dev": "{found.cli} dev {wait}"'] if found.has_package else []),
        _step("In", found, ".gitignore:", "", "/binaries/"),
        f"Put the sidecar's binary (from build/dev.py freeze) there: {_name(found, place)}"
        if helper is None
        else "Install the binary: npm install --save-dev tauri-sidecar (or uv add --dev tauri-sidecar). Then each "
        "build puts it in its place.",
        f"Start the app: {f'{RUN[found.manager]} tauri:dev' if found.has_package else f'{found.cli} dev {wait}'}",
    ]
    return steps


def _program(found: Found) -> dict[str, Any]:
    """Return the service for an unknown dev server. The user has to fill in the program."""
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
    """Number the steps; return their lines."""
    lines: list[str] = []
    for number, step in enumerate(steps, 1):
        first, *rest = step.split("\n")
        lines += [f"{number}. {first}", *(f"       {line}" for line in rest)]
    return lines
