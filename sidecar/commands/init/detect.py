"""Find out everything about a project that ``sidecar init`` has to know."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.commands.init.capability import find_capability
from sidecar.commands.init.dev_server import take_dev_command
from sidecar.commands.init.edit import rust
from sidecar.commands.init.found import Found, NotUnderstoodError, section
from sidecar.files import find_below, is_file, is_there, way_out
from sidecar.services.patterns import matches_in_time
from sidecar.tauri import project
from sidecar.tauri.section import read_services

_PLATFORMS = ("linux", "macos", "windows")
"""Phones are left out: they have their own dev command (``phones``)."""
_FRONTS = ("*/", "*/*/")
"""If there is no package.json beside the app, Tauri's CLI looks for one this far below."""
_NO_FRONTS = {"node_modules", "target", "dist", "build", "gen", ".git"}
TAURI = 2
"""The major version that the plugin is for."""
_WITHOUT_PLUGIN = (
    'Or use the sidecar without the plugin: "beforeDevCommand": "sidecar dev --port 1420 --strict-port", with the port '
    "of devUrl. That was not tried with this Tauri."
)
_MAJOR = re.compile(r"[\s^~=<>v]*(\d{1,9})\b")
DIGITS_MOST = 10
"""Each part of a version has fewer digits. Anything longer is not a version."""
_LAYERS_DEEP = 2
"""How deep below the given folder to look for a project to name in the message."""


def look(root: Path) -> Found:
    """Look at the project in ``root``.

    Raises ``NotUnderstoodError`` if there is no project, or ``TauriConfigError``. All other reasons against editing are
    in the result.
    """
    folder = project.find(root)
    file = project.main_file(folder) if folder else None
    if folder is None or file is None:
        raise NotUnderstoodError(
            [f"there is no Tauri project in {root}: no {project.MAIN_FILES[0]} is there, nor in {project.FOLDER}"],
            [_where(root)],
        )
    front, home = _front(root, folder)
    if (real := way_out(home, folder)) is not None:
        raise NotUnderstoodError(
            [f"{folder} is a link to {real}, which is not part of this project"],
            [f"If that is the app, name it: sidecar init {shlex.quote(real)}"],
        )
    config = project.parse_file(file)
    manifest = folder / "Cargo.toml"
    cargo = project.parse_file(manifest) if is_file(manifest) else {}
    source, locked = _source(folder), _locked_tauri(folder)
    _refuse_other_tauri(config, cargo, locked, source)
    reasons = [*_cargo_reasons(folder, cargo), *_platform_reasons(folder)]
    package = project.parse_file(front / "package.json") if is_file(front / "package.json") else {}
    found = Found(
        root=root,
        folder=folder,
        front=front,
        home=home,
        config_file=file,
        config=config,
        package=package,
        has_package=bool(package) and folder.absolute().is_relative_to(front),
        cargo=cargo,
        source=source,
        manager="npm",
        cli="tauri" if _has_cli(package) and folder.absolute().is_relative_to(front) else "cargo tauri",
        dev_url=section(config, "build").get("devUrl"),
        service={},
        title="the dev server",
        start=None,
        dev_command=None,
        has_section=section(config, "plugins").get("sidecar") is not None,
        capability=find_capability(folder, config),
        locked_tauri=locked,
    )
    reasons += take_dev_command(found)
    if found.has_section:
        read_services(project.read(folder), matches_in_time)  # raises if the section is wrong: the app would fail
    found.reasons += reasons
    return found


def _front(root: Path, folder: Path) -> tuple[Path, Path]:
    """Return the front end's folder, where Tauri's CLI runs ``beforeDevCommand``, and the project's real folder."""
    inner = folder.absolute()
    front = next((each for each in (inner.parent, inner) if is_file(each / "package.json")), None)
    if front is not None:
        return front, Path(os.path.realpath(front))
    top = inner if folder == root and inner.name != project.FOLDER else inner.parent
    found = [Path(file).parent for deep in _FRONTS for file in find_below(top, f"{deep}package.json")]
    fronts = [each for each in found if not _NO_FRONTS & set(each.relative_to(top).parts)]
    return fronts[0] if len(fronts) == 1 else inner.parent, Path(os.path.realpath(top))


