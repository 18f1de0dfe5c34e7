"""Where a command runs: the package around it, and the other packages of its workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from sidecar.files import find_below, is_file
from sidecar.services import package_json
from sidecar.tauri import project

PACKAGES_MOST = 200
"""How many packages of a workspace are read."""


class Package(Struct, frozen=True):
    """The package that a command runs in."""

    folder: Path
    """The folder that the command runs in."""
    scripts: Mapping[str, Any] = {}
    top: Path | None = None
    """The folder outside of which no file is read; ``None`` for ``folder``."""
    place: Path | None = None
    """The folder of the package.json that has the scripts. They run there."""

    @property
    def home(self) -> Path:
        """The folder outside of which no file is read."""
        return self.top or self.folder


def package_at(folder: Path, top: Path) -> Package:
    """Return the package that a command in ``folder`` belongs to. Look for package.json from there up to ``top``."""
    for place in (folder, *folder.parents):
        if is_file(place / "package.json"):
            scripts = project.parse_file(place / "package.json").get("scripts")
            return Package(folder, scripts if isinstance(scripts, dict) else {}, top, place)
        if place == top:
            break
    return Package(folder, {}, top)


def enter(package: Package, folder: str) -> Package:
    """Return the package that a command runs in after ``cd folder``."""
    return package_at(Path(os.path.normpath(package.folder / folder)), package.home)


def package_in(package: Package, name: str) -> Package | None:
    """Return the package in the folder ``name``, relative to ``package``; ``None`` without a package.json there."""
    folder = package.folder / name
    return package_at(folder, package.home) if is_file(folder / "package.json") else None


def member(package: Package, name: str) -> Package | None:
    """Return the one package of the workspace with this name or folder; ``None`` if there is not exactly one."""
    if set(name) & set("*!{}[]") or "..." in name or name.startswith("^"):
        return None
    if name.startswith("."):
        return package_in(package, name)
    found = [
        each
        for each in _members(package)
        if project.parse_file(each / "package.json").get("name") == name or each == package.folder / name
    ]
    return package_at(found[0], package.home) if len(found) == 1 else None


def _members(package: Package) -> Iterator[Path]:
    """Yield the folders of all packages of the workspace around ``package``."""
    for place in (package.folder, *package.folder.parents):
        if patterns := package_json.workspace_patterns(str(place), package_json.read_package(str(place))):
            patterns = patterns[:PACKAGES_MOST]
            folders = {file.parent for each in patterns if not each.startswith("!") for file in _glob(place, each)}
            yield from sorted(folders)[:PACKAGES_MOST]
            return
        if place == package.home:
            return


def _glob(place: Path, pattern: str) -> Iterator[Path]:
    pattern = pattern.strip("/").removeprefix("./")
    if not pattern or pattern.startswith("..") or ":" in pattern:
        return
    yield from map(Path, find_below(place, f"{pattern}/package.json"))