def _refuse_other_tauri(
    config: dict[str, Any], cargo: dict[str, Any], locked: tuple[int, ...] | None, source: Path
) -> None:
    """Raise ``NotUnderstoodError`` for an app of another major version of Tauri: the plugin does not compile there."""
    wanted = section(cargo, "dependencies").get("tauri", "")
    found = _MAJOR.match(str(wanted.get("version", "") if isinstance(wanted, dict) else wanted))
    # without a number, Tauri comes from a repository, a folder or the workspace; the lock file then has its version
    major = int(found[1]) if found else (locked or (TAURI,))[0]
    if "tauri" in config or major < TAURI:
        raise NotUnderstoodError(
            ["this is an app of Tauri 1, and the plugin is for Tauri 2"],
            ["Migrate it first: npx @tauri-apps/cli@2 migrate"],
        )
    # an app of Tauri 3 names its runtime; Tauri 2's Builder has no method for that
    if major > TAURI or (is_file(source) and rust.names_runtime(project.read_text(source))):
        raise NotUnderstoodError(
            [f"this is an app of Tauri {max(major, TAURI + 1)}, and the plugin is for Tauri 2"],
            [
                "Stay with Tauri 2 until there is a plugin for yours.",
                _WITHOUT_PLUGIN,
            ],
        )


def _cargo_reasons(folder: Path, cargo: dict[str, Any]) -> Iterator[str]:
    if not cargo:
        yield f"there is no Cargo.toml in {folder}"
    elif "tauri" not in section(cargo, "dependencies"):
        yield f"{folder / 'Cargo.toml'} does not have tauri in [dependencies]"


def _platform_reasons(folder: Path) -> Iterator[str]:
    """Name the files of a single platform that set a value that we would set: theirs would replace ours."""
    touched = [("build", "beforeDevCommand"), ("bundle", "externalBin"), ("plugins", "sidecar")]
    for name in _PLATFORMS:
        for file in (f"tauri.{name}.conf.json", f"tauri.{name}.conf.json5", f"Tauri.{name}.toml"):
            if is_file(folder / file):
                config = project.parse_file(folder / file)
                for part, key in touched:
                    if key in section(config, part):
                        yield f"{folder / file} has {part}.{key} of its own, which replaces the one of all platforms"


def _source(folder: Path) -> Path:
    """Return the file that calls ``generate_context!``. If there is none, return the usual one for the message."""
    files = [folder / "src" / name for name in ("lib.rs", "main.rs")]
    there = [file for file in files if is_file(file)]
    building = [file for file in there if "generate_context!" in project.read_text(file)]
    return (building or there or files)[0]


def _has_cli(package: dict[str, Any]) -> bool:
    kinds = (section(package, kind) for kind in ("dependencies", "devDependencies", "optionalDependencies"))
    return any("@tauri-apps/cli" in names for names in kinds) or "tauri" in section(package, "scripts")


def _locked_tauri(folder: Path) -> tuple[int, ...] | None:
    """Return Tauri's version from Cargo.lock, which may be further up in a workspace; ``None`` if there is none."""
    for place in (folder, *folder.absolute().parents):
        lock = place / "Cargo.lock"
        if is_file(lock):
            try:
                packages = project.parse_file(lock).get("package", [])
            except project.TauriConfigError:
                return None  # too large, or broken, as cargo will say: we need it only for a note
            packages = packages if isinstance(packages, list) else []
            tauri = [each for each in packages if isinstance(each, dict) and each.get("name") == "tauri"]
            versions = [str(each.get("version", "")) for each in tauri]
            numbers = versions[0].split("+")[0].split("-")[0].split(".") if versions else []
            return tuple(int(each) for each in numbers if each.isdecimal() and len(each) < DIGITS_MOST) or None
        if is_there(place / ".git"):
            break
    return None


def _where(root: Path) -> str:
    """Say what to do if the given folder is not the app's."""
    for pattern in ("*/" * deep + project.FOLDER for deep in range(1, _LAYERS_DEEP + 1)):
        for folder in map(Path, find_below(root, pattern)):
            if project.main_file(folder) is not None:
                place = f'"{folder.parent}"' if " " in str(folder.parent) else folder.parent
                return f"There is one in {folder.parent}: sidecar init {place}"
    return "Run it in the folder of the app, or name that: sidecar init PATH"
